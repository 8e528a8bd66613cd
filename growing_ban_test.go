package ratelimiter_test

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
)

// banned causes a ban with three rejections by a limit of one per second, and returns its
// duration.
func banned(t *testing.T, engine *gin.Engine) string {
	t.Helper()
	require.Equal(t, []int{200, 429, 429, 429}, statuses(engine, "/", 4))
	return header(get(engine, "/"), "Retry-After")
}

func TestRepeatedBansGetLonger(t *testing.T) {
	for _, config := range []ratelimiter.Config{nil, {"RATELIMITER_BACKEND": newTexts()}} {
		synctest.Test(t, func(t *testing.T) {
			engine, limiter := application(t, config)
			grows := ratelimiter.WithBan(3, time.Minute, time.Hour, 5*time.Hour, 20*time.Hour)
			engine.GET("/", limiter.RateLimit(1, time.Second, grows), ok)
			for _, step := range []struct {
				comesBack time.Duration // after the end of the previous ban
				seconds   string
			}{
				{0, "3600"}, {0, "18000"}, {0, "72000"}, {0, "72000"}, {19 * time.Hour, "72000"}, {20 * time.Hour, "3600"},
				{59 * time.Minute, "18000"}, {5 * time.Hour, "3600"}, {time.Hour, "3600"},
			} {
				pass(step.comesBack)
				require.Equal(t, step.seconds, banned(t, engine), step.comesBack)
				infos, err := limiter.Status(t.Context(), "GET /", "192.0.2.1")
				require.NoError(t, err)
				pass(infos[0].RetryAfter - time.Microsecond)
				require.Equal(t, 429, get(engine, "/").Code)
				pass(time.Microsecond)
			}
			require.Equal(t, "18000", banned(t, engine))
			require.NoError(t, limiter.Reset(t.Context(), "GET /", "192.0.2.1"))
			require.Equal(t, "3600", banned(t, engine), "Reset clears the history of bans too")
		})
	}
}

func TestRepeatedBansGetLongerEvenWhileAManualBanIsInForce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, nil)
		engine.GET("/", limiter.RateLimit(1, time.Second, ratelimiter.WithBan(3, time.Minute, time.Hour, 5*time.Hour)), ok)
		require.NoError(t, limiter.Ban(t.Context(), "GET /", "192.0.2.9", ratelimiter.Day))
		for _, hours := range []int{1, 5, 5} {
			require.Equal(t, strconv.Itoa(hours*3600), banned(t, engine))
			pass(time.Duration(hours) * time.Hour)
		}
	})
}

func TestRepeatedBansGetLongerAcrossProcesses(t *testing.T) {
	server := miniredis.RunT(t)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	server.SetTime(now)
	var engines []*gin.Engine
	for range 2 {
		config := onRedis(server.Addr())
		config["RATELIMITER_BACKEND_OPTIONS"].(map[string]any)["local_denials"] = false // the clock of miniredis does not move
		engine, limiter := application(t, config)
		engine.GET("/", limiter.RateLimit(1, time.Second, ratelimiter.WithBan(3, time.Minute, time.Hour, 5*time.Hour)), ok)
		engines = append(engines, engine)
	}
	for n, seconds := range []string{"3600", "18000", "18000", "18000"} {
		require.Equal(t, seconds, banned(t, engines[n%2]))
		require.Equal(t, 429, get(engines[1-n%2], "/").Code)
		passed := time.Hour
		if n > 0 {
			passed *= 5
		}
		now = now.Add(passed)
		server.SetTime(now)
		server.FastForward(passed)
	}
}

func TestTheSecondBanIsLongerOnARealServerEvenWithWait(t *testing.T) {
	addr := realRedis(t)
	for name, options := range map[string][]ratelimiter.Option{"rejected at once": nil, "waiting": {ratelimiter.WithWait(time.Millisecond)}} {
		t.Run(name, func(t *testing.T) {
			config := onRedis(addr)
			config["RATELIMITER_KEY_PREFIX"] = name
			engine, limiter := application(t, config)
			options = append(options, ratelimiter.WithBan(1, time.Minute, 500*time.Millisecond, time.Hour))
			engine.GET("/", limiter.RateLimit(0, time.Second, options...), ok)
			ban := func() time.Duration {
				get(engine, "/")
				infos, err := limiter.Status(t.Context(), "GET /", "192.0.2.1")
				require.NoError(t, err)
				return infos[0].RetryAfter // the first ban may have ended already
			}
			require.LessOrEqual(t, ban(), 500*time.Millisecond)
			require.Eventually(t, func() bool { return ban() > 59*time.Minute }, time.Minute, 25*time.Millisecond)
		})
	}
}

// Concurrent rejections make one ban, which counts once.
func TestConcurrentRejectionsMakeOneBan(t *testing.T) {
	everyBackend(t, func(t *testing.T, config ratelimiter.Config) {
		engine, limiter := application(t, config)
		engine.GET("/", limiter.RateLimit(0, time.Hour, ratelimiter.WithBan(10, time.Hour, time.Hour, 2*time.Hour, 3*time.Hour)), ok)
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() { statuses(engine, "/", 5) })
		}
		all.Wait()
		infos, err := limiter.Status(t.Context(), "GET /", "192.0.2.1")
		require.NoError(t, err)
		require.True(t, infos[0].Banned)
		require.InDelta(t, time.Hour, infos[0].RetryAfter, float64(time.Minute))
	})
}

func TestAClientThatDisconnectsIsBannedToo(t *testing.T) {
	engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_BACKEND": newTexts()})
	ctx, leave := context.WithCancel(t.Context())
	grows := ratelimiter.WithBan(1, time.Hour, time.Hour, 2*time.Hour)
	engine.GET("/", limiter.RateLimit(0, time.Hour, grows, ratelimiter.WithScope(func(*gin.Context) string { return "ann" })), ok)
	limiter.AddObserver(toldFunc(func(ratelimiter.Event) { leave() }))
	get(engine, "/", func(r *http.Request) { *r = *r.WithContext(ctx) })
	infos, err := limiter.Status(t.Context(), "GET /", "ann")
	require.NoError(t, err)
	require.True(t, infos[0].Banned)
}

func TestRepeatedBansMustBeLonger(t *testing.T) {
	for says, longer := range map[string][]time.Duration{
		"must be longer than the one before, but 1h0m0s follows 1h0m0s": {time.Hour},
		"but 1h30m0s follows 2h0m0s":                                    {2 * time.Hour, 90 * time.Minute},
		"366 days":                                                      {backends.MaxPer + 1},
		"use 7200*time.Second":                                          {7200},
	} {
		func() {
			defer func() { require.Contains(t, recover(), says) }()
			ratelimiter.WithBan(3, time.Minute, time.Hour, longer...)
		}()
	}
	ratelimiter.WithBan(3, time.Minute, time.Hour, backends.MaxPer-1, backends.MaxPer)
}
