package backends

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// twoClocks returns a memory backend whose steady and wall clocks are set by the test.
func twoClocks() (m *Memory, steady, wall *int64) {
	steady, wall = new(int64), new(int64)
	*steady = time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC).UnixMicro()
	*wall = *steady
	m = newMemory(1000)
	m.clock.steady = func() int64 { return *steady }
	m.clock.readBoth = func() (int64, int64) { return *steady, *wall }
	return m, steady, wall
}

func TestTheTimeOfADecisionFollowsChangesOfTheWallClock(t *testing.T) {
	m, steady, wall := twoClocks()
	q := Quota{Key: "key", Limit: 2, Per: time.Minute, Cost: 1}
	take := func() (at int64, v Verdict) {
		at, err := m.TakeOne(&q, "scope", &v)
		require.NoError(t, err)
		all := q
		all.Scope, all.Cost = "scope", 0
		also, err := m.TakeAll([]Quota{all}, make([]Verdict, 1))
		require.NoError(t, err)
		require.Equal(t, at, also)
		return at, v
	}
	at, _ := take()
	require.Equal(t, *wall, at)

	for _, step := range []time.Duration{-3 * time.Hour, 40 * time.Minute} {
		*wall += step.Microseconds()
		*steady += time.Second.Microseconds()
		*wall += time.Second.Microseconds()
		at, _ = take()
		require.Equal(t, *wall, at, "after a step of %v", step)
	}
	at, v := take()
	require.Equal(t, *wall, at)
	require.False(t, v.Allowed, "the windows have not moved")
	require.Equal(t, 49*time.Second+30*time.Second, v.ResetAfter)
}

func TestTheTimeOfADecisionIsThatOfTheSystem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(1)
		q := Quota{Key: "key", Limit: 2, Per: time.Minute, Cost: 1}
		for range 3 {
			var v Verdict
			at, err := m.TakeOne(&q, "scope", &v)
			require.NoError(t, err)
			require.Equal(t, time.Now().UnixMicro(), at)
			elapse(3 * time.Hour)
		}
	})
}

func TestAStepOfTheWallClockIsNoticedWithinASecond(t *testing.T) {
	m, steady, wall := twoClocks()
	measured := 0
	both := m.clock.readBoth
	m.clock.readBoth = func() (int64, int64) { measured++; return both() }
	require.Equal(t, *wall, m.clock.wall(*steady))
	*wall += 5_000_000
	for range 1000 {
		*steady += 1000
		*wall += 1000
		m.clock.wall(*steady)
	}
	require.Equal(t, *wall, m.clock.wall(*steady))
	require.Equal(t, 2, measured, "once a second")
}

// A goroutine that is delayed between reading the clock and locking decides at the later
// time.
func TestADecisionIsNeverOlderThanThePreviousOne(t *testing.T) {
	m, steady, _ := twoClocks()
	q := Quota{Key: "key", Algorithm: TokenBucket, Limit: 1, Per: time.Second, Cost: 1}
	var v Verdict
	_, err := m.TakeOne(&q, "scope", &v)
	require.NoError(t, err)
	*steady += 1_000_000
	times := []int64{*steady - 1_000_001, *steady} // the first reading is older than the last decision
	m.clock.steady = func() int64 { now := times[0]; times = times[1:]; return now }
	_, err = m.TakeOne(&q, "scope", &v)
	require.NoError(t, err)
	require.True(t, v.Allowed)
	require.Empty(t, times)
}

func TestAShardFillsACacheLine(t *testing.T) {
	require.EqualValues(t, 64, unsafe.Sizeof(shard{}))
	require.EqualValues(t, 128, unsafe.Sizeof(node{}))
	require.EqualValues(t, 64, unsafe.Sizeof(prepared{}))
}

// A decision on several shards takes the latest time of all of them. Otherwise a delayed
// decision could be made at an earlier time than the previous one on the same shard.
func TestADecisionOnSeveralShardsUsesTheLatestTime(t *testing.T) {
	times := []int64{100, 90, 110} // in seconds; the second Take is delayed
	m := newMemoryOn(1<<16, func() int64 {
		now := times[0]
		if len(times) > 1 {
			times = times[1:]
		}
		return now * 1_000_000
	})
	quota := func(key string) Quota { return Quota{Key: key, Scope: "s", Limit: 5, Per: time.Minute, Cost: 1} }
	shardOf := func(key string) int { return m.shard(mixHashes(hashText(key), hashText("s"))) }
	first, last := "a", "a"
	for n := 0; shardOf(first) == shardOf(last); n++ {
		last = strconv.Itoa(n)
	}
	if shardOf(first) > shardOf(last) { // the seed of the hash differs in each process
		first, last = last, first
	}
	verdicts := make([]Verdict, 2)
	require.NoError(t, m.Take(t.Context(), []Quota{quota(last)}, verdicts))
	require.NoError(t, m.Take(t.Context(), []Quota{quota(first), quota(last)}, verdicts))
	require.EqualValues(t, 110_000_000, m.shards[shardOf(last)].latest)
	require.EqualValues(t, 110_000_000, m.shards[shardOf(first)].latest)
}
