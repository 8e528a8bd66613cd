package ratelimiter_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

// left returns what remains of the only limit of a route.
func left(t *testing.T, limiter *ratelimiter.RateLimiter, c *gin.Context) int64 {
	infos, err := limiter.Peek(c)
	require.NoError(t, err)
	require.Len(t, infos, 1)
	return infos[0].Remaining
}

var algorithms = []ratelimiter.Algorithm{ratelimiter.SlidingWindow, ratelimiter.FixedWindow, ratelimiter.SlidingLog, ratelimiter.TokenBucket}

func TestARequestIsChargedItsCost(t *testing.T) {
	engine, limiter := application(t, nil)
	size := ratelimiter.WithCost(func(c *gin.Context) int { return int(c.Request.ContentLength) })
	engine.GET("/", limiter.RateLimit(10, time.Hour, ratelimiter.WithCost(4)), ok)
	engine.GET("/size", limiter.RateLimit(10, time.Hour, size), ok)
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/", 3))
	costing := func(n int64) func(*http.Request) { return func(r *http.Request) { r.ContentLength = n } }
	require.Equal(t, 200, get(engine, "/size", costing(9)).Code)
	require.Equal(t, 429, get(engine, "/size", costing(2)).Code)
	require.Equal(t, 200, get(engine, "/size", costing(-5)).Code, "a negative cost counts as 0 and refunds nothing")
	require.Equal(t, []int{200, 429}, statuses(engine, "/size", 2, costing(1)))
}

func TestSetCostCorrectsTheCostOfARequest(t *testing.T) {
	for _, algorithm := range algorithms {
		synctest.Test(t, func(t *testing.T) {
			engine, limiter := application(t, nil)
			engine.GET("/", limiter.RateLimit(100, time.Hour, ratelimiter.WithCost(10), ratelimiter.WithAlgorithm(algorithm)), func(c *gin.Context) {
				require.EqualValues(t, 90, left(t, limiter, c))
				for _, step := range []struct{ n, left int }{{30, 70}, {30, 70}, {5, 95}, {0, 100}, {250, 0}, {60, 40}} {
					require.NoError(t, ratelimiter.SetCost(c, step.n))
					require.EqualValues(t, step.left, left(t, limiter, c), "%s after %d", algorithm, step.n)
				}
				require.ErrorContains(t, ratelimiter.SetCost(c, -1), "cannot be -1 units")
			})
			require.Equal(t, 200, get(engine, "/").Code)
		})
	}
}

func TestSetCostAppliesToLimitsWithACost(t *testing.T) {
	engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_APPLICATION_LIMITS": "5/hour"})
	group := engine.Group("/", limiter.RateLimit(1000, 24*time.Hour, ratelimiter.WithName("tokens"), ratelimiter.WithCost(0)))
	group.GET("/", limiter.RateLimit(5, time.Hour), func(c *gin.Context) {
		require.NoError(t, ratelimiter.SetCost(c, 700))
		infos, err := limiter.Peek(c)
		require.NoError(t, err)
		remaining := map[string]int64{}
		for _, info := range infos {
			remaining[info.Name] = info.Remaining
		}
		require.Equal(t, map[string]int64{"application-per-hour": 4, "tokens": 300, "per-hour": 4}, remaining)
	})
	require.Equal(t, 200, get(engine, "/").Code)
	engine.GET("/plain", limiter.RateLimit(100, time.Hour), func(c *gin.Context) {
		require.NoError(t, ratelimiter.SetCost(c, 30))
		infos, _ := limiter.Peek(c)
		require.EqualValues(t, 70, infos[1].Remaining)
	})
	require.Equal(t, 200, get(engine, "/plain").Code, "without WithCost, the limits of the route")
	engine.GET("/free", limiter.Exempt(), func(c *gin.Context) { require.NoError(t, ratelimiter.SetCost(c, 5)) })
	require.Equal(t, 200, get(engine, "/free").Code)
}

func TestConcurrentSetCostsAreExact(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.GET("/", limiter.RateLimit(1000, time.Hour, ratelimiter.WithCost(1)), func(c *gin.Context) {
		var all sync.WaitGroup
		for n := range 50 {
			copied := c.Copy()
			all.Go(func() { _ = ratelimiter.SetCost(copied, n) })
		}
		all.Wait()
		require.NoError(t, ratelimiter.SetCost(c, 10))
		require.EqualValues(t, 990, left(t, limiter, c))
	})
	require.Equal(t, 200, get(engine, "/").Code)
}

func TestOnlyFailedLoginsCount(t *testing.T) {
	for _, algorithm := range algorithms {
		engine, limiter := application(t, nil)
		failed := ratelimiter.WithCountIf(func(c *gin.Context) bool { return c.Writer.Status() == http.StatusUnauthorized })
		engine.GET("/login", limiter.RateLimit(5, 15*time.Minute, failed, ratelimiter.WithAlgorithm(algorithm)), func(c *gin.Context) {
			if c.Query("password") != "right" {
				c.Status(http.StatusUnauthorized)
			}
		})
		require.Equal(t, []int{401, 401, 401, 401}, statuses(engine, "/login", 4))
		require.Equal(t, []int{200, 200, 200, 200}, statuses(engine, "/login?password=right", 4), algorithm)
		require.Equal(t, []int{401, 429}, statuses(engine, "/login", 2), algorithm)
		require.Equal(t, 429, get(engine, "/login?password=right").Code)
	}
}

// Concurrent requests reserve their units first, so guesses never exceed the limit.
func TestConcurrentGuessesNeverExceedTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, nil)
		tried := make(chan int, 100)
		engine.GET("/login", limiter.RateLimit(5, time.Hour, ratelimiter.WithCountIf(func(c *gin.Context) bool { return c.Writer.Status() == 401 })), func(c *gin.Context) {
			tried <- 1
			<-time.After(time.Second)
			c.Status(http.StatusUnauthorized)
		})
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() { get(engine, "/login") })
		}
		all.Wait()
		require.Len(t, tried, 5)
	})
}

func TestCountIfSeesTheOutcomeOfAPanic(t *testing.T) {
	engine, limiter := application(t, nil)
	var seen []int
	engine.Use(gin.CustomRecoveryWithWriter(nil, func(c *gin.Context, _ any) { c.AbortWithStatus(http.StatusTeapot) }))
	engine.GET("/", limiter.RateLimit(2, time.Hour, ratelimiter.WithCountIf(func(c *gin.Context) bool {
		seen = append(seen, c.Writer.Status())
		return c.Writer.Status() < 400
	})), func(c *gin.Context) {
		if c.Query("begun") != "" {
			c.String(http.StatusAccepted, "begun")
		}
		panic("no database")
	})
	require.Equal(t, []int{418, 418, 418}, statuses(engine, "/", 3), "these requests do not count")
	require.Equal(t, []int{202, 202, 429}, statuses(engine, "/?begun=1", 3), "these requests were already answered")
	require.Equal(t, []int{500, 500, 500, 202, 202}, seen)
}

func TestCountIfIsNotCalledForAnUndecidedRequest(t *testing.T) {
	engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_BACKEND": broken{}, "RATELIMITER_ON_ERROR": "allow"})
	engine.GET("/", limiter.RateLimit(2, time.Hour, ratelimiter.WithCountIf(func(*gin.Context) bool {
		t.Error("there is nothing to give back")
		return false
	})), ok)
	require.Equal(t, []int{200, 200}, statuses(engine, "/", 2))
}

func TestCountIfIsCalledEvenIfTheClientHasLeft(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.GET("/", limiter.RateLimit(1, time.Hour, ratelimiter.WithCountIf(func(c *gin.Context) bool { return c.Query("left") == "" })), func(c *gin.Context) {
		ctx, cancel := context.WithCancel(c.Request.Context())
		c.Request = c.Request.WithContext(ctx)
		cancel()
	})
	require.Equal(t, []int{200, 200}, statuses(engine, "/?left=1", 2))
	require.Equal(t, []int{200, 429}, statuses(engine, "/", 2))
}

// leftOfRoute returns what the client of a test server has left on GET /.
func leftOfRoute(t *testing.T, limiter *ratelimiter.RateLimiter) int64 {
	t.Helper()
	infos, err := limiter.Status(t.Context(), "GET /", "127.0.0.1")
	require.NoError(t, err)
	return infos[0].Remaining
}

func TestCountIfIsCalledOnceAtTheEndOfAHijackedConnection(t *testing.T) {
	engine, limiter := application(t, nil)
	var calls atomic.Int32
	engine.GET("/", limiter.RateLimit(1, time.Hour, ratelimiter.WithCountIf(func(*gin.Context) bool {
		calls.Add(1)
		return false
	})), func(c *gin.Context) {
		connection, _, err := c.Writer.Hijack()
		require.NoError(t, err)
		_, _ = connection.Write([]byte("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"))
		require.NoError(t, connection.Close())
	})
	server := httptest.NewServer(engine)
	for range 3 {
		response, err := server.Client().Get(server.URL)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusNoContent, response.StatusCode)
		require.Eventually(t, func() bool { return calls.Load() == 1 && leftOfRoute(t, limiter) == 1 }, time.Minute, time.Millisecond)
		calls.Store(0)
	}
	server.Close()
}

func TestARequestRejectedByALaterLimitIsRefundedOnce(t *testing.T) {
	engine, limiter := application(t, nil)
	group := engine.Group("/", limiter.RateLimit(10, time.Hour, ratelimiter.WithKey(ratelimiter.Shared("outer")),
		ratelimiter.WithCountIf(func(c *gin.Context) bool { return c.Writer.Status() == 200 })))
	var left []int64
	group.GET("/", limiter.RateLimit(2, time.Hour), func(c *gin.Context) {
		infos, err := limiter.Peek(c)
		require.NoError(t, err)
		left = append(left, infos[0].Remaining)
	})
	require.Equal(t, []int{200, 200, 429, 429, 429}, statuses(engine, "/", 5))
	require.NoError(t, limiter.Reset(t.Context(), "GET /", "192.0.2.1"))
	require.Equal(t, 200, get(engine, "/").Code)
	require.Equal(t, []int64{9, 8, 7}, left)
}

// A reservation from a past window has nothing to refund in the next one.
func TestUnitsOfAPastWindowAreNotRefunded(t *testing.T) {
	for _, algorithm := range algorithms {
		synctest.Test(t, func(t *testing.T) {
			engine, limiter := application(t, nil)
			engine.GET("/", limiter.RateLimit(2, time.Minute, ratelimiter.WithAlgorithm(algorithm),
				ratelimiter.WithCountIf(func(c *gin.Context) bool { return c.Query("slow") == "" })), func(c *gin.Context) {
				if c.Query("slow") != "" {
					<-time.After(3*time.Minute - time.Second)
				}
			})
			var slow sync.WaitGroup
			for range 2 {
				slow.Go(func() { get(engine, "/?slow=1") })
			}
			<-time.After(3*time.Minute - 2*time.Second)
			require.Equal(t, []int{200, 200, 429}, statuses(engine, "/", 3), algorithm)
			slow.Wait()
			require.Equal(t, 429, get(engine, "/").Code, algorithm)
		})
	}
}
