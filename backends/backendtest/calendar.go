package backendtest

import (
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
)

// calendars are zones with different midnights, neither of them that of UTC. They need no
// time zone database.
var calendars = []*time.Location{time.FixedZone("UTC+5", 5*3600), time.FixedZone("a zone; with=a, strange name s60000=", -7*3600)}

func daysOf(zone *time.Location, cost int64) backends.Quota {
	return backends.Quota{Key: "key", Scope: "calendar", Algorithm: backends.FixedWindow, Limit: 4, Per: 24 * time.Hour, Calendar: zone, Cost: cost}
}

// calendarsApart checks that zones have counters of their own, apart from the one without a
// calendar.
func calendarsApart(s *subject) {
	a, b, plain := daysOf(calendars[0], 4), daysOf(calendars[1], 3), daysOf(nil, 2)
	for i, v := range s.take(a, b, plain) {
		require.True(s, v.Allowed)
		require.Equal(s, int64(i), v.Remaining)
	}
	full := s.take(costing(a, 0), costing(b, 0), costing(plain, 0))
	distance := (full[1].ResetAfter - full[0].ResetAfter).Abs().Round(time.Minute)
	require.Equal(s, 12*time.Hour, distance, "between the midnights of the two zones")
	denied := s.take(a, b)
	require.False(s, denied[0].Allowed)
	require.Equal(s, []int64{0, 1}, []int64{denied[0].Remaining, denied[1].Remaining})
	require.True(s, s.takeOne(costing(a, -1)).Allowed)
	require.Equal(s, int64(1), s.takeOne(costing(a, 0)).Remaining)
	require.Equal(s, int64(1), s.takeOne(costing(b, 0)).Remaining)
	require.Equal(s, int64(2), s.takeOne(costing(plain, 0)).Remaining)
	forced := costing(a, 5)
	forced.Forced = true
	require.True(s, s.takeOne(forced).Allowed)
	require.False(s, s.takeOne(costing(a, 1)).Allowed)
	require.NoError(s, s.backend.Reset(s.Context(), "key", "calendar"))
	require.Equal(s, int64(4), s.takeOne(costing(a, 0)).Remaining)
}

// calendarEnds checks that a window denies exactly until its end.
func calendarEnds(s *subject) {
	for _, zone := range calendars {
		q := daysOf(zone, 4)
		q.Tentative = true
		first := s.takeOne(q)
		require.True(s, first.Allowed)
		for range 2 {
			s.clock.Advance(first.ResetAfter - time.Microsecond)
			v := s.takeOne(q)
			require.False(s, v.Allowed)
			require.Equal(s, time.Microsecond, v.RetryAfter)
			s.clock.Advance(time.Microsecond)
			v = s.takeOne(q)
			require.True(s, v.Allowed)
			require.Equal(s, 24*time.Hour, v.ResetAfter, "a whole day")
			refund := costing(q, -4)
			refund.Receipt = first.Receipt
			require.Zero(s, s.takeOne(refund).Remaining, "a past day has no units to refund")
			refund.Receipt = v.Receipt
			require.Equal(s, int64(4), s.takeOne(refund).Remaining)
			first = s.takeOne(q)
		}
	}
}
