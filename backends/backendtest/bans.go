package backendtest

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
)

// banning is a ban for two days on the key and scope of a quota.
func banning(q backends.Quota, after int64) backends.Quota {
	return backends.Quota{Key: q.Key, Scope: q.Scope, Limit: after, Per: 24 * time.Hour, Ban: 48 * time.Hour, Cost: 1}
}

func bans(s *subject, algorithm backends.Algorithm) {
	limit := daily(algorithm, 1)
	ban := banning(limit, 3)
	v := s.take(limit, ban)
	require.Equal(s, backends.Verdict{Allowed: true, Remaining: 3}, v[1], "nobody was rejected")
	for left := int64(2); left > 0; left-- {
		v = s.take(ban, limit) // in any order
		require.False(s, v[1].Allowed)
		require.True(s, v[0].Allowed)
		require.Equal(s, left, v[0].Remaining, "rejections until the ban")
	}
	look := costing(ban, 0)
	for range 3 {
		require.EqualValues(s, 1, s.take(limit, look)[1].Remaining, "who only looks counts nothing")
		require.EqualValues(s, 1, s.takeOne(ban).Remaining, "nothing is denied, and nothing counts")
	}
	v = s.take(limit, ban)
	require.False(s, v[1].Allowed, "with the rejection that makes the ban")
	require.Zero(s, v[1].Remaining)
	require.Greater(s, v[1].RetryAfter, 47*time.Hour)
	require.Equal(s, v[1].ResetAfter, v[1].RetryAfter)

	other := scoped(daily(algorithm, 9), "unused")
	v = s.take(other, ban)
	require.False(s, v[1].Allowed)
	require.EqualValues(s, 9, v[0].Remaining, "who is banned takes nothing")
	require.EqualValues(s, 9, s.takeOne(costing(other, 0)).Remaining)
	require.False(s, s.takeOne(look).Allowed)

	require.NoError(s, s.backend.Reset(s.Context(), limit.Key, limit.Scope))
	v = s.take(limit, ban)
	require.True(s, v[0].Allowed)
	require.Equal(s, backends.Verdict{Allowed: true, Remaining: 3}, v[1], "reset lifts it")
}

func bansApart(s *subject, algorithm backends.Algorithm) {
	mine, everyones := daily(algorithm, 5), scoped(daily(algorithm, 1), "everyone")
	ban := banning(mine, 1)
	s.takeOne(everyones)
	require.True(s, s.take(mine, everyones, ban)[2].Allowed, "another scope denied")
	shadow := daily(algorithm, 0)
	shadow.Shadow = true
	require.True(s, s.take(mine, shadow, ban)[2].Allowed, "a shadow denies nothing")
	hourly := banning(mine, 2)
	hourly.Per = time.Hour
	v := s.take(costing(mine, 6), hourly, ban)
	require.Equal(s, []bool{false, true, false}, []bool{v[0].Allowed, v[1].Allowed, v[2].Allowed}, "periods have counts of their own")
	require.EqualValues(s, 1, v[1].Remaining)
	log := mine
	log.Algorithm, log.Per = backends.SlidingLog, 24*time.Hour
	require.Positive(s, s.takeOne(costing(log, 0)).Remaining, "no log of the same period is a count of rejections")
	require.EqualValues(s, 1, s.takeOne(banning(scoped(mine, "another"), 1)).Remaining)
}

// bansTogether has two bans that share their count, in one Take.
func bansTogether(s *subject, algorithm backends.Algorithm) {
	limit := daily(algorithm, 0)
	early, late := banning(limit, 4), banning(limit, 9)
	for _, want := range [][]int64{{3, 7}, {1, 5}} {
		v := s.take(limit, early, late)
		require.Equal(s, want, []int64{v[1].Remaining, v[2].Remaining}, "each counts the denial after the other")
		require.Equal(s, want[1], s.takeOne(costing(late, 0)).Remaining)
	}
	v := s.take(limit, early, late)
	require.Equal(s, []bool{false, false}, []bool{v[1].Allowed, v[2].Allowed}, "a ban of one is a ban of both")
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
	require.Equal(s, 10*time.Second, v[1].RetryAfter, "the first rejection is a minute old")
	s.clock.Advance(5 * time.Second)
	require.Equal(s, 5*time.Second, s.take(costing(limit, 2), ban)[1].RetryAfter, "it grows no longer")
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
