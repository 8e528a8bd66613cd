package backends

import (
	"fmt"
	"hash/maphash"
	"math/bits"
	"time"
	"unsafe"

	"github.com/gin-ratelimiter/ratelimiter/internal/window"
)

// Quota is a limit on a key and scope, together with a cost to charge to it.
type Quota struct {
	Key, Scope string        // what is limited and who, such as a route and a client address
	Limit      int64         // units per Per, 0 to MaxLimit; 0 denies every positive cost
	Per        time.Duration // MinPer to MaxPer, rounded up to a microsecond
	Burst      int64         // TokenBucket only: the most units allowed at once, 0 to MaxLimit; 0 means Limit

	// Cost is the number of units to take, from -MaxLimit to MaxLimit. 0 peeks: it changes
	// nothing. A negative cost refunds units, the last taken first, and never beyond the
	// full limit.
	Cost int64

	Algorithm Algorithm // the zero value is SlidingWindow

	// Forced charges the cost even past the limit, for a cost that is known only
	// afterwards. The verdict is always allowed.
	Forced bool

	// Shadow quotas are counted apart from enforced ones and never deny the request.
	Shadow bool

	// Tentative announces that some of the units may be refunded soon. The verdict then
	// contains a Receipt, and backends do not cache a denial.
	Tentative bool

	// Ban turns the quota into a counter of rejections if it is not 0. If enforced quotas
	// of the same key and scope deny Limit times within Per, the key and scope are banned
	// for this long, MinPer to MaxPer: this quota denies until the ban ends. Denials by the
	// ban itself do not count, so a ban is not extended. The verdict on the rejection that
	// starts the ban already denies; Remaining is how many more rejections lead to a ban.
	//
	// Limit must be at least 1, and Cost 1, or 0 to check for a ban without counting a
	// rejection. Forced and Shadow must not be set, and Algorithm is ignored. Quotas with a
	// Ban and the same Per share a counter.
	Ban time.Duration

	// Receipt identifies the units to refund when Cost is negative: set it to the Receipt
	// of the verdict that took them. Units that have expired or been paid back since then
	// are not refunded again. 0 refunds the units taken last. For a SlidingLog with a limit
	// of 128 or less, a receipt identifies exactly its own units: they are refunded at most
	// once, and no other units are, even after a Reset.
	Receipt int64

	// Calendar makes a FixedWindow follow the calendar of a time zone if it is not nil:
	// days from midnight, weeks from Monday, months from the 1st and years from January
	// 1st, for a Per of 24 hours, 7 days, 30 days and 365 days. Any other Algorithm or Per
	// is an invalid quota. The clock of the backend decides which window is current.
	// Receipt, ResetAfter and RetryAfter work as for any FixedWindow.
	//
	// Each time zone has a counter of its own, apart from the one without a Calendar. Zones
	// are identified by name, so processes that share counters should load a named zone
	// instead of using time.Local. Decide supports calendars. A backend that ignores this
	// field counts in the wrong windows, which backendtest detects.
	Calendar *time.Location

	prepared *prepared // set by Prepare
}

// Verdict is the decision of a backend on one quota.
type Verdict struct {
	// Allowed reports whether this quota allows the cost. If another quota of the same Take
	// denies, nothing is charged even though Allowed is true.
	Allowed bool

	// Fallback reports whether the local backend of NewFallback decided, because the
	// primary had failed.
	Fallback bool

	// Remaining is how many units are available after this Take.
	Remaining int64

	// ResetAfter is how long until the full limit is available again, or 0 if it is.
	ResetAfter time.Duration

	// RetryAfter is exactly how long to wait until the same cost is allowed, provided that
	// no other request is charged in between. It is 0 if Allowed, and negative if waiting
	// does not help because the cost exceeds the limit.
	RetryAfter time.Duration

	// Receipt identifies the units that a Tentative quota has taken, for use in
	// Quota.Receipt. Only the backend can interpret it. It is 0 if the quota was not
	// tentative.
	Receipt int64
}

// prepared holds what Prepare has computed for a quota and all its copies. It fills a cache
// line.
type prepared struct {
	hash   uint64 // of the key
	micros int64  // Per in µs

	// The fields at the time of Prepare:
	key          string
	limit, burst int64
	per          time.Duration
	algorithm    Algorithm
}

// Prepare validates a quota that many requests will use, and precomputes what they have in
// common, which makes decisions in memory faster. All fields of the quota or of its copies
// may still change: decisions stay correct, but changing anything other than Scope, Cost,
// Forced, Shadow, Tentative and Receipt loses the speed. The error wraps ErrInvalidQuota.
//
// Prepare must not be called while another goroutine uses the quota.
func (q *Quota) Prepare() error {
	if err := q.check(); err != nil {
		return err
	}
	q.prepared = &prepared{hashText(q.Key), q.micros(), q.Key, q.Limit, q.Burst, q.Per, q.Algorithm}
	return nil
}

// resolve validates a quota, and returns the hash of its key and its period in
// microseconds.
func (q *Quota) resolve() (key uint64, per int64, err error) {
	if p := q.prepared; p != nil && p.matches(q) {
		return p.hash, p.micros, nil
	}
	if !q.valid() {
		if err := q.check(); err != nil {
			return 0, 0, err
		}
	}
	return hashText(q.Key), q.micros(), nil
}

// matches reports whether the prepared values are valid for a quota. It excludes quotas
// with a Ban or a Calendar, which are rare.
func (p *prepared) matches(q *Quota) bool {
	return q.Ban == 0 && q.Calendar == nil && p.limit == q.Limit && p.per == q.Per && p.burst == q.Burst && p.algorithm == q.Algorithm &&
		validCost(q.Cost) && sameText(p.key, q.Key)
}

// sameText reports whether two strings share their memory, which is faster than comparing
// them. It may return false for equal strings.
func sameText(a, b string) bool {
	return unsafe.StringData(a) == unsafe.StringData(b) && len(a) == len(b)
}

// seed is random, so that clients cannot choose texts with colliding hashes.
var seed = maphash.MakeSeed()

func hashText(s string) uint64 { return maphash.String(seed, s) }

// mixHashes combines the hashes of a key and a scope. The result is never 0.
func mixHashes(key, scope uint64) uint64 {
	high, low := bits.Mul64(key^0x9e3779b97f4a7c15, scope^0xd1b54a32d192ed03)
	return max(1, high^low)
}

// counterAlgorithm returns the algorithm of the counter, including the internal ones.
func (q *Quota) counterAlgorithm() Algorithm {
	if q.Ban != 0 {
		return rejections
	}
	if q.Calendar != nil {
		return calendar
	}
	return q.Algorithm
}

// micros returns the period in microseconds. It rounds up, which never admits more.
func (q *Quota) micros() int64 { return microsUp(q.Per) }

func microsUp(d time.Duration) int64 {
	return int64((d + time.Microsecond - 1) / time.Microsecond)
}

// charge returns the charge of the quota. For a quota with a Ban it has no cost, because a
// rejection counts only after all other quotas are decided; see rejection.
func (q *Quota) charge() (c window.Charge) {
	q.fill(&c, q.micros())
	return c
}

// fill writes the charge of the quota into an empty one. Assigning the fields one by one is
// faster than copying a struct that was just written.
func (q *Quota) fill(c *window.Charge, per int64) {
	c.Limit, c.Per = q.Limit, per
	if q.Ban != 0 {
		c.Ban = microsUp(q.Ban)
		return
	}
	c.Burst, c.Cost, c.Forced, c.Tentative, c.Receipt = q.Burst, q.Cost, q.Forced, q.Tentative, q.Receipt
	c.Zone = q.Calendar
}

// peek returns the charge without its cost.
func (q *Quota) peek() window.Charge {
	c := q.charge()
	c.Cost, c.Forced = 0, false
	return c
}

// rejection returns the charge that counts a rejection towards a ban.
func (q *Quota) rejection() window.Charge {
	c := q.charge()
	c.Cost = q.Cost
	return c
}

// countsRejection reports whether quota i has a ban for which this denial counts: another
// quota with the same key and scope has denied, and no ban is in force yet.
func countsRejection(quotas []Quota, verdicts []Verdict, i int) bool {
	ban := &quotas[i]
	if ban.Ban == 0 || ban.Cost == 0 || !verdicts[i].Allowed {
		return false
	}
	for j := range quotas {
		q := &quotas[j]
		if q.Ban == 0 && !q.Shadow && !verdicts[j].Allowed && subjectOf(q) == subjectOf(ban) {
			return true
		}
	}
	return false
}

// anyDenied reports whether an enforced quota has denied.
func anyDenied(quotas []Quota, verdicts []Verdict) bool {
	for i := range quotas {
		if !verdicts[i].Allowed && !quotas[i].Shadow {
			return true
		}
	}
	return false
}

// Capacity returns the most units that the quota ever allows at once: Burst for a
// TokenBucket that has one, otherwise Limit. It is 0 if Limit is 0.
func (q *Quota) Capacity() int64 { return capacity(q.counterAlgorithm(), q.Limit, q.Burst) }

func capacity(algorithm Algorithm, limit, burst int64) int64 {
	if algorithm == TokenBucket && burst > 0 && limit > 0 {
		return burst
	}
	return limit
}

// valid is a fast version of check, without an error. Conversion to uint64 turns negative
// numbers into huge ones.
func (q *Quota) valid() bool {
	return q.Ban == 0 && q.Calendar == nil && q.Algorithm < algorithmCount && uint64(q.Limit) <= uint64(MaxLimit) && uint64(q.Burst) <= uint64(MaxLimit) &&
		validCost(q.Cost) && uint64(q.Per-MinPer) <= uint64(MaxPer-MinPer)
}

func validCost(cost int64) bool { return uint64(cost+MaxLimit) <= 2*uint64(MaxLimit) }

// check returns an error that describes what is wrong with a quota.
func (q *Quota) check() error {
	switch {
	case q.Algorithm >= algorithmCount:
		return fmt.Errorf("%w: algorithm %d does not exist; it must be one of %s", ErrInvalidQuota, q.Algorithm, AlgorithmNames())
	case q.Calendar != nil && q.Ban != 0:
		return fmt.Errorf("%w: a ban of %v cannot have a Calendar; remove one of them", ErrInvalidQuota, q.Ban)
	case q.Calendar != nil && q.Algorithm != FixedWindow:
		return fmt.Errorf("%w: a Calendar requires %s, not %s", ErrInvalidQuota, FixedWindow, q.Algorithm)
	case q.Calendar != nil && !window.IsCalendarPeriod(q.micros()):
		return fmt.Errorf("%w: period %v has no calendar windows; it must be 24 hours, 7 days, 30 days (a month) or 365 days (a year)", ErrInvalidQuota, q.Per)
	case q.Limit < 0 || q.Limit > MaxLimit:
		return fmt.Errorf("%w: limit %d is out of range; it must be from 0 to %d", ErrInvalidQuota, q.Limit, MaxLimit)
	case q.Per < MinPer || q.Per > MaxPer:
		return fmt.Errorf("%w: period %v is out of range; it must be from %v to %v", ErrInvalidQuota, q.Per, MinPer, MaxPer)
	case q.Burst < 0 || q.Burst > MaxLimit:
		return fmt.Errorf("%w: burst %d is out of range; it must be from 0 to %d", ErrInvalidQuota, q.Burst, MaxLimit)
	case q.Ban != 0 && (q.Ban < MinPer || q.Ban > MaxPer):
		return fmt.Errorf("%w: ban %v is out of range; it must be from %v to %v", ErrInvalidQuota, q.Ban, MinPer, MaxPer)
	case q.Ban != 0 && (q.Limit == 0 || q.Cost < 0 || q.Cost > 1 || q.Forced || q.Shadow):
		return fmt.Errorf("%w: a ban requires a limit of at least 1 (not %d) and a cost of 0 or 1 (not %d), and must not be forced or a shadow", ErrInvalidQuota, q.Limit, q.Cost)
	case q.Cost < -MaxLimit || q.Cost > MaxLimit:
		return fmt.Errorf("%w: cost %d is out of range; it must be from %d to %d", ErrInvalidQuota, q.Cost, -MaxLimit, MaxLimit)
	}
	return nil
}

// checkAll validates the arguments of Take.
func checkAll(quotas []Quota, verdicts []Verdict) error {
	if err := checkRoom(quotas, verdicts); err != nil {
		return err
	}
	for i := range quotas {
		if quotas[i].valid() {
			continue
		}
		if err := quotas[i].check(); err != nil {
			return err
		}
	}
	return nil
}

// checkRoom checks that there are enough verdicts.
func checkRoom(quotas []Quota, verdicts []Verdict) error {
	if len(verdicts) < len(quotas) {
		return fmt.Errorf("%w: %d quotas require at least as many verdicts, not %d", ErrInvalidQuota, len(quotas), len(verdicts))
	}
	return nil
}

// verdict converts a verdict from the microseconds of package window.
func verdict(v window.Verdict) Verdict {
	return Verdict{
		Allowed:    v.Allowed(),
		Remaining:  v.Remaining,
		ResetAfter: micros(v.ResetAfter),
		RetryAfter: micros(v.RetryAfter),
		Receipt:    v.Receipt,
	}
}

// micros converts microseconds to a duration.
func micros(n int64) time.Duration { return time.Duration(n) * time.Microsecond }

// setRemaining sets the remaining units of a charge that was not made or was refunded.
func (v *Verdict) setRemaining(now Verdict) {
	v.Remaining, v.ResetAfter = now.Remaining, now.ResetAfter
}
