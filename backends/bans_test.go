package backends

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// banning returns a limit of two an hour, and a ban of a day after three rejections.
func banning(key string) (limit, ban Quota) {
	limit = Quota{Key: key, Scope: "s", Limit: 2, Per: time.Hour, Cost: 1, Tentative: true}
	return limit, Quota{Key: key, Scope: "s", Limit: 3, Per: time.Hour, Ban: 24 * time.Hour, Cost: 1}
}

func TestRejectionsAreCountedInRedisAndABanIsCached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newFakeRedis()
		here, there := p.backend(t), p.backend(t)
		limit, ban := banning("k")
		for n, backend := range []Backend{here, there, here, there, here} {
			trips, verdicts := p.takeCounted(t, backend, limit, ban)
			require.EqualValues(t, 1, trips, "Redis counts each rejection")
			require.Equal(t, n < 2, verdicts[0].Allowed)
			require.Equal(t, n < 4, verdicts[1].Allowed)
		}
		trips, _ := p.takeCounted(t, there, limit, ban)
		require.EqualValues(t, 1, trips, "the ban is not cached yet")
		for _, backend := range []Backend{here, there} {
			trips, verdicts := p.takeCounted(t, backend, limit, ban)
			require.Zero(t, trips, "a cached ban denies even a tentative quota")
			require.Equal(t, p.truth(t, limit, ban), verdicts)
		}
		require.NoError(t, here.Reset(t.Context(), "k", "s"))
		trips, verdicts := p.takeCounted(t, here, limit, ban)
		require.EqualValues(t, 1, trips)
		require.True(t, verdicts[0].Allowed && verdicts[1].Allowed)
		elapse(denialTTL)
		_, verdicts = p.takeCounted(t, there, limit, ban)
		require.True(t, verdicts[0].Allowed && verdicts[1].Allowed, "the other process uses its cached denial for this long")
	})
}

// Several processes that cache denials ban exactly the clients that one without a cache
// bans.
func TestCachedDenialsDoNotChangeWhenABanBegins(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		inBubble(t, func(t *testing.T) {
			p := newFakeRedis()
			var backends [2]*redisBackend
			for i := range backends {
				backends[i] = p.backend(t)
			}
			limit, ban := banning("k")
			limit.Algorithm = Algorithm(rapid.IntRange(0, int(algorithmCount)-1).Draw(rt, "algorithm"))
			limit.Tentative = rapid.Bool().Draw(rt, "tentative")
			limit.Per = rapid.SampledFrom([]time.Duration{time.Second, time.Hour}).Draw(rt, "per")
			ban.Per = rapid.SampledFrom([]time.Duration{time.Second, time.Hour}).Draw(rt, "rejections within")
			ban.Ban = rapid.SampledFrom([]time.Duration{100 * time.Millisecond, 5 * time.Second, time.Hour}).Draw(rt, "ban")
			for range rapid.IntRange(1, 40).Draw(rt, "takes") {
				elapse(rapid.SampledFrom([]time.Duration{0, time.Microsecond, 99 * time.Millisecond, time.Second, 4 * time.Second}).Draw(rt, "pause"))
				quotas := []Quota{limit, ban}
				quotas[0].Cost = rapid.SampledFrom([]int64{0, 1, 1, 2, 3}).Draw(rt, "cost")
				want := p.truth(rt, quotas...)
				_, verdicts := p.takeCounted(rt, backends[rapid.IntRange(0, 1).Draw(rt, "process")], quotas...)
				for i := range want {
					want[i].Receipt, verdicts[i].Receipt = 0, 0
				}
				require.Equal(rt, want[1], verdicts[1])
				require.Equal(rt, want[0].Allowed, verdicts[0].Allowed)
			}
		})
	})
}

// inBubble passes on the panics with which rapid ends a run.
func inBubble(t *testing.T, test func(t *testing.T)) {
	var panicked any
	synctest.Test(t, func(t *testing.T) {
		defer func() { panicked = recover() }()
		test(t)
	})
	if panicked != nil {
		panic(panicked)
	}
}

func TestAFullMemoryBansNoClientForTheRejectionsOfAnother(t *testing.T) {
	now := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC).UnixMicro()
	m := newMemoryOn(64, func() int64 { return now })
	_, ban := banning("login")
	reject := func(client string, times int) Verdict {
		limit := Quota{Key: "login", Scope: client, Per: time.Hour, Cost: 1}
		verdicts := make([]Verdict, 2)
		ban.Scope = client
		for range times {
			require.NoError(t, m.Take(t.Context(), []Quota{limit, ban}, verdicts))
			require.False(t, verdicts[0].Allowed)
		}
		return verdicts[1]
	}
	for i := range 1000 {
		require.True(t, reject(fmt.Sprint("twice", i), 2).Allowed, "two rejections of its own do not ban a client, whatever others did")
	}
	var banned []string
	for i := range 1000 {
		client := fmt.Sprint("often", i)
		if !reject(client, 5).Allowed {
			banned = append(banned, client)
		}
	}
	require.Greater(t, len(banned), 32, "until the table is full")
	for i := range 1000 {
		require.True(t, reject(fmt.Sprint("late", i), 2).Allowed)
	}
	for _, client := range banned {
		require.False(t, reject(client, 1).Allowed, "and none of them is evicted")
	}
	stats, _ := Stats(m)
	require.Greater(t, stats.Evictions, uint64(500), "the evictions are reported")
}

func TestAFullMemoryKeepsABanAfterTheFirstRejection(t *testing.T) {
	m := newMemoryOn(64, func() int64 { return 1 << 50 })
	limit, ban := banning("login")
	limit.Limit, ban.Limit = 0, 1
	reject := func(client string) (banned bool) {
		limit.Scope, ban.Scope = client, client
		verdicts := make([]Verdict, 2)
		require.NoError(t, m.Take(t.Context(), []Quota{limit, ban}, verdicts))
		return !verdicts[1].Allowed
	}
	var banned []string
	for i := range 1000 {
		if client := fmt.Sprint("client", i); reject(client) {
			banned = append(banned, client)
		}
	}
	require.Greater(t, len(banned), 32)
	require.Less(t, len(banned), 1000, "the table is full")
	for _, client := range banned {
		ban.Scope = client
		verdicts := make([]Verdict, 1)
		require.NoError(t, m.Take(t.Context(), []Quota{ban}, verdicts))
		require.False(t, verdicts[0].Allowed)
	}
}

func TestNewScaledDoesNotScaleTheRejectionsOfABan(t *testing.T) {
	memory, err := NewMemory(nil)
	require.NoError(t, err)
	backend := NewScaled(memory, 0.1)
	limit, ban := banning("k")
	verdicts := make([]Verdict, 2)
	for n := range 4 {
		require.NoError(t, backend.Take(t.Context(), []Quota{limit, ban}, verdicts))
		require.Equal(t, n < 3, verdicts[1].Allowed, "the limit is scaled to one, but the three rejections are not")
	}
}
