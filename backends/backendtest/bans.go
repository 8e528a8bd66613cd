package backendtest

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
)

// banning returns a ban of two days on the key and scope of a quota.
func banning(q backends.Quota, after int64) backends.Quota {
	return backends.Quota{Key: q.Key, Scope: q.Scope, Limit: after, Per: 24 * time.Hour, Ban: 48 * time.Hour, Cost: 1}
}

func bans(s *subject, algorithm backends.Algorithm) {
	limit := daily(algorithm, 1)
	ban := banning(limit, 3)
	v := s.take(limit, ban)
	require.Equal(s, backends.Verdict{Allowed: true, Remaining: 3}, v[1], "no rejections yet")
	for remaining := int64(2); remaining > 0; remaining-- {
		v = s.take(ban, limit) // the order does not matter
		require.False(s, v[1].Allowed)
		require.True(s, v[0].Allowed)
		require.Equal(s, remaining, v[0].Remaining, "rejections left until the ban")
	}
	peek := costing(ban, 0)
	for range 3 {
		require.EqualValues(s, 1, s.take(limit, peek)[1].Remaining, "a peek counts nothing")
		require.EqualValues(s, 1, s.takeOne(ban).Remaining, "without a denial nothing counts")
	}
	v = s.take(limit, ban)
	require.False(s, v[1].Allowed, "the rejection that starts the ban is denied by it")
	require.Zero(s, v[1].Remaining)
	require.Greater(s, v[1].RetryAfter, 47*time.Hour)
	require.Equal(s, v[1].ResetAfter, v[1].RetryAfter)

	other := scoped(daily(algorithm, 9), "unused")
	v = s.take(other, ban)
	require.False(s, v[1].Allowed)
	require.EqualValues(s, 9, v[0].Remaining, "a banned client takes no units")
	require.EqualValues(s, 9, s.takeOne(costing(other, 0)).Remaining)
	require.False(s, s.takeOne(peek).Allowed)

	require.NoError(s, s.backend.Reset(s.Context(), limit.Key, limit.Scope))
	v = s.take(limit, ban)
	require.True(s, v[0].Allowed)
	require.Equal(s, backends.Verdict{Allowed: true, Remaining: 3}, v[1], "a reset ends the ban")
}

func bansApart(s *subject, algorithm backends.Algorithm) {
	own, shared := daily(algorithm, 5), scoped(daily(algorithm, 1), "everyone")
	ban := banning(own, 1)
	s.takeOne(shared)
	require.True(s, s.take(own, shared, ban)[2].Allowed, "the denial was on another scope")
	shadow := daily(algorithm, 0)
	shadow.Shadow = true
	require.True(s, s.take(own, shadow, ban)[2].Allowed, "a shadow does not count")
	v := s.take(own, shadow, costing(shared, 1), ban)
	require.Equal(s, []bool{false, false, true}, []bool{v[1].Allowed, v[2].Allowed, v[3].Allowed}, "nor with a denial elsewhere")
	hourly := banning(own, 2)
	hourly.Per = time.Hour
	v = s.take(costing(own, 6), hourly, ban)
	require.Equal(s, []bool{false, true, false}, []bool{v[0].Allowed, v[1].Allowed, v[2].Allowed}, "each period has a counter of its own")
	require.EqualValues(s, 1, v[1].Remaining)
	v = s.take(own, hourly, ban)
	require.Equal(s, []bool{true, true, false}, []bool{v[0].Allowed, v[1].Allowed, v[2].Allowed})
	require.EqualValues(s, 1, v[1].Remaining, "a denial by a ban does not count for another")
	log := own
	log.Algorithm, log.Per = backends.SlidingLog, 24*time.Hour
	require.Positive(s, s.takeOne(costing(log, 0)).Remaining, "a sliding log with the same period is another counter")
	require.EqualValues(s, 1, s.takeOne(banning(scoped(own, "another"), 1)).Remaining)
}

// bansTogether takes two bans with a shared counter in one Take.
func bansTogether(s *subject, algorithm backends.Algorithm) {
	limit := daily(algorithm, 0)
	early, late := banning(limit, 4), banning(limit, 9)
	for _, want := range [][]int64{{3, 7}, {1, 5}} {
		v := s.take(limit, early, late)
		require.Equal(s, want, []int64{v[1].Remaining, v[2].Remaining}, "both count the denial in the shared counter")
		require.Equal(s, want[1], s.takeOne(costing(late, 0)).Remaining)
	}
	v := s.take(limit, early, late)
	require.Equal(s, []bool{false, false}, []bool{v[1].Allowed, v[2].Allowed}, "they share the ban")
}

func banEnds(s *subject, algorithm backends.Algorithm) {
	limit := daily(algorithm, 1)
	limit.Per = time.Second
	ban := banning(limit, 2)
	ban.Per, ban.Ban = time.Minute, 10*time.Second
	s.take(limit, ban)
	s.take(limit, ban)
	s.clock.Advance(time.Minute)
	s.take(costing(limit, 2), ban)
	v := s.take(costing(limit, 2), ban)
	require.Equal(s, 10*time.Second, v[1].RetryAfter, "the first rejections have expired")
	s.clock.Advance(5 * time.Second)
	require.Equal(s, 5*time.Second, s.take(costing(limit, 2), ban)[1].RetryAfter, "a ban is not extended")
	s.clock.Advance(5*time.Second - time.Microsecond)
	require.False(s, s.take(limit, ban)[1].Allowed)
	s.clock.Advance(time.Microsecond)
	require.Equal(s, backends.Verdict{Allowed: true, Remaining: 2}, s.take(limit, ban)[1])
}

func banUnderConcurrency(s *subject, algorithm backends.Algorithm) {
	limit := daily(algorithm, 0)
	ban := banning(limit, 50)
	var free atomic.Int64
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			verdicts := make([]backends.Verdict, 2)
			for range 10 {
				if err := s.backend.Take(s.Context(), []backends.Quota{limit, ban}, verdicts); err != nil {
					s.Error(err)
					return
				}
				if verdicts[1].Allowed {
					free.Add(1)
				}
			}
		})
	}
	group.Wait()
	require.EqualValues(s, 49, free.Load())
}
