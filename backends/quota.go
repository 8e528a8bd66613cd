package backends

import (
	"fmt"
	"hash/maphash"
	"math/bits"
	"time"
	"unsafe"

	"github.com/gin-ratelimiter/ratelimiter/internal/window"
)

// Quota is one limit on one key and scope: what a backend is asked to charge.
type Quota struct {
	Key, Scope string
	Limit      int64         // units in Per, 0 to MaxLimit; 0 denies every cost over 0
	Per        time.Duration // MinPer to MaxPer; a fraction of a microsecond is rounded up
	Burst      int64         // TokenBucket alone: the most that passes at once; 0 means Limit

	// Cost is how many units to take. 0 peeks and changes nothing. A negative
	// cost gives units back, those taken last first, and never past full.
	Cost int64

	Algorithm Algorithm // the zero value is SlidingWindow

	// Forced charges even past the limit, for a cost that is known only
	// afterwards. The verdict allows, and time pays the excess back.
	Forced bool

	// Shadow quotas are counted apart from enforced ones and deny nothing.
	Shadow bool

	// Tentative says that some of the units may be given back before long: the
	// verdict has a receipt for that, and no process must remember a denial.
	Tentative bool

	// Ban, where it is not 0, makes the quota a count of rejections: whoever an
	// enforced quota of the same key and scope has denied Limit times within Per is
	// denied by this one until the ban is over, MinPer to MaxPer. Denials of the ban
	// itself do not count, so it grows no longer. The limit is 1 or more, the cost 1,
	// or 0 to look without counting a denial; Forced and Shadow must not be set. The
	// algorithm means nothing, and quotas with a Ban share their count if the period
	// is the same. The verdict denies with the rejection that makes the ban; Remaining
	// is how many rejections are left.
	Ban time.Duration

	// Receipt, with a negative cost, is that of the verdict on the units which are
	// given back: those of them that the limit has forgotten meanwhile, or that
	// time has paid, are not given back again. Without one (0) the units that were
	// taken last are. Of a SlidingLog with a limit of 128 or less it names these units
	// exactly: they are refunded once, and those of others never, also after a Reset.
	Receipt int64

	// Calendar, where it is not nil, makes the windows of a FixedWindow those of the
	// calendar in a time zone: from midnight, Monday, the 1st of the month or the 1st of
	// January, for a Per of 24 hours, 7, 30 or 365 days. Any other algorithm or Per is
	// ErrInvalidQuota. The backend's clock decides which window it is; Receipt,
	// ResetAfter and RetryAfter are as for any FixedWindow. The counter is another than
	// without a Calendar, and another for each zone. Zones are told apart by their names
	// alone, so processes that share counters should name one, and not use time.Local.
	// Decide does all of this; a backend that does not know the field would count in
	// windows that are not the calendar's, which backendtest finds.
	Calendar *time.Location

	prepared *prepared // nil, or what Prepare found out
}

// Verdict is what a backend answers for a quota.
type Verdict struct {
	// Allowed tells whether this quota by itself had room. Nothing was charged
	// if another quota of the same Take had not.
	Allowed bool

	// Fallback tells that the second backend of NewFallback decided, because the
	// first had failed.
	Fallback bool

	// Remaining is how many units can be taken now, after this Take.
	Remaining int64

	// ResetAfter is how long until the full limit is available again; 0 when
	// it is.
	ResetAfter time.Duration

	// RetryAfter is exactly how long to wait until the same cost is allowed,
	// if nobody else comes between. It is 0 when Allowed, and negative when no
	// waiting will help because the cost is more than the limit.
	RetryAfter time.Duration

	// Receipt is for giving back what a Tentative quota has taken; see Quota. It
	// means something to the backend alone, and is 0 otherwise.
	Receipt int64
}

// prepared is what a request need not compute, of a quota and all its copies. It
// fills a cache line.
type prepared struct {
	hash   uint64 // of key
	micros int64  // of per

	// What the quota was then:
	key          string
	limit, burst int64
	per          time.Duration
	algorithm    Algorithm
}

// Prepare checks a quota that many requests will use, and computes what they have
// in common, so that a memory backend does neither for each of them. Any field may
// be changed afterwards, of the quota or of a copy: it is decided correctly, and
// unless it is only the scope, the cost or how that is charged, as slowly as one
// that was never prepared. The error wraps ErrInvalidQuota.
//
// Prepare is not safe to call while others use the quota.
func (q *Quota) Prepare() error {
	if err := q.check(); err != nil {
		return err
	}
	q.prepared = &prepared{hashText(q.Key), q.micros(), q.Key, q.Limit, q.Burst, q.Per, q.Algorithm}
	return nil
}

// resolve checks a quota and returns the hash of its key, and its period in
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

// fits tells whether what was prepared is true of a quota. It is not for quotas with
// a Ban or a Calendar, which are rare.
func (p *prepared) matches(q *Quota) bool {
	return q.Ban == 0 && q.Calendar == nil && p.limit == q.Limit && p.per == q.Per && p.burst == q.Burst && p.algorithm == q.Algorithm &&
		validCost(q.Cost) && sameText(p.key, q.Key)
}

// sameText tells whether two strings share their bytes: then they are equal, which
// need not be found out by comparing them.
func sameText(a, b string) bool {
	return unsafe.StringData(a) == unsafe.StringData(b) && len(a) == len(b)
}

// seed is random, so that nobody outside can choose texts whose hashes meet.
var seed = maphash.MakeSeed()

func hashText(s string) uint64 { return maphash.String(seed, s) }

// mix makes one hash of those of a key and a scope. It is never 0.
func mixHashes(key, scope uint64) uint64 {
	high, low := bits.Mul64(key^0x9e3779b97f4a7c15, scope^0xd1b54a32d192ed03)
	return max(1, high^low)
}

// kind is the algorithm, strikes or calendar.
func (q *Quota) counterAlgorithm() Algorithm {
	if q.Ban != 0 {
		return rejections
	}
	if q.Calendar != nil {
		return calendar
	}
	return q.Algorithm
}

// micros is the period in the unit that everything below counts in. A fraction
// of a microsecond is rounded up, which never admits more.
func (q *Quota) micros() int64 { return microsUp(q.Per) }

func microsUp(d time.Duration) int64 {
	return int64((d + time.Microsecond - 1) / time.Microsecond)
}

// charge is what the quota asks for. Whether a denial counts for a ban shows only
// when all others have decided: see rejection.
func (q *Quota) charge() (c window.Charge) {
	q.fill(&c, q.micros())
	return c
}

// fill writes what the quota asks for into an empty charge. Field by field is faster
// than a copy, which loads in one piece what has just been stored in several.
func (q *Quota) fill(c *window.Charge, per int64) {
	c.Limit, c.Per = q.Limit, per
	if q.Ban != 0 {
		c.Ban = microsUp(q.Ban)
		return
	}
	c.Burst, c.Cost, c.Forced, c.Tentative, c.Receipt = q.Burst, q.Cost, q.Forced, q.Tentative, q.Receipt
	c.Zone = q.Calendar
}

// peek is the charge that changes nothing.
func (q *Quota) peek() window.Charge {
	c := q.charge()
	c.Cost, c.Forced = 0, false
	return c
}

// rejection is the charge that counts a denial for a ban.
func (q *Quota) rejection() window.Charge {
	c := q.charge()
	c.Cost = q.Cost
	return c
}

// countsRejection tells whether a denial counts for a ban, the quota i: whether another
// on its key and scope has denied, and there is no ban yet.
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

// Capacity returns the most units that the quota ever allows at once: Burst for a
// TokenBucket with a Burst, Limit for everything else. It is 0 if Limit is 0, whatever
// the Burst.
func (q *Quota) Capacity() int64 { return capacity(q.counterAlgorithm(), q.Limit, q.Burst) }

func capacity(algorithm Algorithm, limit, burst int64) int64 {
	if algorithm == TokenBucket && burst > 0 && limit > 0 {
		return burst
	}
	return limit
}

// valid is check without the words, for every request. A negative number is a
// huge one without its sign.
func (q *Quota) valid() bool {
	return q.Ban == 0 && q.Calendar == nil && q.Algorithm < algorithmCount && uint64(q.Limit) <= uint64(MaxLimit) && uint64(q.Burst) <= uint64(MaxLimit) &&
		validCost(q.Cost) && uint64(q.Per-MinPer) <= uint64(MaxPer-MinPer)
}

func validCost(cost int64) bool { return uint64(cost+MaxLimit) <= 2*uint64(MaxLimit) }

// check reports what is wrong with a quota, in a sentence.
func (q *Quota) check() error {
	switch {
	case q.Algorithm >= algorithmCount:
		return fmt.Errorf("%w: algorithm %d is none of %s", ErrInvalidQuota, q.Algorithm, AlgorithmNames())
	case q.Calendar != nil && (q.Algorithm != FixedWindow || q.Ban != 0):
		return fmt.Errorf("%w: a Calendar is for %s alone, not for %s or a ban", ErrInvalidQuota, FixedWindow, q.Algorithm)
	case q.Calendar != nil && !window.IsCalendarPeriod(q.micros()):
		return fmt.Errorf("%w: the calendar has windows of 24 hours, 7 days, 30 days (a month) and 365 days (a year), not of %v", ErrInvalidQuota, q.Per)
	case q.Limit < 0 || q.Limit > MaxLimit:
		return fmt.Errorf("%w: limit %d is not from 0 to %d", ErrInvalidQuota, q.Limit, MaxLimit)
	case q.Per < MinPer || q.Per > MaxPer:
		return fmt.Errorf("%w: period %v is not from %v to %v", ErrInvalidQuota, q.Per, MinPer, MaxPer)
	case q.Burst < 0 || q.Burst > MaxLimit:
		return fmt.Errorf("%w: burst %d is not from 0 to %d", ErrInvalidQuota, q.Burst, MaxLimit)
	case q.Ban != 0 && (q.Ban < MinPer || q.Ban > MaxPer):
		return fmt.Errorf("%w: ban %v is not from %v to %v", ErrInvalidQuota, q.Ban, MinPer, MaxPer)
	case q.Ban != 0 && (q.Limit == 0 || q.Cost < 0 || q.Cost > 1 || q.Forced || q.Shadow):
		return fmt.Errorf("%w: a ban needs a limit over 0 (not %d) and a cost of 0 or 1 (not %d), and is neither forced nor a shadow", ErrInvalidQuota, q.Limit, q.Cost)
	case q.Cost < -MaxLimit || q.Cost > MaxLimit:
		return fmt.Errorf("%w: cost %d is not from %d to %d", ErrInvalidQuota, q.Cost, -MaxLimit, MaxLimit)
	}
	return nil
}

// checkAll is what every Take begins with.
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

// checkRoom reports whether there are too few verdicts.
func checkRoom(quotas []Quota, verdicts []Verdict) error {
	if len(verdicts) < len(quotas) {
		return fmt.Errorf("%w: %d quotas need as many verdicts, not %d", ErrInvalidQuota, len(quotas), len(verdicts))
	}
	return nil
}

// verdict translates from the microseconds of the algorithms.
func verdict(v window.Verdict) Verdict {
	return Verdict{
		Allowed:    v.Allowed(),
		Remaining:  v.Remaining,
		ResetAfter: micros(v.ResetAfter),
		RetryAfter: micros(v.RetryAfter),
		Receipt:    v.Receipt,
	}
}

// micros is a number of microseconds.
func micros(n int64) time.Duration { return time.Duration(n) * time.Microsecond }

// left corrects what remains, of a charge that was not made or was given back.
func (v *Verdict) setRemaining(now Verdict) {
	v.Remaining, v.ResetAfter = now.Remaining, now.ResetAfter
}
