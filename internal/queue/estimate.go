package queue

import (
	"slices"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
)

// Estimate tells when a rejected request would have its turn behind those that wait,
// so that Retry-After is that time or later, never earlier. The backend knows what is
// used of the limits, the estimate what those ahead will use:
//
//	quotas := estimate.Quotas(0)
//	verdicts := make([]backends.Verdict, len(quotas))
//	err := backend.Take(ctx, quotas, verdicts)
//	...
//	estimate.Correct(verdicts, nil)
//
// It counts on those ahead to stay, on nobody else to come between, and on one limit
// for all: one that has a lower limit may take longer.
type Estimate struct {
	quotas []backends.Quota
	ahead  []load
	delay  []time.Duration // what to add to the verdicts; see Quotas
}

// estimate is that of a request at a place in a queue, behind a load.
func (q *queue) estimate(w *waiter, place int, ahead []load) *Estimate {
	e := &Estimate{quotas: w.quotas, ahead: slices.Clone(ahead)}
	for i := range e.ahead {
		for _, before := range q.waiters[:place] {
			if e.ahead[i].first = before.quotas[i].Cost; e.ahead[i].first > 0 {
				break
			}
		}
	}
	return e
}

// Quotas are what to ask the backend, in one question: the quotas of the request, at
// the cost of all that wait as far as a limit allows that at once, and behind them one
// that denies everything, so that nothing is charged. That one is on the key and scope
// of the quota with index deny.
func (e *Estimate) Quotas(deny int) []backends.Quota {
	quotas := make([]backends.Quota, len(e.quotas), len(e.quotas)+1)
	e.delay = make([]time.Duration, len(e.quotas))
	for i, q := range e.quotas {
		q.Tentative = true // a denial of what is not a request must not be remembered
		if !q.Shadow {
			q.Cost, e.delay[i] = e.ahead[i].probeCost(&q)
		}
		quotas[i] = q
	}
	nothing := quotas[deny]
	nothing.Limit, nothing.Burst, nothing.Cost, nothing.Shadow = 0, 0, 1, false
	return append(quotas, nothing)
}

// Correct makes the verdicts on Quotas those on the request. One of them denies in the
// end, even if there is room for all: they are on their way, and this request came too
// late for it. Verdicts that final is true of stay as they are, such as those of a ban;
// final may be nil.
func (e *Estimate) Correct(verdicts []backends.Verdict, final func(i int) bool) {
	var strictest *backends.Verdict
	var sum time.Duration
	waits, denied := 0, false
	for i := range e.quotas {
		v := &verdicts[i]
		switch {
		case e.quotas[i].Shadow:
			continue
		case v.RetryAfter < 0 || final != nil && final(i):
			denied = denied || !v.Allowed
			continue
		}
		if e.correct(i, v); !v.Allowed {
			waits++
			sum += min(v.RetryAfter, maxDuration/time.Duration(len(e.quotas)))
		}
		if strictest == nil || isStricter(v, strictest) {
			strictest = v
		}
	}
	switch {
	case denied || strictest == nil:
		return
	case waits == 0:
		strictest.Allowed, strictest.RetryAfter = false, retrySoon
	case waits > 1:
		// One limit may hold up those ahead while another lets units pass unused, and
		// later the other way round. So they hold them up for as long as all waits together.
		strictest.RetryAfter = max(strictest.RetryAfter, sum+e.ahead[0].roundings())
	}
}

// correct adds what the backend does not know to the verdict on one quota.
func (e *Estimate) correct(i int, v *backends.Verdict) {
	q := &e.quotas[i]
	v.RetryAfter += e.delay[i]
	aligned := q.Algorithm == backends.FixedWindow || q.Algorithm == backends.SlidingWindow
	if e.delay[i] > 0 && aligned && (len(e.quotas) > 1 || v.Remaining >= e.ahead[i].first) {
		// Another limit holds up the first, or it has not passed although there is room.
		// So where in a window those ahead will pass is not known.
		v.RetryAfter += longestWindow(q)
	}
	v.Allowed = v.RetryAfter == 0
}

// isStricter reports whether a makes the request wait longer than b, or has less room.
func isStricter(a, b *backends.Verdict) bool {
	if a.RetryAfter != b.RetryAfter {
		return a.RetryAfter > b.RetryAfter
	}
	return a.Remaining < b.Remaining
}

// question is what to ask the backend for a request behind a load, and how long after
// that is allowed the request will have its turn: all units together may be more than
// the limit ever allows at once.
//
// Where the cost is that of all together, each of them passes no later than all at once
// would. Where it is not, they pass in pieces, and a piece may leave units unused because
// the next request does not fit in. As long as a request waits that asks h, more than
// limit-h units are used. So each period passes so many units at least: by the largest
// request, what all but that one leave free, and by half, as one period and the request
// that did not fit into it ask more than the limit together.
func (l *load) probeCost(q *backends.Quota) (cost int64, later time.Duration) {
	most, units, per := q.Capacity(), l.units+q.Cost, roundUp(longestWindow(q))
	if most == 0 || q.Cost > most {
		return q.Cost, 0
	}
	width := cellWidth(q)
	if l.units == 0 {
		width = 0
	}
	if units <= most {
		return units, width
	}
	byLargest, byHalf := max(1, most-max(l.largest, q.Cost)+1), (most+1)/2
	switch q.Algorithm {
	case backends.TokenBucket:
		n := (units - 1) / most
		later = paceUp(n*most, q.Limit, per)
		if l.largest >= most && int64(per/time.Microsecond)%q.Limit != 0 {
			later += l.roundings() // a full bucket cannot make up for them
		}
		return units - n*most, later
	case backends.SlidingWindow:
		// Units of the window before leave one by one, and those that wait take their
		// place. After there was room for the whole limit, the rest passes at the pace of
		// byLargest or faster, and each window passes byHalf by its end.
		rest := units - max(1, q.Cost) + 1 - byLargest
		return most, min(paceUp(rest, byLargest, per), periods(2+(units-1)/byHalf, per))
	}
	// The first does not fit in before its turn, however little is asked.
	pass := max(byLargest, byHalf)
	n := (units - 1) / pass
	return min(max(units-n*pass, l.first), most), periods(n, per+width) + width
}

// roundings is how much later those ahead may pass than they could, as each of their
// turns is rounded up to a microsecond.
func (l *load) roundings() time.Duration { return time.Duration(l.requests) * time.Microsecond }

// cellWidth is how long a sliding log may hold units after they are a period old.
// See window.Log.
func cellWidth(q *backends.Quota) time.Duration {
	const cells = 128
	if q.Algorithm != backends.SlidingLog || q.Limit <= cells {
		return 0
	}
	return roundUp((roundUp(q.Per) + cells - 1) / cells)
}
