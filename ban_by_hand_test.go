package ratelimiter_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/internal/redistest"
	"github.com/stretchr/testify/require"
)

func TestAManualBanAppliesToEveryLimitOnItsKeyAndScope(t *testing.T) {
	everyBackend(t, func(t *testing.T, config ratelimiter.Config) {
		config["RATELIMITER_DEFAULT_LIMITS"] = "50/hour"
		config["RATELIMITER_APPLICATION_LIMITS"] = "500/hour"
		engine, limiter := application(t, config)
		engine.GET("/plain", limiter.RateLimit(5, time.Hour), ok)
		engine.GET("/two", limiter.RateLimit(func(*gin.Context) int { return 5 }, time.Hour), limiter.RateLimit(50, time.Minute), ok)
		engine.GET("/default", ok)
		engine.GET("/mail", limiter.RateLimit(5, time.Hour, ratelimiter.WithKey(ratelimiter.Shared("mail")), ratelimiter.WithLimit(9, time.Minute),
			ratelimiter.WithBan(100, time.Hour, time.Hour)), ok)
		paths := map[string]string{"/plain": "GET /plain", "/two": "GET /two", "/default": "GET /default", "/mail": "mail"}
		for path, key := range paths {
			require.Equal(t, 200, get(engine, path).Code)
			require.NoError(t, limiter.Ban(t.Context(), key, "192.0.2.1", 24*time.Hour))
			for range 3 {
				banned := get(engine, path)
				require.Equal(t, 429, banned.Code, path)
				seconds, err := strconv.Atoi(header(banned, "Retry-After"))
				require.NoError(t, err)
				require.InDelta(t, 24*3600, seconds, 60)
				require.Contains(t, banned.Body.String(), "This client is banned")
			}
			require.Equal(t, 200, get(engine, path, from("192.0.2.9:1")).Code, "others are not banned")
			require.NoError(t, limiter.Reset(t.Context(), key, "192.0.2.1"))
			require.Equal(t, 200, get(engine, path).Code, "Reset lifts the ban")
		}
		require.NoError(t, limiter.Ban(t.Context(), "application", "192.0.2.1", time.Hour))
		for path := range paths {
			require.Equal(t, 429, get(engine, path).Code, "banned from all routes")
		}
		require.NoError(t, limiter.Reset(t.Context(), "application", "192.0.2.1"))
		infos, err := limiter.Status(t.Context(), "mail", "192.0.2.1")
		require.NoError(t, err)
		require.Equal(t, []int64{8, 4}, []int64{infos[0].Remaining, infos[1].Remaining}, "a banned client is charged nothing")
	})
}

func TestAManualBanAppliesToALaterLimitOfARateLimit(t *testing.T) {
	everyone := ratelimiter.WithLimit(100, time.Hour, ratelimiter.WithScope(ratelimiter.ByEveryone))
	for name, between := range map[string]ratelimiter.Option{
		"after a limit on the same key and scope": ratelimiter.WithLimit(100, time.Minute),
		"after a shadow": ratelimiter.WithLimit(100, time.Minute, ratelimiter.WithShadow()),
	} {
		engine, limiter := application(t, nil)
		engine.GET("/", limiter.RateLimit(100, time.Hour, between, everyone), ok)
		require.NoError(t, limiter.Ban(t.Context(), "GET /", "everyone", time.Hour))
		require.Equal(t, 429, get(engine, "/").Code, name)
	}
}

func TestAManualBanIsReportedEverywhere(t *testing.T) {
	everyBackend(t, func(t *testing.T, config ratelimiter.Config) {
		observer := &notebook{}
		config["RATELIMITER_OBSERVER"] = observer
		engine, limiter := application(t, config)
		var info ratelimiter.Info
		engine.GET("/", limiter.RateLimit(5, time.Minute, ratelimiter.WithOverLimit(func(c *gin.Context) { info, _ = ratelimiter.FromContext(c) })), ok)
		require.Equal(t, 200, get(engine, "/").Code)
		require.NoError(t, limiter.Ban(t.Context(), "GET /", "192.0.2.1", time.Hour))
		observer.read()
		require.Equal(t, 429, get(engine, "/").Code)
		require.Equal(t, []string{"per-minute banned"}, observer.read())
		requireBanned := func(info ratelimiter.Info) {
			t.Helper()
			require.True(t, info.Banned)
			require.True(t, info.Exceeded)
			require.Zero(t, info.Remaining)
			require.InDelta(t, time.Hour, info.RetryAfter, float64(time.Minute))
		}
		requireBanned(info)
		infos, err := limiter.Status(t.Context(), "GET /", "192.0.2.1")
		require.NoError(t, err)
		requireBanned(infos[0])
		for cost := range 2 {
			info, err = limiter.Take(t.Context(), ratelimiter.Limit{Limit: 5, Per: time.Minute}, "GET /", "192.0.2.1", cost)
			require.NoError(t, err)
			requireBanned(info)
		}
		refund, err := limiter.Take(t.Context(), ratelimiter.Limit{Limit: 5, Per: time.Minute}, "GET /", "192.0.2.1", -1)
		require.NoError(t, err)
		require.EqualValues(t, 5, refund.Remaining, "a banned client gets refunds too")
	})
}

func TestAManualBanEndsOnTimeAndALaterBanReplacesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, config := range []ratelimiter.Config{nil, {"RATELIMITER_BACKEND": newTexts()}} {
			engine, limiter := application(t, config)
			engine.GET("/", limiter.RateLimit(5, time.Second), ok)
			ends := func(after time.Duration) {
				t.Helper()
				pass(after - time.Microsecond)
				require.Equal(t, 429, get(engine, "/").Code)
				pass(time.Microsecond)
				require.Equal(t, 200, get(engine, "/").Code)
			}
			ban := func(duration time.Duration) {
				require.NoError(t, limiter.Ban(t.Context(), "GET /", "192.0.2.1", duration))
			}
			ban(time.Hour)
			ends(time.Hour)
			ban(time.Hour)
			ban(2 * time.Hour)
			ends(2 * time.Hour)
			ban(backends.MaxPer)
			ban(backends.MinPer)
			ends(backends.MinPer)
		}
	})
}

func TestOtherProcessesLearnOfAManualBanWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newTexts()
		here, limiter := application(t, ratelimiter.Config{"RATELIMITER_BACKEND": store})
		there, other := application(t, ratelimiter.Config{"RATELIMITER_BACKEND": store})
		here.GET("/", limiter.RateLimit(500, time.Hour), ok)
		there.GET("/", other.RateLimit(500, time.Hour), ok)
		require.Equal(t, 200, get(there, "/").Code)
		require.NoError(t, limiter.Ban(t.Context(), "GET /", "192.0.2.1", time.Hour))
		require.Equal(t, 429, get(here, "/").Code, "at once in this process")
		pass(time.Second)
		require.Equal(t, 200, get(there, "/").Code, "this request read the notice of the ban")
		require.Equal(t, 429, get(there, "/").Code)

		require.NoError(t, other.Reset(t.Context(), "GET /", "192.0.2.1"))
		require.Equal(t, 200, get(here, "/").Code)
		require.NoError(t, other.Ban(t.Context(), "GET /", "192.0.2.1", time.Minute))
		require.Equal(t, 429, get(here, "/").Code, "a process that knows of a ban queries all bans")
		pass(time.Minute)
		require.Equal(t, []int{200, 200}, []int{get(here, "/").Code, get(there, "/").Code})

		late, starting := application(t, ratelimiter.Config{"RATELIMITER_BACKEND": store})
		late.GET("/", starting.RateLimit(500, time.Hour), ok)
		require.NoError(t, limiter.Ban(t.Context(), "GET /", "192.0.2.1", 2*time.Hour))
		pass(time.Second)
		get(late, "/", from("192.0.2.9:1"))
		require.Equal(t, 429, get(late, "/").Code, "a new process learns of the ban within a second, too")
	})
}

// The notice of the last ban ends with that ban, and not earlier or later.
func TestOtherProcessesQueryBansUntilTheLastOneEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newTexts()
		_, limiter := application(t, ratelimiter.Config{"RATELIMITER_BACKEND": store})
		there, other := application(t, ratelimiter.Config{"RATELIMITER_BACKEND": store})
		there.GET("/", other.RateLimit(500, time.Hour), ok)
		require.NoError(t, limiter.Ban(t.Context(), "GET /", "192.0.2.9", time.Minute))
		require.NoError(t, limiter.Ban(t.Context(), "GET /", "192.0.2.1", time.Hour))
		pass(time.Second)
		get(there, "/") // reads the notice
		require.Equal(t, 429, get(there, "/").Code)
		pass(time.Hour - time.Second - time.Microsecond)
		require.Equal(t, 429, get(there, "/").Code)
		pass(time.Millisecond)
		get(there, "/") // reads the notice
		require.Equal(t, 200, get(there, "/").Code)
		require.Len(t, store.takes[len(store.takes)-1], 1, "no ban is queried")
	})
}

func TestOtherProcessesLearnOfTheLongestBanAfterAShortOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newTexts()
		_, limiter := application(t, ratelimiter.Config{"RATELIMITER_BACKEND": store})
		there, other := application(t, ratelimiter.Config{"RATELIMITER_BACKEND": store})
		there.GET("/", other.RateLimit(500, time.Hour), ok)
		require.NoError(t, limiter.Ban(t.Context(), "GET /", "192.0.2.9", backends.MinPer))
		pass(backends.MinPer / 2)
		require.NoError(t, limiter.Ban(t.Context(), "GET /", "192.0.2.1", backends.MaxPer))
		pass(time.Second)
		get(there, "/") // reads the notice
		require.Equal(t, 429, get(there, "/").Code)
	})
}

func TestProcessesThatShareRedisLearnOfEachOthersBans(t *testing.T) {
	for name, start := range map[string]func(t *testing.T) map[string]any{
		"miniredis": func(t *testing.T) map[string]any { return map[string]any{"addr": miniredis.RunT(t).Addr()} },
		"single":    func(t *testing.T) map[string]any { return map[string]any{"addr": realRedis(t)} },
		"cluster": func(t *testing.T) map[string]any {
			return map[string]any{"addr": redistest.Cluster(t, 3)[0].Addr, "cluster": true}
		},
	} {
		t.Run(name, func(t *testing.T) {
			config := onRedis("")
			config["RATELIMITER_BACKEND_OPTIONS"] = start(t)
			here, limiter := application(t, config)
			there, other := application(t, config)
			for engine, of := range map[*gin.Engine]*ratelimiter.RateLimiter{here: limiter, there: other} {
				engine.GET("/:id", of.RateLimit(1_000_000, time.Hour), of.RateLimit(1_000_000, time.Minute), ok)
			}
			require.Equal(t, 200, get(there, "/7").Code)
			require.NoError(t, limiter.Ban(t.Context(), "GET /:id", "192.0.2.1", time.Hour))
			require.Equal(t, []int{429, 429}, statuses(here, "/7", 2))
			require.Eventually(t, func() bool { return get(there, "/7").Code == 429 }, time.Minute, 10*time.Millisecond)
			require.Equal(t, 200, get(there, "/7", from("192.0.2.9:1")).Code)
			late, starting := application(t, config)
			late.GET("/:id", starting.RateLimit(1_000_000, time.Hour), ok)
			require.Equal(t, 429, get(late, "/7").Code, "a new process reads the notice at once")
		})
	}
}

// Requests query nothing more, except one request per second.
func TestWithoutManualBansRequestsQueryNothingMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newTexts()
		engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_BACKEND": store})
		engine.GET("/", limiter.RateLimit(500, time.Hour), ok)
		sizes := func(n int) (sizes []int) {
			store.takes = nil
			statuses(engine, "/", n)
			for _, quotas := range store.takes {
				sizes = append(sizes, len(quotas))
			}
			return sizes
		}
		pass(time.Second - time.Microsecond)
		require.Equal(t, []int{1, 1}, sizes(2))
		pass(time.Microsecond)
		require.Equal(t, []int{2, 1, 1}, sizes(3))
		require.NoError(t, limiter.Ban(t.Context(), "GET /", "192.0.2.9", time.Minute))
		require.Equal(t, []int{2, 2}, sizes(2))
		pass(time.Minute + time.Microsecond)
		require.Equal(t, []int{2, 1, 1}, sizes(3), "the ban is over")
	})
}

func TestAnExpiredManualBanCausesNoAllocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &nowhere{header: http.Header{}}
		c, engine := gin.CreateTestContext(w)
		limiter, err := ratelimiter.New(engine, nil)
		require.NoError(t, err)
		engine.GET("/", limiter.RateLimit(1_000_000, time.Hour), func(*gin.Context) {})
		c.Request = httptest.NewRequest(http.MethodGet, "/", nil)
		allocations := func() float64 {
			return testing.AllocsPerRun(100, func() {
				clear(w.header)
				engine.HandleContext(c)
			})
		}
		before := allocations()
		require.NoError(t, limiter.Ban(t.Context(), "GET /", "192.0.2.9", time.Minute))
		require.Greater(t, allocations(), before)
		pass(time.Minute + time.Microsecond)
		require.Equal(t, before, allocations())
	})
}

func TestALimitThatNeverRejectsOnlyRecordsAManualBan(t *testing.T) {
	observer := &notebook{}
	engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_OBSERVER": observer})
	var info ratelimiter.Info
	record := func(c *gin.Context) { info, _ = ratelimiter.FromContext(c) }
	engine.GET("/observed", limiter.RateLimit(5, time.Hour, ratelimiter.WithObserveOnly()), record)
	engine.GET("/shadow", limiter.RateLimit(5, time.Hour, ratelimiter.WithShadow()), record)
	engine.GET("/skipped", limiter.RateLimit(5, time.Hour, ratelimiter.WithSkip(func(*gin.Context) bool { return true })), ok)
	for _, key := range []string{"GET /observed", "GET /shadow", "GET /skipped"} {
		require.NoError(t, limiter.Ban(t.Context(), key, "192.0.2.1", time.Hour))
	}
	require.Equal(t, 200, get(engine, "/observed").Code)
	require.True(t, info.Banned)
	require.Equal(t, 200, get(engine, "/shadow").Code)
	require.False(t, info.Banned)
	require.EqualValues(t, 4, info.Remaining)
	require.Equal(t, 200, get(engine, "/skipped").Code)
	require.Equal(t, []string{"per-hour shadowed", "shadow-per-hour allowed", "per-hour skipped"}, observer.read())
}

func TestAManuallyBannedClientDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, nil)
		engine.GET("/", limiter.RateLimit(1, time.Minute, ratelimiter.WithWait(time.Hour)), ok)
		require.Equal(t, 200, get(engine, "/").Code)
		require.NoError(t, limiter.Ban(t.Context(), "GET /", "192.0.2.1", time.Minute))
		began := time.Now()
		require.Equal(t, 429, get(engine, "/").Code)
		require.Zero(t, time.Since(began))
	})
}

func TestAManualBanAppliesToThisProcessDuringAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := &switching{texts: newTexts()}
		engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_BACKEND": backend})
		engine.GET("/", limiter.RateLimit(500, time.Hour), ok)
		require.NoError(t, limiter.Ban(t.Context(), "GET /", "192.0.2.1", 2*time.Hour))
		backend.away.Store(true)
		require.Equal(t, []int{429, 429}, statuses(engine, "/", 2), "banned before the outage")
		require.Equal(t, 200, get(engine, "/", from("192.0.2.2:1")).Code)
		require.ErrorContains(t, limiter.Ban(t.Context(), "GET /", "192.0.2.2", time.Hour), "out of order")
		require.Equal(t, 429, get(engine, "/", from("192.0.2.2:1")).Code, "banned during the outage")
		backend.away.Store(false)
		pass(time.Minute)
		require.Equal(t, 429, get(engine, "/").Code)
		require.Equal(t, 200, get(engine, "/", from("192.0.2.2:1")).Code, "the backend does not know the ban")
	})
}

// switching is a backend that can be switched off.
type switching struct {
	*texts
	away atomic.Bool
}

func (s *switching) Take(ctx context.Context, quotas []backends.Quota, verdicts []backends.Verdict) error {
	if s.away.Load() {
		return errors.New("out of order")
	}
	return s.texts.Take(ctx, quotas, verdicts)
}

func (s *switching) Reset(ctx context.Context, key, scope string) error {
	if s.away.Load() {
		return errors.New("out of order")
	}
	return s.texts.Reset(ctx, key, scope)
}

func TestBanRejectsInvalidArguments(t *testing.T) {
	var none ratelimiter.RateLimiter
	require.ErrorIs(t, none.Ban(t.Context(), "a", "b", time.Hour), ratelimiter.ErrNotInitialised)
	_, limiter := application(t, nil)
	require.ErrorContains(t, limiter.Ban(t.Context(), "", "b", time.Hour), "must not be empty")
	require.ErrorContains(t, limiter.Ban(t.Context(), "a", "", time.Hour), "must not be empty")
	require.ErrorContains(t, limiter.Ban(t.Context(), "a", "b", 0), "the duration must be positive")
	require.ErrorContains(t, limiter.Ban(t.Context(), "a", "b", 3600), "use 3600*time.Second")
	require.ErrorContains(t, limiter.Ban(t.Context(), "a", "b", backends.MaxPer+1), "366 days")
	require.NoError(t, limiter.Close())
	require.ErrorIs(t, limiter.Ban(t.Context(), "a", "b", time.Hour), backends.ErrClosed)
	_, limiter = application(t, ratelimiter.Config{"RATELIMITER_BACKEND": broken{errors.New("out of order")}, "RATELIMITER_ON_ERROR": "allow"})
	require.ErrorContains(t, limiter.Ban(t.Context(), "a", "b", time.Hour), "out of order")
}
