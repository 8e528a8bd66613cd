package ratelimiter_test

import (
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

// remaining returns what is left of each limit of a request, by name.
func remaining(t *testing.T, limiter *ratelimiter.RateLimiter, c *gin.Context) map[string]int64 {
	infos, err := limiter.Peek(c)
	require.NoError(t, err)
	found := map[string]int64{}
	for _, info := range infos {
		found[info.Name] = info.Remaining
	}
	return found
}

// everyBackend runs a test in memory, in Redis and with a custom backend.
func everyBackend(t *testing.T, test func(t *testing.T, config ratelimiter.Config)) {
	t.Run("memory", func(t *testing.T) { test(t, ratelimiter.Config{}) })
	t.Run("miniredis", func(t *testing.T) { test(t, onRedis(miniredis.RunT(t).Addr())) })
	t.Run("own", func(t *testing.T) { test(t, ratelimiter.Config{"RATELIMITER_BACKEND": newTexts()}) })
	t.Run("redis", func(t *testing.T) { test(t, onRedis(realRedis(t))) })
}

func TestAddCostInALoopAddsUp(t *testing.T) {
	everyBackend(t, func(t *testing.T, config ratelimiter.Config) {
		for _, algorithm := range algorithms {
			config["RATELIMITER_ALGORITHM"] = algorithm
			engine, limiter := application(t, config)
			path := "/" + algorithm.String()
			engine.GET(path, limiter.RateLimit(1000, time.Hour, ratelimiter.WithCost(10)), func(c *gin.Context) {
				for range 20 {
					require.NoError(t, ratelimiter.AddCost(c, 7))
				}
				require.EqualValues(t, 1000-10-20*7, left(t, limiter, c))
				require.NoError(t, ratelimiter.AddCost(c, -50))
				require.NoError(t, ratelimiter.AddCost(c, 0))
				require.EqualValues(t, 1000-100, left(t, limiter, c))
				require.NoError(t, ratelimiter.AddCost(c, -500))
				require.EqualValues(t, 1000, left(t, limiter, c), "a request never refunds more than it was charged")
				require.NoError(t, ratelimiter.AddCost(c, 1500))
				require.Zero(t, left(t, limiter, c), "past the limit")
				require.NoError(t, ratelimiter.AddCost(c, -501))
				require.EqualValues(t, 1, left(t, limiter, c), "the excess is part of the cost")
				require.NoError(t, ratelimiter.SetCost(c, 30))
				require.NoError(t, ratelimiter.AddCost(c, 5))
				require.EqualValues(t, 965, left(t, limiter, c))
			})
			require.Equal(t, 200, get(engine, path).Code)
		}
	})
}

func TestAddCostRejectsACostOutOfRange(t *testing.T) {
	most := backends.MaxLimit
	engine, limiter := application(t, nil)
	engine.GET("/", limiter.RateLimit(10, time.Hour), func(c *gin.Context) {
		require.ErrorContains(t, ratelimiter.AddCost(c, int(most+1)), "cannot change by 10000000000001 units")
		require.ErrorContains(t, ratelimiter.AddCost(c, int(-most-1)), "from -10000000000000 to 10000000000000")
		require.NoError(t, ratelimiter.AddCost(c, int(most)))
		require.NoError(t, ratelimiter.AddCost(c, int(most)))
		require.NoError(t, ratelimiter.AddCost(c, int(-most+9)))
		require.EqualValues(t, 1, left(t, limiter, c), "the total cost is at most MaxLimit")
	})
	require.Equal(t, 200, get(engine, "/").Code)
}

func TestConcurrentAddCostsAddUpEvenOnACopyOfTheContext(t *testing.T) {
	everyBackend(t, func(t *testing.T, config ratelimiter.Config) {
		config["RATELIMITER_TIMEOUT"] = time.Minute
		engine, limiter := application(t, config)
		engine.GET("/", limiter.RateLimit(10_000, time.Hour, ratelimiter.WithCost(1)), func(c *gin.Context) {
			var all sync.WaitGroup
			for n := range 20 {
				copied := c.Copy()
				all.Go(func() {
					for range 10 {
						_ = ratelimiter.AddCost(copied, n)
						_ = ratelimiter.AddCost(copied, -1)
						_ = ratelimiter.AddCost(copied, +1)
					}
				})
			}
			all.Wait()
			require.NoError(t, ratelimiter.AddCost(c, 9))
			require.EqualValues(t, 10_000-1-10*190-9, left(t, limiter, c))
		})
		require.Equal(t, 200, get(engine, "/").Code)
	})
}

// A request pays a counter once, no matter how many of its limits use it.
func TestAddCostChargesASharedCounterOnce(t *testing.T) {
	everyBackend(t, func(t *testing.T, config ratelimiter.Config) {
		config["RATELIMITER_TIMEOUT"] = time.Minute
		engine, limiter := application(t, config)
		key := ratelimiter.WithKey(ratelimiter.Shared("tokens"))
		group := engine.Group("/", limiter.RateLimit(1000, time.Hour, key, ratelimiter.WithName("wide"), ratelimiter.WithCost(3)))
		group.GET("/", limiter.RateLimit(500, time.Hour, key, ratelimiter.WithName("narrow"), ratelimiter.WithCost(5)), func(c *gin.Context) {
			used := func(want int64) {
				t.Helper()
				require.Equal(t, map[string]int64{"wide": 1000 - want, "narrow": 500 - want}, remaining(t, limiter, c))
			}
			used(5)
			require.NoError(t, ratelimiter.AddCost(c, 10))
			used(15)
			require.NoError(t, ratelimiter.AddCost(c, -14))
			used(1)
			require.NoError(t, ratelimiter.SetCost(c, 40))
			used(40)
			require.NoError(t, ratelimiter.AddCost(c, -100))
			used(0)
			var all sync.WaitGroup
			for range 10 {
				copied := c.Copy()
				all.Go(func() {
					for range 10 {
						_ = ratelimiter.AddCost(copied, 3)
						_ = ratelimiter.AddCost(copied, -1)
					}
				})
			}
			all.Wait()
			used(200)
		})
		require.Equal(t, 200, get(engine, "/").Code)
	})
}

func TestAddCostAppliesToEveryLimitWithACost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no minute ends
		engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_APPLICATION_LIMITS": "50/hour"})
		second, err := ratelimiter.New(engine, nil)
		require.NoError(t, err)
		group := engine.Group("/", second.RateLimit(1000, 24*time.Hour, ratelimiter.WithName("tokens"), ratelimiter.WithCost(0)))
		group.GET("/", limiter.RateLimit(60, time.Minute,
			ratelimiter.WithLimit(700, time.Hour, ratelimiter.WithName("bytes"), ratelimiter.WithCost(100))), func(c *gin.Context) {
			for range 3 {
				require.NoError(t, ratelimiter.AddCost(c, 40))
			}
			require.Equal(t, map[string]int64{"application-per-hour": 49, "per-minute": 59, "bytes": 480}, remaining(t, limiter, c))
			require.Equal(t, map[string]int64{"tokens": 880}, remaining(t, second, c))
		})
		require.Equal(t, 200, get(engine, "/").Code)
	})
}
