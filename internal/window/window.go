package window

import (
	"math/bits"
	"time"
)

const (
	// MaxLimit is the largest Limit and Burst, and the largest absolute Cost.
	MaxLimit int64 = 10_000_000_000_000

	// MaxPeriod is the largest Per and Ban, in microseconds: 366 days.
	MaxPeriod int64 = 366 * 24 * 3600 * 1_000_000

	// MaxUnits is the value at which counters saturate. Only forced charges reach it.
	MaxUnits int64 = 1<<44 - 1

	// MaxDebt is the largest debt of a token bucket, in microseconds: 142 years.
	MaxDebt int64 = 1 << 52
)

// Charge describes what to charge to a state. The caller has validated it: 0 <= Limit <=
// MaxLimit, 1000 <= Per <= MaxPeriod, 0 <= Burst <= MaxLimit, 0 <= Ban <= MaxPeriod and
// -MaxLimit <= Cost <= MaxLimit. Times are from 0 to 1<<52.
type Charge struct {
	Limit int64 // units per period; 0 denies every cost
	Per   int64 // period in microseconds
	Burst int64 // Bucket only: the most units allowed at once; 0 means Limit
	Ban   int64 // Rejections only: length of a ban in microseconds
	Cost  int64 // units to take; 0 peeks, a negative cost refunds

	// Zone is the time zone of a Calendar. Nil means UTC.
	Zone *time.Location

	// Forced takes the units even past the limit. It has no effect on a peek or a refund.
	Forced bool

	// Tentative requests a receipt.
	Tentative bool

	// Receipt identifies the charge to refund, so that units which have expired since are
	// not refunded again. 0 means unknown: the newest units are refunded.
	Receipt int64
}

// Verdict is the decision on a charge. With 100 a minute in a Fixed window, the 101st
// charge 20 seconds into the minute gets {0, 40_000_000, 40_000_000, 0}.
//
// Go keeps at most four fields in registers, so Allowed is a method instead of a field.
type Verdict struct {
	Remaining  int64 // units that could be charged right after this Take
	ResetAfter int64 // microseconds until all units are available again; 0 if they are
	RetryAfter int64 // microseconds until the charge is allowed; 0 if it is, -1 if it never will be
	Receipt    int64 // of a tentative charge, for refunding its units
}

// Allowed reports whether the charge was made or, for a peek, whether the state is within
// the limit.
func (v Verdict) Allowed() bool { return v.RetryAfter == 0 }

// receipt returns the receipt of a charge: time if the charge is tentative, else 0.
func (c *Charge) receipt(time int64) int64 {
	if c.Tentative && c.Cost > 0 {
		return time
	}
	return 0
}

// never is the RetryAfter of a cost over the limit.
const never int64 = -1

// mulDiv returns the quotient and the remainder of a*b/c, using a product of 128 bits. It
// requires a, b >= 0 and c >= 0. If the quotient is more than MaxDebt, or c is 0, it
// returns MaxDebt and 0.
func mulDiv(a, b, c int64) (quotient, remainder int64) {
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	d := uint64(c)
	if hi >= d { // the quotient does not fit in 64 bits
		return MaxDebt, 0
	}
	q, r := bits.Div64(hi, lo, d)
	if q > uint64(MaxDebt) {
		return MaxDebt, 0
	}
	return int64(q), int64(r)
}

// mulDivFloor returns a*b/c rounded down, at most MaxDebt.
func mulDivFloor(a, b, c int64) int64 {
	q, _ := mulDiv(a, b, c)
	return q
}

// mulDivCeil returns a*b/c rounded up, for quotients below MaxDebt.
func mulDivCeil(a, b, c int64) int64 {
	q, r := mulDiv(a, b, c)
	if r > 0 {
		q++
	}
	return q
}
