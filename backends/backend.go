// Package backends holds the places a rate limiter keeps its counters in: the
// memory of the process (NewMemory) and Redis (NewRedis), behind the one
// interface Backend that an application may implement for a store of its own.
package backends

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/internal/options"
	"github.com/gin-ratelimiter/ratelimiter/internal/window"
)

// Limits of what a backend accepts.
const (
	// MaxLimit is the largest Limit, Burst and Cost: ten million million units.
	MaxLimit = window.MaxLimit
	// MinPer and MaxPer are the shortest and the longest period.
	MinPer = time.Millisecond
	MaxPer = time.Duration(window.MaxPeriod) * time.Microsecond
)

var (
	// ErrClosed is returned by a backend that is used after Close.
	ErrClosed = errors.New("the rate limiter's backend is closed")
	// ErrInvalidQuota is wrapped by the error for a quota that makes no sense.
	ErrInvalidQuota = errors.New("invalid quota")
)

// Backend keeps the counters. Every method is safe for use by many goroutines
// at once. The package backendtest holds the tests that a backend must pass.
type Backend interface {
	// Take charges every quota, or none of them if any is exceeded, and writes
	// one verdict for each; verdicts must be at least as long as quotas. On an
	// error no verdict means anything, and units may or may not have been taken.
	//
	// A quota whose Shadow is set is decided and charged by itself: its denial
	// denies nothing, and it is not charged when an enforced quota denies.
	// Two quotas of one key, scope, algorithm, period and Shadow share their
	// counter, and are charged one after the other. What a quota with a Ban counts
	// are denials, and it is charged by them alone.
	Take(ctx context.Context, quotas []Quota, verdicts []Verdict) error

	// Reset forgets every limit of a key and scope. One never seen is no error.
	Reset(ctx context.Context, key, scope string) error

	// Close frees what the backend itself opened. Calling it again does
	// nothing. Take and Reset return ErrClosed from then on.
	Close() error
}

// Factory makes a backend from its options, which come from the configuration
// key RATELIMITER_BACKEND_OPTIONS and may be nil. An unknown option, a wrong
// type or a bad value is an error.
type Factory func(options map[string]any) (Backend, error)

// Quota is one limit on one key and scope: what a backend is asked to charge.
type Quota struct {
	Key, Scope string
	Algorithm  Algorithm     // the zero value is SlidingWindow
	Limit      int64         // units in Per, 0 to MaxLimit; 0 denies every cost over 0
	Per        time.Duration // MinPer to MaxPer; less than a microsecond is rounded up
	Burst      int64         // TokenBucket alone: the most that passes at once; 0 means Limit

	// Cost is how many units to take. 0 peeks and changes nothing. A negative
	// cost gives units back, those taken last first, and never past full.
	Cost int64

	// Forced charges even past the limit, for a cost that is known only
	// afterwards. The verdict allows, and time pays the excess back.
	Forced bool

	// Shadow quotas are counted apart from enforced ones and deny nothing.
	Shadow bool

	// Tentative says that some of the units may be given back before long: the
	// verdict has a receipt for that, and no process must remember a denial.
	Tentative bool

	// Ban, where it is not 0, makes the quota a count of refusals: whoever an
	// enforced quota of the same key and scope has denied Limit times within Per is
	// denied by this one until the ban is over, MinPer to MaxPer. Denials of the ban
	// itself do not count, so it grows no longer. The limit is 1 or more, the cost 1,
	// or 0 to look without counting a denial; Forced and Shadow must not be set. The
	// algorithm means nothing, and quotas with a Ban share their count if the period
	// is the same. The verdict denies with the refusal that makes the ban; Remaining
	// is how many refusals are left.
	Ban time.Duration

	// Receipt, with a negative cost, is that of the verdict on the units which are
	// given back: those of them that the limit has forgotten meanwhile, or that
	// time has paid, are not given back again. Without one (0) the units that were
	// taken last are.
	Receipt int64
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

// kind is the algorithm, or strikes.
func (q *Quota) kind() Algorithm {
	if q.Ban != 0 {
		return strikes
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
// when all others have decided: see strike.
func (q *Quota) charge() window.Charge {
	if q.Ban != 0 {
		return window.Charge{Limit: q.Limit, Per: q.micros(), Ban: microsUp(q.Ban)}
	}
	return window.Charge{Limit: q.Limit, Per: q.micros(), Burst: q.Burst, Cost: q.Cost, Forced: q.Forced, Tentative: q.Tentative, Receipt: q.Receipt}
}

// peek is the charge that changes nothing.
func (q *Quota) peek() window.Charge {
	c := q.charge()
	c.Cost, c.Forced = 0, false
	return c
}

// strike counts a denial for a ban.
func (q *Quota) strike() window.Charge {
	c := q.charge()
	c.Cost = q.Cost
	return c
}

// struck tells whether a denial counts for a ban, the quota i: whether another on
// its key and scope has denied, and there is no ban yet.
func struck(quotas []Quota, verdicts []Verdict, i int) bool {
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

// most is what the quota allows at once.
func (q *Quota) most() int64 {
	if q.Algorithm == TokenBucket && q.Burst > 0 {
		return q.Burst
	}
	return q.Limit
}

// valid is check without the words, for every request. A negative number is a
// huge one without its sign.
func (q *Quota) valid() bool {
	const most = uint64(MaxLimit)
	return q.Ban == 0 && q.Algorithm < algorithms && uint64(q.Limit) <= most && uint64(q.Burst) <= most &&
		uint64(q.Cost+MaxLimit) <= 2*most && uint64(q.Per-MinPer) <= uint64(MaxPer-MinPer)
}

// check reports what is wrong with a quota, in a sentence.
func (q *Quota) check() error {
	switch {
	case q.Algorithm >= algorithms:
		return fmt.Errorf("%w: algorithm %d is none of %s", ErrInvalidQuota, q.Algorithm, AlgorithmNames())
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
	if len(verdicts) < len(quotas) {
		return fmt.Errorf("%w: %d quotas need as many verdicts, not %d", ErrInvalidQuota, len(quotas), len(verdicts))
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

// verdict translates from the microseconds of the algorithms.
func verdict(v window.Verdict) Verdict {
	return Verdict{
		Allowed:    v.Allowed,
		Remaining:  v.Remaining,
		ResetAfter: time.Duration(v.ResetAfter) * time.Microsecond,
		RetryAfter: time.Duration(v.RetryAfter) * time.Microsecond,
		Receipt:    v.Receipt,
	}
}

// left corrects what remains, of a charge that was not made or was given back.
func (v *Verdict) left(now Verdict) {
	v.Remaining, v.ResetAfter = now.Remaining, now.ResetAfter
}

// reader reads the options of a backend, all of which must be known to it.
func reader(backend string, given map[string]any) *options.Reader {
	return &options.Reader{
		Values:   given,
		Describe: func(name string) string { return fmt.Sprintf("option %q of backend %q", name, backend) },
	}
}

func everyName(string) bool { return true }
