package queue

import (
	"math/bits"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
)

// load is the sum of several requests for one quota.
type load struct {
	requests int64
	units    int64 // of all requests together
	first    int64 // of the first request with a cost; set in an Estimate only
	largest  int64 // largest cost of a request, including those that have left
	limit    int64 // highest limit that applies to one of the requests
}

func addTo(loads []load, w *waiter) {
	for i := range loads {
		loads[i].requests++
		loads[i].units += w.quotas[i].Cost
		loads[i].largest = max(loads[i].largest, w.quotas[i].Cost)
		loads[i].limit = max(loads[i].limit, w.quotas[i].Limit)
	}
}

// ahead returns the load of the requests before a place, by quota.
func (q *queue) ahead(place int) []load {
	if place == len(q.waiters) {
		return q.loads
	}
	ahead := make([]load, len(q.loads))
	for _, w := range q.waiters[:place] {
		addTo(ahead, w)
	}
	return ahead
}

// isTooLate reports whether a request cannot have its turn in time.
func (q *queue) isTooLate(w *waiter, ahead []load) bool {
	return !w.open && q.turn.at.After(time.Now()) && q.earliest(w, ahead).After(w.deadline)
}

// earliest returns a time before which a request behind others cannot have its turn,
// because the turn of the first uses up the limit it waits for. (After a forced charge past
// a limit, or when a limit was lowered, a sliding window frees units faster for a while.)
func (q *queue) earliest(w *waiter, ahead []load) time.Time {
	first, own, before := &q.waiters[0].quotas[q.turn.limit], &w.quotas[q.turn.limit], &ahead[q.turn.limit]
	units := before.units + own.Cost
	switch {
	case first.Limit == 0, max(before.limit, own.Limit) > first.Limit: // with a higher limit it may pass together with the first
		return q.turn.at
	case regainsOneByOne(first):
		// The turn of the first was rounded up, so the difference is rounded down.
		return q.turn.at.Add(pace(units-first.Cost, first.Limit, first.Per))
	}
	return q.turn.at.Add(periods(max(0, units-1)/first.Limit, shortestWindow(first))) // all units of a period may come back at once
}

// longestWindow and shortestWindow bound the length of a quota's windows. Calendar windows
// vary: clocks change by at most two hours, months have 28 to 31 days, years 365 or 366.
func longestWindow(q *backends.Quota) time.Duration {
	switch {
	case q.Calendar == nil:
		return q.Per
	case q.Per < month:
		return q.Per + clockChange
	}
	return q.Per + day + clockChange
}

func shortestWindow(q *backends.Quota) time.Duration {
	switch {
	case q.Calendar == nil:
		return q.Per
	case q.Per == month:
		return q.Per - 2*day - clockChange
	}
	return q.Per - clockChange
}

const (
	day         = 24 * time.Hour
	month       = 30 * day
	clockChange = 2 * time.Hour
)

// exceedsLimit reports whether a quota can never allow its cost.
func exceedsLimit(q backends.Quota) bool { return !q.Shadow && q.Cost > q.Capacity() }

// maxDuration is the longest duration used here. Adding it to any other does not overflow.
const maxDuration = 100 * backends.MaxPer

// pace returns how long it takes for units to come back one by one, rounded down to a
// microsecond, the resolution of backends.
func pace(units, limit int64, per time.Duration) time.Duration {
	down, _ := mulDiv(max(0, units), int64(per), limit)
	return time.Duration(down).Truncate(time.Microsecond)
}

// paceUp is pace, rounded up.
func paceUp(units, limit int64, per time.Duration) time.Duration {
	down, exact := mulDiv(max(0, units), int64(per), limit)
	if !exact {
		down++
	}
	return roundUp(time.Duration(down))
}

// periods returns the length of n periods.
func periods(n int64, per time.Duration) time.Duration {
	nanoseconds, _ := mulDiv(n, int64(per), 1)
	return time.Duration(nanoseconds)
}

// roundUp rounds up to a microsecond.
func roundUp(d time.Duration) time.Duration {
	return (d + time.Microsecond - 1).Truncate(time.Microsecond)
}

// mulDiv returns a*b/c rounded down, at most maxDuration.
func mulDiv(a, b, c int64) (quotient int64, exact bool) {
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	if hi >= uint64(c) { // more than 64 bits
		return int64(maxDuration), true
	}
	q, r := bits.Div64(hi, lo, uint64(c))
	return int64(min(q, uint64(maxDuration))), r == 0
}
