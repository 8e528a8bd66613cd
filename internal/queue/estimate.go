package queue

import (
	"slices"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
)

// Estimate computes when a rejected request would have had its turn behind the waiting
// requests, so that its Retry-After is never too short. It combines the verdicts of the
// backend, which knows the used units, with the units that the requests ahead will use:
//
//	quotas := estimate.Quotas(0)
//	verdicts := make([]backends.Verdict, len(quotas))
//	err := backend.Take(ctx, quotas, verdicts)
//	...
//	estimate.Correct(verdicts, nil)
//
// It assumes that the requests ahead keep waiting, that no other request comes in between,
// and that all have the same limits. A request with a lower limit may have to wait longer.
type Estimate struct {
	quotas []backends.Quota
	ahead  []load
	delay  []time.Duration // to add to the verdicts; see Quotas
}

// estimate returns the estimate for a request at a place in the queue, with the load ahead
// of it.
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

// Quotas returns the quotas to take from the backend in one call. They are those of the
// request, with the cost of all waiting requests as far as the limit allows it at once,
// followed by a quota that always denies, so that nothing is charged. The last quota has
// the key and scope of the quota with index deny.
func (e *Estimate) Quotas(deny int) []backends.Quota {
	quotas := make([]backends.Quota, len(e.quotas), len(e.quotas)+1)
	e.delay = make([]time.Duration, len(e.quotas))
	for i, q := range e.quotas {
		q.Tentative = true // the denial of an estimate must not be cached
		if !q.Shadow {
			q.Cost, e.delay[i] = e.ahead[i].probeCost(&q)
		}
		quotas[i] = q
	}
	nothing := quotas[deny]
	nothing.Limit, nothing.Burst, nothing.Cost, nothing.Shadow = 0, 0, 1, false
	return append(quotas, nothing)
}

// Correct turns the verdicts on Quotas into those on the request. At least one of them is
// then denied, even if the backend has room for everyone: the requests ahead are about to
// use it. Verdicts for which final returns true do not change, such as those of a ban.
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
		// One limit may hold up the requests ahead while another lets units expire unused,
		// and vice versa. At worst, all the waits add up.
		strictest.RetryAfter = max(strictest.RetryAfter, sum+e.ahead[0].roundings())
	}
}

// correct adds what the backend does not know to the verdict on one quota.
func (e *Estimate) correct(i int, v *backends.Verdict) {
	q := &e.quotas[i]
	v.RetryAfter += e.delay[i]
	aligned := q.Algorithm == backends.FixedWindow || q.Algorithm == backends.SlidingWindow
	if e.delay[i] > 0 && aligned && (len(e.quotas) > 1 || v.Remaining >= e.ahead[i].first) {
		// Another limit holds up the first request, or it has not passed yet although there
		// is room. It is unknown where in a window the requests ahead will pass.
		v.RetryAfter += longestWindow(q)
	}
	v.Allowed = v.RetryAfter == 0
}

// isStricter reports whether verdict a makes the request wait longer than b, or has fewer
// units remaining.
func isStricter(a, b *backends.Verdict) bool {
	if a.RetryAfter != b.RetryAfter {
		return a.RetryAfter > b.RetryAfter
	}
	return a.Remaining < b.Remaining
}

// probeCost returns the cost to take from the backend for a request behind a load, and how
// much later than that cost is allowed the request will have its turn: all units together
// may exceed what the limit allows at once.
//
// If the cost covers all units, no request passes later than all of them at once would.
// Otherwise they pass in parts, and a part may leave units unused because the next request
// does not fit. While a request with cost h waits, more than limit-h units are used. So a
// period passes at least byLargest units, what the largest request leaves free, and at
// least byHalf, because a period and the request that did not fit into it exceed the limit
// together.
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
		// Units of the previous window expire one by one, and waiting requests use them.
		// Once there was room for the whole limit, the rest passes at the pace of byLargest
		// or faster, and each window passes byHalf by its end.
		rest := units - max(1, q.Cost) + 1 - byLargest
		return most, min(paceUp(rest, byLargest, per), periods(2+(units-1)/byHalf, per))
	}
	// The first request does not fit before its turn, however low the cost.
	pass := max(byLargest, byHalf)
	n := (units - 1) / pass
	return min(max(units-n*pass, l.first), most), periods(n, per+width) + width
}

// roundings returns how much later the requests ahead may pass because their turns are
// rounded up to microseconds.
func (l *load) roundings() time.Duration { return time.Duration(l.requests) * time.Microsecond }

// cellWidth returns how long a sliding log may hold units past a whole period; see
// window.Log.
func cellWidth(q *backends.Quota) time.Duration {
	const cells = 128
	if q.Algorithm != backends.SlidingLog || q.Limit <= cells {
		return 0
	}
	return roundUp(roundUp(q.Per) / cells)
}
