package backendtest

import (
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// drawQuota draws limits above and below 128, where a sliding log stops counting each unit
// separately, and rates that are not a whole number of microseconds.
func drawQuota(t *rapid.T, algorithm backends.Algorithm, scope string) backends.Quota {
	q := backends.Quota{
		Key: "law", Scope: scope, Algorithm: algorithm, Cost: 1,
		Limit: rapid.SampledFrom([]int64{1, 2, 3, 7, 60, 128, 129, 700, 1_000_000}).Draw(t, "limit"),
		Per:   rapid.SampledFrom([]time.Duration{time.Millisecond, 70 * time.Millisecond, time.Second, 999_983 * time.Microsecond, 30 * 24 * time.Hour}).Draw(t, "per"),
	}
	if algorithm == backends.TokenBucket {
		q.Burst = rapid.SampledFrom([]int64{0, 0, 1, q.Limit, q.Limit + 5}).Draw(t, "burst")
	}
	return q
}

// drawPause draws the time until the next request, and prefers moments at which the
// decision changes.
func drawPause(t *rapid.T, q backends.Quota) time.Duration {
	per := int64(q.Per / time.Microsecond)
	return time.Duration(rapid.OneOf(
		rapid.Just(int64(0)),
		rapid.Int64Range(0, 3),
		rapid.Int64Range(0, 2*per/q.Limit+1),
		rapid.Int64Range(0, per),
		rapid.SampledFrom([]int64{per/2 - 1, per - 1, per, per + 1, 2 * per}),
	).Draw(t, "pause")) * time.Microsecond
}

// drawCost prefers a cost of 1 and everything that remains.
func drawCost(t *rapid.T, q backends.Quota, remaining int64) int64 {
	return rapid.OneOf(
		rapid.Just(int64(1)),
		rapid.Just(max(1, remaining)),
		rapid.Int64Range(1, q.Capacity()),
	).Draw(t, "cost")
}

// exactWaits checks that a denied cost is denied until a microsecond before RetryAfter and
// allowed at RetryAfter, and that the full limit is available at ResetAfter and not a
// microsecond earlier.
func exactWaits(s *subject, t *rapid.T, algorithm backends.Algorithm, scope string) {
	q := drawQuota(t, algorithm, scope)
	remaining := q.Capacity()
	for range rapid.IntRange(1, 20).Draw(t, "requests") {
		s.clock.Advance(drawPause(t, q))
		q.Cost = drawCost(t, q, remaining)
		v := s.takeOne(q)
		if !v.Allowed {
			require.Positive(t, v.RetryAfter)
			s.clock.Advance(v.RetryAfter - time.Microsecond)
			require.False(t, s.takeOne(q).Allowed, "a microsecond before RetryAfter %v of %+v", v.RetryAfter, q)
			s.clock.Advance(time.Microsecond)
			v = s.takeOne(q)
			require.True(t, v.Allowed, "at RetryAfter of %+v", q)
		}
		remaining = v.Remaining
	}
	peek := costing(q, 0)
	v := s.takeOne(peek)
	if v.ResetAfter > 0 {
		s.clock.Advance(v.ResetAfter - time.Microsecond)
		require.Positive(t, s.takeOne(peek).ResetAfter, "a microsecond before ResetAfter of %+v", q)
		s.clock.Advance(time.Microsecond)
	}
	require.Equal(t, backends.Verdict{Allowed: true, Remaining: q.Capacity()}, s.takeOne(peek), "at ResetAfter of %+v", q)
}

// event is a number of granted units.
type event struct {
	at    time.Duration
	units int64
}

// bound returns the most units that a rolling window may admit.
func bound(q backends.Quota) int64 {
	switch q.Algorithm {
	case backends.SlidingLog:
		return q.Limit
	case backends.TokenBucket:
		return q.Capacity() + q.Limit
	default:
		return 2 * q.Limit
	}
}

// boundHolds keeps every event and checks every rolling window. A refund removes the units
// granted last.
func boundHolds(s *subject, t *rapid.T, algorithm backends.Algorithm, scope string) {
	q := drawQuota(t, algorithm, scope)
	var events []event
	now, remaining := time.Duration(0), q.Capacity()
	for range rapid.IntRange(1, 60).Draw(t, "requests") {
		pause := drawPause(t, q)
		s.clock.Advance(pause)
		now += pause
		q.Cost = drawCost(t, q, remaining)
		if rapid.IntRange(0, 7).Draw(t, "refund") == 0 {
			q.Cost = -q.Cost
		}
		v := s.takeOne(q)
		remaining = v.Remaining
		if !v.Allowed {
			continue
		}
		if q.Cost < 0 {
			events = removeNewest(events, -q.Cost)
			continue
		}
		events = append(events, event{now, q.Cost})
		admitted, burst := int64(0), int64(0)
		for _, e := range events {
			if e.at > now-q.Per {
				admitted += e.units
			}
			if e.at == now {
				burst += e.units
			}
		}
		require.LessOrEqual(t, admitted, bound(q), "a window of %+v", q)
		require.LessOrEqual(t, burst, q.Capacity(), "a burst of %+v", q)
		*s.worst = max(*s.worst, float64(admitted)/float64(bound(q)))
	}
}

// drawPace draws a quota for one unit per request and moves to a random moment of its
// period.
func drawPace(s *subject, t *rapid.T, algorithm backends.Algorithm, scope string) backends.Quota {
	q := drawQuota(t, algorithm, scope)
	q.Limit, q.Burst = rapid.Int64Range(1, 12).Draw(t, "limit"), 0
	if rapid.IntRange(0, 19).Draw(t, "higher") == 13 {
		q.Limit = rapid.SampledFrom([]int64{128, 129}).Draw(t, "higher limit")
	}
	s.clock.Advance(time.Duration(rapid.Int64Range(0, q.Per.Microseconds()).Draw(t, "phase")) * time.Microsecond)
	return q
}

// cellWidth returns how much longer than Per a unit may count: a sliding log with a limit
// over 128 has cells of 1/128 of the period.
func cellWidth(q backends.Quota) time.Duration {
	if q.Algorithm == backends.SlidingLog && q.Limit > 128 {
		return (q.Per/128 + time.Microsecond).Truncate(time.Microsecond)
	}
	return 0
}

// steadyPace checks that a client whose requests are at least per/limit apart is never
// denied.
func steadyPace(s *subject, t *rapid.T, algorithm backends.Algorithm, scope string) {
	q := drawPace(s, t, algorithm, scope)
	spacing := (q.Per + cellWidth(q)) / time.Duration(q.Limit)
	spacing = (spacing + time.Microsecond - time.Nanosecond).Truncate(time.Microsecond)
	for i := range 2*q.Limit + 10 {
		require.True(t, s.takeOne(q).Allowed, "request %d of %+v, %v apart", i, q, spacing)
		s.clock.Advance(spacing)
	}
}

// wholeLimit checks that a client that retries at RetryAfter gets limit units in every
// period.
func wholeLimit(s *subject, t *rapid.T, algorithm backends.Algorithm, scope string) {
	const periods = 2
	q := drawPace(s, t, algorithm, scope)
	end := periods * (q.Per + cellWidth(q))
	granted := int64(0)
	for now := time.Duration(0); now < end; {
		v := s.takeOne(q)
		if v.Allowed {
			granted++
			continue
		}
		s.clock.Advance(v.RetryAfter)
		now += v.RetryAfter
	}
	require.GreaterOrEqual(t, granted, periods*q.Limit, "%+v", q)
}

// clockRunsBack checks that at an earlier time no more is admitted than if the clock had
// stood still, and that everything works again once the clock has caught up.
func clockRunsBack(s *subject, t *rapid.T, algorithm backends.Algorithm, scope string) {
	q := drawQuota(t, algorithm, scope)
	q.Per = 30 * 24 * time.Hour // so that nothing expires
	var events []event
	now, latest := time.Duration(0), time.Duration(0) // latest among the granted requests
	move := func(d time.Duration) {
		s.clock.Advance(d)
		now += d
	}
	for range rapid.IntRange(1, 40).Draw(t, "requests") {
		move(drawPause(t, q) * time.Duration(rapid.SampledFrom([]int{1, 1, -1}).Draw(t, "direction")))
		q.Cost = drawCost(t, q, q.Capacity())
		v := s.takeOne(q)
		if !v.Allowed {
			require.Positive(t, v.RetryAfter)
			continue
		}
		latest = max(latest, now)
		if len(events) == 0 {
			latest = now
		}
		events = append(events, event{latest, q.Cost})
		admitted := int64(0)
		for _, e := range events {
			if e.at > latest-q.Per {
				admitted += e.units
			}
		}
		require.LessOrEqual(t, admitted, bound(q), "a window of %+v", q)
	}
	peek := costing(q, 0)
	move(s.takeOne(peek).ResetAfter)
	require.Equal(t, backends.Verdict{Allowed: true, Remaining: q.Capacity()}, s.takeOne(peek), "at ResetAfter of %+v", q)
}

func removeNewest(events []event, units int64) []event {
	for units > 0 && len(events) > 0 {
		last := &events[len(events)-1]
		back := min(units, last.units)
		last.units -= back
		units -= back
		if last.units == 0 {
			events = events[:len(events)-1]
		}
	}
	return events
}

func timePaysBack(s *subject, algorithm backends.Algorithm) {
	q := daily(algorithm, 4)
	q.Per = time.Second
	forced := costing(q, 6)
	forced.Forced = true
	v := s.takeOne(forced)
	require.Zero(s, v.Remaining)
	s.clock.Advance(v.ResetAfter)
	require.EqualValues(s, 4, s.takeOne(costing(q, 0)).Remaining)
}
