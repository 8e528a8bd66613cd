package backends_test

import (
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func monthly(limit int64) backends.Quota {
	return backends.Quota{
		Key: "k", Scope: "s", Algorithm: backends.FixedWindow, Limit: limit, Per: 30 * 24 * time.Hour, Calendar: time.UTC, Cost: 1,
	}
}

func TestAnInvalidCalendarIsAnError(t *testing.T) {
	for _, change := range []func(q *backends.Quota){
		func(q *backends.Quota) { q.Algorithm = backends.SlidingWindow },
		func(q *backends.Quota) { q.Per = time.Hour },
		func(q *backends.Quota) { q.Per = 31 * 24 * time.Hour },
		func(q *backends.Quota) { q.Ban = time.Hour },
	} {
		q := monthly(5)
		require.NoError(t, q.Prepare())
		change(&q)
		require.ErrorIs(t, memory(t).Take(t.Context(), []backends.Quota{q}, make([]backends.Verdict, 1)), backends.ErrInvalidQuota)
	}
}

func TestCalendarLimitsAreNotLeased(t *testing.T) {
	addr := miniredis.RunT(t).Addr()
	one, other := open(t, leasing(addr, 10)), open(t, at(addr))
	require.True(t, take(t, one, monthly(1000))[0].Allowed)
	require.EqualValues(t, 998, take(t, other, monthly(1000))[0].Remaining)
}

func TestADenialByACalendarIsCachedUntilItsWindowEnds(t *testing.T) {
	server := miniredis.RunT(t)
	server.SetTime(time.Date(2026, 1, 31, 23, 0, 0, 0, time.UTC))
	backend := open(t, at(server.Addr()))
	require.True(t, take(t, backend, monthly(1))[0].Allowed)
	require.False(t, take(t, backend, monthly(1))[0].Allowed)
	denied := take(t, backend, monthly(1))[0]
	require.False(t, denied.Allowed)
	require.InDelta(t, time.Hour, denied.RetryAfter, float64(time.Minute))
	count, _ := backends.CachedDenials(backend)
	require.EqualValues(t, 1, count)
}

// The windows before and after the current one are sent as well, because the clocks of a
// server and an application differ.
func TestAServerInTheNextOrPreviousDayDecidesInOneRoundTrip(t *testing.T) {
	for days, trips := range map[int]int64{-2: 2, -1: 1, 0: 1, 1: 1, 2: 2} {
		server := miniredis.RunT(t)
		server.SetTime(time.Now().AddDate(0, 0, days))
		client := redis.NewClient(&redis.Options{Addr: server.Addr()})
		t.Cleanup(func() { _ = client.Close() })
		backend := open(t, map[string]any{"client": client})
		daily := monthly(5)
		daily.Per = 24 * time.Hour
		take(t, backend, daily) // loads the script
		hook := &counting{}
		client.AddHook(hook)
		daily.Scope = "another"
		require.EqualValues(t, 4, take(t, backend, daily)[0].Remaining)
		require.Equal(t, trips, hook.commands.Load(), "%d days later", days)
	}
}
