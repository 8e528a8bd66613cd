package backends_test

import (
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/backends/backendtest"
	"github.com/gin-ratelimiter/ratelimiter/internal/redistest"
	"github.com/stretchr/testify/require"
)

func TestMemoryIsABackend(t *testing.T) {
	backendtest.Run(t, func(t *testing.T) backends.Backend {
		backend, err := backends.NewMemory(nil)
		require.NoError(t, err)
		return backend
	})
}

// handClock is a clock set by the test.
type handClock struct{ now time.Time }

func (c *handClock) Advance(d time.Duration) { c.now = c.now.Add(d) }

func TestMemoryIsABackendOnAClockThatRunsBackwards(t *testing.T) {
	backendtest.RunWithClock(t, func(*testing.T) (backends.Backend, backendtest.Clock) {
		clock := &handClock{time.Date(2026, 2, 3, 4, 5, 6, 789_000, time.UTC)}
		return backends.NewMemoryOnClock(func() int64 { return clock.now.UnixMicro() }), clock
	})
}

// miniClock is the clock of a miniredis.
type miniClock struct {
	server      *miniredis.Miniredis
	now, latest time.Time
}

func (c *miniClock) Advance(d time.Duration) {
	c.now = c.now.Add(d)
	c.server.SetTime(c.now)
	if c.now.After(c.latest) {
		c.server.FastForward(c.now.Sub(c.latest)) // removes expired keys
		c.latest = c.now
	}
}

func TestRedisIsABackend(t *testing.T) {
	backendtest.RunWithClock(t, func(t *testing.T) (backends.Backend, backendtest.Clock) {
		start := time.Date(2026, 2, 3, 4, 5, 6, 789_000, time.UTC)
		clock := &miniClock{miniredis.RunT(t), start, start}
		clock.Advance(0)
		backend, err := backends.NewRedis(map[string]any{"addr": clock.server.Addr(), "local_denials": false}) // the local clock differs
		require.NoError(t, err)
		return backend, clock
	})
}

// On a Cluster, keys may be on different nodes and are charged one by one.
func TestRedisIsABackendThatChargesKeyByKey(t *testing.T) {
	backendtest.RunWithClock(t, func(t *testing.T) (backends.Backend, backendtest.Clock) {
		clock := &handClock{time.Date(2026, 2, 3, 4, 5, 6, 789_000, time.UTC)}
		return backends.NewFakeCluster(t, func() time.Time { return clock.now }), clock
	})
}

func TestARealRedisIsABackend(t *testing.T) {
	server := redistest.Single(t)
	client := server.Client()
	backendtest.RunWithClock(t, func(t *testing.T) (backends.Backend, backendtest.Clock) {
		require.NoError(t, client.FlushAll(t.Context()).Err())
		backend, err := backends.NewRedis(map[string]any{"addr": server.Addr})
		require.NoError(t, err)
		return backend, nil
	})
}

func TestTheFallbackIsABackendWithEitherPart(t *testing.T) {
	t.Run("primary", func(t *testing.T) {
		backendtest.Run(t, func(t *testing.T) backends.Backend {
			return backends.NewFallback(memory(t), memory(t))
		})
	})
	t.Run("local", func(t *testing.T) {
		backendtest.Run(t, func(t *testing.T) backends.Backend {
			return backends.NewFallback(&failing{Backend: memory(t)}, memory(t))
		})
	})
}

func TestABreakerAndAnUnscaledBackendAreBackends(t *testing.T) {
	t.Run("breaker", func(t *testing.T) {
		backendtest.Run(t, func(t *testing.T) backends.Backend {
			return backends.NewBreaker(memory(t), time.Minute, "probe key")
		})
	})
	t.Run("share", func(t *testing.T) {
		backendtest.Run(t, func(t *testing.T) backends.Backend { return backends.NewScaled(memory(t), 1) })
	})
}

func memory(t *testing.T) backends.Backend {
	backend, err := backends.NewMemory(nil)
	require.NoError(t, err)
	return backend
}
