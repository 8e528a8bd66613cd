package ratelimiter_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func TestResetAllClearsEveryLimitAndLiftsEveryBan(t *testing.T) {
	everyBackend(t, func(t *testing.T, config ratelimiter.Config) {
		config["RATELIMITER_APPLICATION_LIMITS"] = "500/hour"
		engine, limiter := application(t, config)
		engine.GET("/", limiter.RateLimit(1, time.Hour, ratelimiter.WithBan(2, time.Hour, time.Hour, 2*time.Hour)), ok)
		engine.GET("/mail", limiter.RateLimit(1, time.Hour, ratelimiter.WithKey(ratelimiter.Shared("mail"))), ok)
		for range 2 {
			for n := range 20 {
				client := from(fmt.Sprintf("192.0.2.%d:1", n))
				require.Equal(t, []int{200, 429, 429, 429}, statuses(engine, "/", 4, client))
				require.Equal(t, []int{200, 429}, statuses(engine, "/mail", 2, client))
			}
			require.NoError(t, limiter.Ban(t.Context(), "application", "192.0.2.30", time.Hour))
			require.Equal(t, 429, get(engine, "/mail", from("192.0.2.30:1")).Code)
			infos, err := limiter.Status(t.Context(), "application", "192.0.2.1")
			require.NoError(t, err)
			require.EqualValues(t, 498, infos[0].Remaining)

			require.NoError(t, limiter.ResetAll(t.Context()))
			require.Equal(t, 200, get(engine, "/mail", from("192.0.2.30:1")).Code)
			require.NoError(t, limiter.ResetAll(t.Context()))
			infos, err = limiter.Status(t.Context(), "application", "192.0.2.1")
			require.NoError(t, err)
			require.EqualValues(t, 500, infos[0].Remaining)
		}
	})
}

func TestResetAllKeepsTheKeysOfOtherApplications(t *testing.T) {
	for name, addr := range map[string]string{"miniredis": miniredis.RunT(t).Addr(), "redis": realRedis(t)} {
		t.Run(name, func(t *testing.T) {
			for _, prefix := range []string{"shop", "sh*p[1]?", `sh\op`} {
				config := onRedis(addr)
				config["RATELIMITER_KEY_PREFIX"] = prefix
				engine, limiter := application(t, config)
				engine.GET("/", limiter.RateLimit(1, time.Hour), ok)
				others, other := application(t, onRedis(addr))
				others.GET("/", other.RateLimit(1, time.Hour), ok)
				require.NoError(t, other.ResetAll(t.Context()))
				require.Equal(t, []int{200, 429}, statuses(engine, "/", 2))
				require.Equal(t, []int{200, 429}, statuses(others, "/", 2))
				require.NoError(t, limiter.ResetAll(t.Context()))
				require.Equal(t, []int{200, 429}, statuses(engine, "/", 2))
				require.Equal(t, []int{429}, statuses(others, "/", 1))
			}
			config := onRedis(addr)
			config["RATELIMITER_KEY_PREFIX"] = ""
			_, limiter := application(t, config)
			require.ErrorContains(t, limiter.ResetAll(t.Context()), "set RATELIMITER_KEY_PREFIX")
		})
	}
}

func TestResetAllReachesEveryMasterOfACluster(t *testing.T) {
	config := onRedis("")
	config["RATELIMITER_BACKEND_OPTIONS"] = map[string]any{"addr": redistest.Cluster(t, 3)[0].Addr, "cluster": true}
	engine, limiter := application(t, config)
	engine.GET("/", limiter.RateLimit(1, time.Hour), ok)
	for range 2 {
		for n := range 50 {
			require.Equal(t, []int{200, 429}, statuses(engine, "/", 2, from(fmt.Sprintf("192.0.2.%d:1", n))))
		}
		require.NoError(t, limiter.ResetAll(t.Context()))
	}
}

func TestResetAllReachesEveryShardOfARing(t *testing.T) {
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": miniredis.RunT(t).Addr(), "b": miniredis.RunT(t).Addr()}})
	t.Cleanup(func() { require.NoError(t, ring.Close()) })
	config := onRedis("")
	config["RATELIMITER_BACKEND_OPTIONS"] = map[string]any{"client": ring}
	engine, limiter := application(t, config)
	engine.GET("/", limiter.RateLimit(1, time.Hour), ok)
	for range 2 {
		for n := range 20 {
			require.Equal(t, []int{200, 429}, statuses(engine, "/", 2, from(fmt.Sprintf("192.0.2.%d:1", n))))
		}
		require.NoError(t, limiter.ResetAll(t.Context()))
	}
}

// KEYS, and freeing a large database at once, would block the server.
func TestResetAllWorksInStepsThatDoNotBlockTheServer(t *testing.T) {
	server := redistest.Single(t)
	client := server.Client()
	pipeline := client.Pipeline()
	for n := range 5000 {
		pipeline.Set(t.Context(), fmt.Sprintf("rate_limit/GET /:%d:16", n), "s3600000000=1,2,3,;", time.Hour)
		pipeline.Set(t.Context(), fmt.Sprintf("session:%d", n), "1", time.Hour)
	}
	_, err := pipeline.Exec(t.Context())
	require.NoError(t, err)
	_, limiter := application(t, onRedis(server.Addr))
	require.NoError(t, client.ConfigResetStat(t.Context()).Err())
	require.NoError(t, limiter.ResetAll(t.Context()))
	left, err := client.DBSize(t.Context()).Result()
	require.NoError(t, err)
	require.EqualValues(t, 5000, left, "the keys of other applications")
	stats, err := client.Info(t.Context(), "commandstats").Result()
	require.NoError(t, err)
	require.Contains(t, stats, "cmdstat_unlink:calls=5000,")
	require.Regexp(t, "cmdstat_scan:calls=1[0-9],", stats)
	require.NotRegexp(t, "cmdstat_(keys|del|flush)", stats)
}

func TestResetAllDropsLeasedUnits(t *testing.T) {
	server := miniredis.RunT(t)
	server.SetTime(time.Now())
	config := onRedis(server.Addr())
	config["RATELIMITER_BACKEND_OPTIONS"].(map[string]any)["lease"] = 50
	engine, limiter := application(t, config)
	engine.GET("/", limiter.RateLimit(1000, time.Hour, ratelimiter.WithAlgorithm(ratelimiter.FixedWindow)), ok)
	require.Equal(t, 200, get(engine, "/").Code)
	require.NoError(t, limiter.ResetAll(t.Context()))
	require.Equal(t, "999", header(get(engine, "/"), "X-RateLimit-Remaining"))
	infos, err := limiter.Status(t.Context(), "GET /", "192.0.2.1")
	require.NoError(t, err)
	require.EqualValues(t, 950, infos[0].Remaining, "leased again")
}

func TestResetAllWakesWaitingRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, nil)
		engine.GET("/:id", limiter.RateLimit(1, time.Hour, ratelimiter.WithKey(ratelimiter.ByParam("id")), ratelimiter.WithWait(time.Hour)), ok)
		answered := make(chan int, 3)
		for _, path := range []string{"/a", "/b", "/c"} {
			require.Equal(t, 200, get(engine, path).Code)
			go func() { answered <- get(engine, path).Code }()
		}
		synctest.Wait()
		began := time.Now()
		require.NoError(t, limiter.ResetAll(t.Context()))
		require.Equal(t, []int{200, 200, 200}, []int{<-answered, <-answered, <-answered})
		require.Zero(t, time.Since(began))
	})
}

func TestResetAllClearsTheFallbackMemory(t *testing.T) {
	backend := &switching{texts: newTexts()}
	engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_BACKEND": backend})
	engine.GET("/", limiter.RateLimit(1, time.Hour), ok)
	backend.away.Store(true)
	require.Equal(t, []int{200, 429}, statuses(engine, "/", 2))
	backend.away.Store(false)
	require.NoError(t, limiter.ResetAll(t.Context()))
	backend.away.Store(true)
	require.Equal(t, []int{200, 429}, statuses(engine, "/", 2))
}

func TestResetAllReturnsAnErrorIfItCannotReset(t *testing.T) {
	var none ratelimiter.RateLimiter
	require.ErrorIs(t, none.ResetAll(t.Context()), ratelimiter.ErrNotInitialised)
	_, limiter := application(t, ratelimiter.Config{"RATELIMITER_BACKEND": broken{}})
	err := limiter.ResetAll(t.Context())
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.ErrorContains(t, err, "ratelimiter_test.broken has no method ResetAll")
	require.NoError(t, limiter.Close())
	require.ErrorIs(t, limiter.ResetAll(t.Context()), backends.ErrClosed)

	everyBackend(t, func(t *testing.T, config ratelimiter.Config) {
		engine, limiter := application(t, config)
		engine.GET("/", limiter.RateLimit(5, time.Hour), ok)
		require.NoError(t, limiter.Ban(t.Context(), "GET /", "192.0.2.1", time.Hour))
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, limiter.ResetAll(cancelled), context.Canceled)
		require.Equal(t, 429, get(engine, "/").Code, "nothing has changed")
	})
}
