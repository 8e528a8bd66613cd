package ratelimiter

import (
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
)

// turn is when a request will be allowed, and which of its limits it waits for.
type turn struct {
	at    time.Time
	limit int
	never bool
}

func (t turn) after(deadline time.Time) bool { return t.never || t.at.After(deadline) }

// load is what requests ask of one limit together, the most that one of them has
// asked, and the highest that a function has said the limit is.
type load struct{ units, largest, limit int64 }

func add(loads []load, w *waiter) {
	for i := range loads {
		loads[i].units += w.asked[i].Cost
		loads[i].largest = max(loads[i].largest, w.asked[i].Cost)
		loads[i].limit = max(loads[i].limit, w.asked[i].Limit)
	}
}

// ahead is the load of those before a place.
func (l *line) ahead(place int) []load {
	if place == len(l.waiters) {
		return l.loads
	}
	ahead := make([]load, len(l.loads))
	for _, w := range l.waiters[:place] {
		add(ahead, w)
	}
	return ahead
}

// inVain tells whether it is known already that a request behind others will not
// have its turn in time.
func (l *line) inVain(w *waiter, ahead []load) bool {
	return l.turn.at.After(time.Now()) && l.earliest(w, ahead).After(w.deadline)
}

// earliest is when a request may have its turn at the earliest, knowing when the
// first will have its own, and that the limit which it waits for is used up then.
// (After Charge has gone past a limit, or one was lowered, a sliding window frees
// more than that for a while.)
func (l *line) earliest(w *waiter, ahead []load) time.Time {
	q := &l.waiters[0].asked[l.turn.limit]
	own, before := &w.asked[l.turn.limit], ahead[l.turn.limit]
	units := before.units + own.Cost
	switch {
	case q.Limit == 0, max(before.limit, own.Limit) > q.Limit: // who has a higher limit may pass with the first
		return l.turn.at
	case q.Algorithm == TokenBucket || q.Algorithm == SlidingWindow: // one unit after the other
		// Backends round a turn up to a microsecond: what is added is rounded down.
		return l.turn.at.Add(paced(units-q.Cost, q).Truncate(time.Microsecond))
	}
	return l.turn.at.Add(inPeriods(max(0, units-1)/q.Limit, q)) // perhaps all units of a period at once
}

// before is what to ask a backend for, together with those ahead, and how long
// after that is allowed the request will have its turn, or later: all units at once
// may be more than the limit ever allows.
func (ahead load) before(q *backends.Quota) (cost int64, later time.Duration) {
	if tooMuch(*q) {
		return q.Cost, 0
	}
	// A period may not pass all of its units, as the next request does not fit in. It
	// passes this many on average.
	units, most := ahead.units+q.Cost, atOnce(q)
	pass := most
	if q.Algorithm != TokenBucket {
		pass = max((most+1)/2, most-max(ahead.largest, q.Cost)+1)
	}
	times := max(0, units-1) / max(1, pass)
	cost = units - times*pass
	switch {
	case times == 0:
		return cost, 0
	case q.Algorithm == TokenBucket:
		return cost, paced(times*pass, q)
	case q.Algorithm == SlidingWindow && pass == 1: // an old unit counts for two periods
		return cost, inPeriods(2*times, q)
	case q.Algorithm == SlidingWindow: // which rounds up, and so passes one unit less
		return cost, inReach(float64(q.Per) * (1 + float64(times*pass)/float64(pass-1)))
	}
	return cost, inPeriods(times, q)
}

// atOnce is the most that a limit ever allows at once.
func atOnce(q *backends.Quota) int64 {
	if q.Algorithm == TokenBucket && q.Burst > 0 && q.Limit > 0 {
		return q.Burst
	}
	return q.Limit
}

// tooMuch tells whether a request is never allowed what it asks.
func tooMuch(q backends.Quota) bool { return !q.Shadow && q.Cost > atOnce(&q) }

// paced is how long units take one after the other.
func paced(units int64, q *backends.Quota) time.Duration {
	return inReach(float64(units) * float64(q.Per) / float64(q.Limit))
}

func inPeriods(n int64, q *backends.Quota) time.Duration {
	return inReach(float64(n) * float64(q.Per))
}

// inReach is a duration that can be added to a time.
func inReach(nanoseconds float64) time.Duration {
	return time.Duration(min(nanoseconds, float64(100*backends.MaxPer)))
}
