package ratelimiter_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// repairable is a backend that does not answer until it is repaired.
type repairable struct {
	broken
	repaired atomic.Bool
}

func newRepairable() *repairable { return &repairable{broken: broken{errors.New("out of order")}} }

func (b *repairable) Take(ctx context.Context, quotas []backends.Quota, verdicts []backends.Verdict) error {
	if !b.repaired.Load() {
		return b.broken.Take(ctx, quotas, verdicts)
	}
	for i := range quotas {
		verdicts[i] = backends.Verdict{Allowed: true}
	}
	return nil
}

func TestAfterFiveFailuresRequestsDoNotWaitForTheBackend(t *testing.T) {
	for policy, during := range map[string][]int{"fallback": {200, 429, 429}, "allow": {200, 200, 200}, "deny": {503, 503, 503}} {
		t.Run(policy, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				backend := &repairable{} // every call times out
				engine, limiter := application(t, ratelimiter.Config{
					"RATELIMITER_BACKEND": backend, "RATELIMITER_ON_ERROR": policy, "RATELIMITER_TIMEOUT": "70ms",
				})
				engine.GET("/", limiter.RateLimit(6, time.Hour), ok)
				start := time.Now()
				statuses(engine, "/", 5)
				require.Equal(t, 5*70*time.Millisecond, time.Since(start))
				require.Equal(t, during, statuses(engine, "/", 3))
				require.Equal(t, 5*70*time.Millisecond, time.Since(start), "and at once")

				health := limiter.Health()
				require.True(t, health.Open)
				require.Equal(t, time.Now(), health.Since)
				require.Error(t, health.Err)
				if policy == "deny" {
					response := get(engine, "/")
					require.Equal(t, "1", header(response, "Retry-After"))
					require.Equal(t, http.StatusServiceUnavailable, response.Code)
				}

				backend.repaired.Store(true)
				pass(500*time.Millisecond + 70*time.Millisecond)
				synctest.Wait()
				require.False(t, limiter.Health().Open)
				require.Equal(t, []int{200, 200, 200}, statuses(engine, "/", 3))
			})
		})
	}
}

func TestTheErrorOfA503ContainsTheLastFailureOfTheBackend(t *testing.T) {
	engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_BACKEND": newRepairable(), "RATELIMITER_ON_ERROR": "deny"})
	var reasons []error
	engine.Use(func(c *gin.Context) { c.Next(); reasons = append(reasons, c.Errors.Last().Err) })
	engine.GET("/", limiter.RateLimit(6, time.Hour), ok)
	statuses(engine, "/", 6)
	require.NotErrorIs(t, reasons[4], backends.ErrBreakerOpen)
	require.ErrorIs(t, reasons[5], backends.ErrBreakerOpen)
	require.ErrorContains(t, reasons[5], "out of order")
}

func TestAMemoryBackendIsAlwaysHealthy(t *testing.T) {
	var uninitialised ratelimiter.RateLimiter
	require.Zero(t, uninitialised.Health())
	_, limiter := application(t, nil)
	require.Zero(t, limiter.Health())
}

func TestCloseEndsTheProbesOfABackendThatWasPassedIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // fails if a goroutine is left
		engine := gin.New()
		limiter, err := ratelimiter.New(engine, ratelimiter.Config{"RATELIMITER_BACKEND": newRepairable()})
		require.NoError(t, err)
		engine.GET("/", limiter.RateLimit(6, time.Hour), ok)
		statuses(engine, "/", 6)
		require.True(t, limiter.Health().Open)
		require.NoError(t, limiter.Close())
	})
}

// The permissions are those that the documentation and the tests of the backend name.
func TestAProbeNeedsNoExtraPermissionsAndLeavesNoKeys(t *testing.T) {
	server := redistest.Single(t, "--user", "limiter", "on", ">pa55", "~rate_limit/*", "-@all",
		"+hello", "+auth", "+eval", "+evalsha", "+time", "+get", "+set", "+del")
	engine, limiter := application(t, ratelimiter.Config{
		"RATELIMITER_BACKEND":         "redis",
		"RATELIMITER_BACKEND_OPTIONS": map[string]any{"addr": server.Addr, "username": "limiter", "password": "pa55"},
		"RATELIMITER_TIMEOUT":         "200ms",
	})
	engine.GET("/", limiter.RateLimit(100, time.Hour), ok)
	admin := server.Client()
	require.NoError(t, admin.ConfigSet(t.Context(), "notify-keyspace-events", "K$").Err())
	writes := admin.PSubscribe(t.Context(), "__keyspace@0__:rate_limit/breaker:*")
	t.Cleanup(func() { _ = writes.Close() })
	_, err := writes.Receive(t.Context())
	require.NoError(t, err, "subscribed")
	server.Pause()
	statuses(engine, "/", 6)
	require.True(t, limiter.Health().Open)
	server.Continue()
	_, err = writes.ReceiveTimeout(t.Context(), time.Minute)
	require.NoError(t, err, "a probe has written; its key may live for a millisecond")
	redistest.Eventually(t, "the breaker is closed", func(context.Context) bool { return !limiter.Health().Open })
	redistest.Eventually(t, "the probe is forgotten", func(ctx context.Context) bool {
		keys, err := admin.Keys(ctx, "rate_limit/breaker:*").Result()
		return err == nil && len(keys) == 0
	})
}

func TestAProcessEnforcesItsShareDuringAnOutage(t *testing.T) {
	server := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { _ = client.Close() })
	for name, options := range map[string]map[string]any{
		"own connection": {"addr": server.Addr(), "fallback_share": 0.25},
		"passed in":      {"client": client, "fallback_share": 0.25},
	} {
		t.Run(name, func(t *testing.T) {
			server.FlushAll()
			engine, limiter := application(t, ratelimiter.Config{
				"RATELIMITER_BACKEND": "redis", "RATELIMITER_BACKEND_OPTIONS": options, "RATELIMITER_TIMEOUT": "1m",
			})
			engine.GET("/", limiter.RateLimit(8, time.Hour), ok)
			require.Equal(t, "7", header(get(engine, "/"), "X-RateLimit-Remaining"))
			server.SetError("LOADING soon")
			for i, want := range []struct {
				status    int
				remaining string
			}{{200, "1"}, {200, "0"}, {429, "0"}} {
				response := get(engine, "/")
				require.Equal(t, want.status, response.Code, "request %d", i+1)
				require.Equal(t, want.remaining, header(response, "X-RateLimit-Remaining"), "what remains in this process")
				require.Equal(t, "8", header(response, "X-RateLimit-Limit"), "the headers show the configured limit")
			}
			server.SetError("")
			require.Equal(t, "6", header(get(engine, "/"), "X-RateLimit-Remaining"))
			require.Contains(t, options, "fallback_share", "the map of the application is unchanged")
		})
	}
}

func TestAnInvalidOrIneffectiveShareIsRejected(t *testing.T) {
	for name, test := range map[string]struct {
		backend, policy string
		share           any
		says            []string
	}{
		"over 1":             {"redis", "fallback", 40, []string{`"fallback_share" of backend "redis" is 40`, "greater than 0 and at most 1"}},
		"zero":               {"redis", "fallback", 0, []string{"greater than 0 and at most 1"}},
		"a text":             {"redis", "fallback", "half", []string{`"half"`}},
		"in memory":          {"memory", "fallback", 0.5, []string{"no effect", "remove it"}},
		"without a fallback": {"redis", "deny", 0.5, []string{"no effect", "RATELIMITER_ON_ERROR"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ratelimiter.New(gin.New(), ratelimiter.Config{
				"RATELIMITER_BACKEND": test.backend, "RATELIMITER_ON_ERROR": test.policy,
				"RATELIMITER_BACKEND_OPTIONS": map[string]any{"fallback_share": test.share},
			})
			for _, part := range append(test.says, "RATELIMITER_BACKEND_OPTIONS") {
				require.ErrorContains(t, err, part)
			}
		})
	}
}
