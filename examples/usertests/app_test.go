package usertests_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

func init() { gin.SetMode(gin.TestMode) }

// newApp is the application: each client may search three times a minute. In a real
// application it is in a file of its own.
func newApp(config ratelimiter.Config) (*gin.Engine, *ratelimiter.RateLimiter, error) {
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, config)
	if err != nil {
		return nil, nil, err
	}
	engine.GET("/search", limiter.RateLimit(3, time.Minute), func(c *gin.Context) {
		c.String(http.StatusOK, "found\n")
	})
	return engine, limiter, nil
}

// start makes the application, with a limiter that is closed when the test ends.
func start(t *testing.T, config ratelimiter.Config) (*gin.Engine, *ratelimiter.RateLimiter) {
	t.Helper()
	engine, limiter, err := newApp(config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, limiter.Close()) })
	return engine, limiter
}

// search sends one request from an address, without a network.
func search(engine http.Handler, address string) *httptest.ResponseRecorder {
	request := httptest.NewRequest(http.MethodGet, "/search", nil)
	request.RemoteAddr = address + ":1234"
	response := httptest.NewRecorder()
	engine.ServeHTTP(response, request)
	return response
}

func TestTheFourthSearchIsRejectedForAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, _ := start(t, nil)
		for range 3 {
			require.Equal(t, 200, search(engine, "192.0.2.1").Code)
		}
		rejected := search(engine, "192.0.2.1")
		require.Equal(t, 429, rejected.Code)
		require.Equal(t, 200, search(engine, "192.0.2.2").Code, "another client")

		seconds, err := strconv.Atoi(rejected.Header().Get("Retry-After"))
		require.NoError(t, err)
		<-time.After(time.Duration(seconds) * time.Second) // the clock of the bubble: no test waits
		require.Equal(t, 200, search(engine, "192.0.2.1").Code)
	})
}

func TestConcurrentSearchesCannotExceedTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, _ := start(t, nil)
		var allowed atomic.Int64
		var group sync.WaitGroup
		for range 50 {
			group.Go(func() {
				if search(engine, "192.0.2.1").Code == 200 {
					allowed.Add(1)
				}
			})
		}
		group.Wait()
		require.EqualValues(t, 3, allowed.Load())
	})
}

func TestTheHeadersOfASearch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, _ := start(t, nil)
		now := time.Now() // midnight UTC, 1 January 2000, in every bubble
		header := search(engine, "192.0.2.1").Header()
		require.Equal(t, "3", header.Get("X-RateLimit-Limit"))
		require.Equal(t, "2", header.Get("X-RateLimit-Remaining"))
		require.Equal(t, strconv.FormatInt(now.Add(time.Minute).Unix(), 10), header.Get("X-RateLimit-Reset"))
		require.Equal(t, `"per-minute";q=3;w=60`, header.Get("RateLimit-Policy"))
		require.Equal(t, `"per-minute";r=2;t=60`, header.Get("RateLimit"))
		require.Empty(t, header.Get("Retry-After"), "only a rejection has it")
	})
}

func TestASwitchedOffLimiterAllowsEverySearch(t *testing.T) {
	engine, _ := start(t, ratelimiter.Config{"RATELIMITER_ENABLED": false})
	for range 100 {
		response := search(engine, "192.0.2.1")
		require.Equal(t, 200, response.Code)
		require.Empty(t, response.Header().Get("X-RateLimit-Limit"))
	}
}

func TestEachCaseStartsWithTheFullLimit(t *testing.T) {
	engine, limiter := start(t, nil)
	for _, query := range []string{"gin", "redis", "limit"} {
		t.Run(query, func(t *testing.T) {
			t.Cleanup(func() { require.NoError(t, limiter.ResetAll(context.Background())) })
			for range 3 {
				require.Equal(t, 200, search(engine, "192.0.2.1").Code)
			}
		})
	}
}

// inRedis is a configuration with counters that no other test shares.
func inRedis(t *testing.T, server *miniredis.Miniredis) ratelimiter.Config {
	return ratelimiter.Config{
		"RATELIMITER_BACKEND":         "redis",
		"RATELIMITER_BACKEND_OPTIONS": map[string]any{"addr": server.Addr(), "local_denials": false},
		"RATELIMITER_KEY_PREFIX":      t.Name(),
		"RATELIMITER_ON_ERROR":        "deny",
		"RATELIMITER_TIMEOUT":         10 * time.Second,
	}
}

func TestTwoProcessesShareTheLimit(t *testing.T) {
	server := miniredis.RunT(t)
	first, _ := start(t, inRedis(t, server))
	second, _ := start(t, inRedis(t, server))

	noon := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	server.SetTime(noon)
	require.Equal(t, 200, search(first, "192.0.2.1").Code)
	require.Equal(t, 200, search(second, "192.0.2.1").Code)
	require.Equal(t, 200, search(first, "192.0.2.1").Code)
	require.Equal(t, 429, search(second, "192.0.2.1").Code)

	server.SetTime(noon.Add(time.Minute))
	require.Equal(t, 200, search(second, "192.0.2.1").Code)
}

func TestTestsOnOneServerDoNotShareALimit(t *testing.T) {
	server := miniredis.RunT(t)
	for _, query := range []string{"gin", "redis", "limit"} {
		t.Run(query, func(t *testing.T) {
			t.Parallel()
			engine, _ := start(t, inRedis(t, server))
			for range 3 {
				require.Equal(t, 200, search(engine, "192.0.2.1").Code)
			}
		})
	}
}

func TestSearchesAreRejectedDuringAnOutage(t *testing.T) {
	server := miniredis.RunT(t)
	engine, _ := start(t, inRedis(t, server))
	server.SetError("LOADING Redis is loading the dataset in memory")
	response := search(engine, "192.0.2.1")
	require.Equal(t, 503, response.Code)
	require.NotEmpty(t, response.Header().Get("Retry-After"))

	server.SetError("")
	require.Equal(t, 200, search(engine, "192.0.2.1").Code)
}
