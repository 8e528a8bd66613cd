package window

import (
	"math/bits"
	"time"
)

const (
	// MaxLimit is the largest Limit and Burst, and the largest Cost either way.
	MaxLimit int64 = 10_000_000_000_000

	// MaxPeriod is the largest Per, in microseconds.
	MaxPeriod int64 = 366 * 24 * 3600 * 1_000_000

	// MaxUnits is where counters saturate. Only forced charges get there.
	MaxUnits int64 = 1<<44 - 1

	// MaxDebt is the most a token bucket ever owes, in microseconds: 142 years.
	MaxDebt int64 = 1 << 52
)

// Charge is what is asked of a state. Callers have checked it:
// 0 <= Limit <= MaxLimit, 1000 <= Per <= MaxPeriod, 0 <= Burst <= MaxLimit,
// 0 <= Ban <= MaxPeriod and -MaxLimit <= Cost <= MaxLimit. Times are from 0 to 1<<52.
type Charge struct {
	Limit int64 // units that Per allows; 0 rejects every cost
	Per   int64 // microseconds
	Burst int64 // Bucket alone: the most that passes at once; 0 means Limit
	Ban   int64 // Strikes alone: microseconds that a ban lasts
	Cost  int64 // units to take; 0 peeks, less than 0 gives back

	// Zone is that of a Calendar; nil means UTC.
	Zone *time.Location

	// Forced takes the units even past the limit. It means nothing to a peek or
	// a refund.
	Forced bool

	// Tentative asks for a receipt.
	Tentative bool

	// Receipt is that of the charge whose units are given back, so that what has
	// been forgotten or paid of them since is not given back again. 0 is for one
	// that is not known: the newest units are given back then.
	Receipt int64
}

// Verdict is the answer. With 100 a minute in a Fixed window, the 101st charge
// 20 seconds into the minute is answered {0, 40_000_000, 40_000_000, 0}.
//
// Four fields are the most that Go keeps in registers, which is why there is no
// fifth for what Allowed tells.
type Verdict struct {
	Remaining  int64 // units that could be charged right after this Take
	ResetAfter int64 // microseconds until nothing is used any more; 0 when nothing is
	RetryAfter int64 // microseconds until it is allowed; 0 when it is, -1 when it never will be
	Receipt    int64 // of a tentative charge, for giving its units back
}

// Allowed tells whether the charge was made, or could have been.
func (v Verdict) Allowed() bool { return v.RetryAfter == 0 }

// receipt is what a tentative charge is given.
func (c *Charge) receipt(time int64) int64 {
	if c.Tentative && c.Cost > 0 {
		return time
	}
	return 0
}

// never is the RetryAfter of a cost that is more than the limit.
const never int64 = -1

// mulDiv returns a*b/c and the remainder, through a product of 128 bits.
// A quotient over MaxDebt is returned as MaxDebt with remainder 0.
// It needs a, b >= 0 and c > 0; c = 0 counts as a quotient over MaxDebt.
func mulDiv(a, b, c int64) (quotient, remainder int64) {
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	d := uint64(c)
	if hi >= d { // the quotient needs more than 64 bits
		return MaxDebt, 0
	}
	q, r := bits.Div64(hi, lo, d)
	if q > uint64(MaxDebt) {
		return MaxDebt, 0
	}
	return int64(q), int64(r)
}

// mulDivFloor is a*b/c rounded down, at most MaxDebt.
func mulDivFloor(a, b, c int64) int64 {
	q, _ := mulDiv(a, b, c)
	return q
}

// mulDivCeil is a*b/c rounded up, for quotients below MaxDebt.
func mulDivCeil(a, b, c int64) int64 {
	q, r := mulDiv(a, b, c)
	if r > 0 {
		q++
	}
	return q
}
