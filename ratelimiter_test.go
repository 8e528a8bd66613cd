package ratelimiter_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
)

func init() { gin.SetMode(gin.TestMode) }

// application returns an engine and an initialised limiter.
func application(t *testing.T, config ratelimiter.Config) (*gin.Engine, *ratelimiter.RateLimiter) {
	t.Helper()
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, limiter.Close()) })
	return engine, limiter
}

func ok(c *gin.Context) { c.String(http.StatusOK, "ok") }

// get sends a request; change may modify it first.
func get(handler http.Handler, path string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	request := httptest.NewRequest(http.MethodGet, path, nil)
	for _, f := range change {
		f(request)
	}
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	return recorder
}

func withHeader(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func post(r *http.Request) { r.Method = http.MethodPost }

func from(peer string) func(*http.Request) {
	return func(r *http.Request) { r.RemoteAddr = peer }
}

// header returns a header that must occur once.
func header(response *httptest.ResponseRecorder, name string) string {
	if values := response.Header().Values(name); len(values) == 1 {
		return values[0]
	}
	return ""
}

// statuses sends n requests and returns the statuses.
func statuses(handler http.Handler, path string, n int, change ...func(*http.Request)) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = get(handler, path, change...).Code
	}
	return list
}

func TestTwoAreAllowedAndTheThirdAndFourthRejectedWithRemainingZero(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.GET("/", limiter.RateLimit(2, time.Hour), ok)
	for i, want := range []struct {
		status    int
		remaining string
	}{{200, "1"}, {200, "0"}, {429, "0"}, {429, "0"}} {
		response := get(engine, "/")
		require.Equal(t, want.status, response.Code, "request %d", i+1)
		require.Equal(t, "2", header(response, "X-RateLimit-Limit"))
		require.Equal(t, want.remaining, header(response, "X-RateLimit-Remaining"))
		require.NotEmpty(t, header(response, "X-RateLimit-Reset"))
	}
}

func TestABackendCanBePassedIn(t *testing.T) {
	backend, err := backends.NewMemory(map[string]any{"max_keys": 10})
	require.NoError(t, err)
	engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_BACKEND": backend})
	require.Same(t, backend, limiter.Backend())
	engine.GET("/", limiter.RateLimit(1, time.Hour), ok)
	require.Equal(t, []int{200, 429}, statuses(engine, "/", 2))

	require.NoError(t, limiter.Close())
	require.NoError(t, backend.Reset(t.Context(), "any", "body"), "a backend that was passed in stays open")
}

func TestALimitFunctionReceivesKeyAndScope(t *testing.T) {
	engine, limiter := application(t, nil)
	var keys, scopes []string
	engine.GET("/users/:id", limiter.RateLimit(func(c *gin.Context, key, scope string) int {
		keys, scopes = append(keys, key), append(scopes, scope)
		if c.GetHeader("X-Plan") == "gold" {
			return 3
		}
		return 1
	}, time.Hour), ok)
	require.Equal(t, []int{200, 429}, statuses(engine, "/users/7", 2))
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/users/8", 3, withHeader("X-Plan", "gold")),
		"the higher limit applies at once, and one unit is taken already")
	require.Equal(t, "GET /users/:id", keys[0])
	require.Equal(t, "192.0.2.1", scopes[0])
}

func TestALimitCanBeAFunctionOfTheRequest(t *testing.T) {
	engine, limiter := application(t, nil)
	limit := 1
	engine.GET("/", limiter.RateLimit(func(*gin.Context) int { return limit }, time.Hour), ok)
	require.Equal(t, []int{200, 429}, statuses(engine, "/", 2))
	limit = 0
	require.Equal(t, []int{429}, statuses(engine, "/", 1))
	limit = ratelimiter.Unlimited
	require.Equal(t, []int{200, 200, 200}, statuses(engine, "/", 3))
	limit = 1<<62 + 1
	require.Equal(t, []int{200}, statuses(engine, "/", 1), "a limit over the maximum counts as the maximum")
}

func TestHeadersAreSentAndCanBeSwitchedOff(t *testing.T) {
	all := []string{"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "RateLimit-Policy", "RateLimit"}
	for _, test := range []struct {
		name    string
		config  ratelimiter.Config
		options []ratelimiter.Option
		present []string
	}{
		{"by default", nil, nil, all},
		{"X headers off", ratelimiter.Config{"RATELIMITER_INJECT_X_HEADERS": false}, nil, all[3:]},
		{"standard headers off", ratelimiter.Config{"RATELIMITER_INJECT_RATELIMIT_HEADERS": false}, nil, all[:3]},
		{"off for the route", nil, []ratelimiter.Option{ratelimiter.WithHeaders(false)}, nil},
		{"on for the route", ratelimiter.Config{"RATELIMITER_INJECT_X_HEADERS": false}, []ratelimiter.Option{ratelimiter.WithHeaders(true)}, all},
	} {
		t.Run(test.name, func(t *testing.T) {
			engine, limiter := application(t, test.config)
			engine.GET("/", limiter.RateLimit(1, time.Hour, test.options...), ok)
			for _, response := range []*httptest.ResponseRecorder{get(engine, "/"), get(engine, "/")} {
				var present []string
				for _, name := range all {
					if header(response, name) != "" {
						present = append(present, name)
					}
				}
				require.Equal(t, test.present, present)
				require.Equal(t, response.Code == 429, header(response, "Retry-After") != "")
			}
		})
	}
}

func TestGetBackendReturnsTheDefaultForAnUnknownName(t *testing.T) {
	known, err := ratelimiter.GetBackend("redis")(map[string]any{"port": "six"})
	require.Nil(t, known)
	require.ErrorContains(t, err, "port", "the factory of redis reads its options")
	for _, name := range []string{"memory", "no such backend"} {
		backend, err := ratelimiter.GetBackend(name)(nil)
		require.NoError(t, err)
		require.True(t, backends.InProcess(backend))
	}
	for _, alias := range []string{"SimpleRedisBackend", "FlaskCacheRedisBackend"} {
		_, err := ratelimiter.GetBackend(alias)(map[string]any{"port": "six"})
		require.ErrorContains(t, err, `backend "redis"`)
	}
}

func TestACounterDoesNotGrowPastItsLimit(t *testing.T) {
	server := miniredis.RunT(t)
	config := onRedis(server.Addr())
	config["RATELIMITER_ALGORITHM"] = "fixed-window"
	engine, limiter := application(t, config)
	engine.GET("/", limiter.RateLimit(2, 24*time.Hour), ok)
	require.Equal(t, []int{200, 200}, statuses(engine, "/", 2))
	key := server.Keys()[0]
	full, err := server.Get(key)
	require.NoError(t, err)
	require.Equal(t, []int{429, 429, 429}, statuses(engine, "/", 3))
	still, err := server.Get(key)
	require.NoError(t, err)
	require.Equal(t, full, still)
}

func TestARegisteredBackendCanBeUsedByName(t *testing.T) {
	memory, err := backends.NewMemory(nil)
	require.NoError(t, err)
	ratelimiter.RegisterBackend("ours", func(options map[string]any) (backends.Backend, error) {
		if options["fail"] == true {
			return nil, errors.New("told to fail")
		}
		return memory, nil
	})
	t.Cleanup(func() { ratelimiter.RegisterBackend("ours", nil) })
	_, limiter := application(t, ratelimiter.Config{"RATELIMITER_BACKEND": "ours"})
	require.Same(t, memory, limiter.Backend())

	_, err = ratelimiter.New(gin.New(), ratelimiter.Config{
		"RATELIMITER_BACKEND": "ours", "RATELIMITER_BACKEND_OPTIONS": map[string]any{"fail": true},
	})
	require.ErrorContains(t, err, "told to fail")

	ratelimiter.RegisterBackend("ours", nil)
	_, err = ratelimiter.New(gin.New(), ratelimiter.Config{"RATELIMITER_BACKEND": "ours"})
	require.ErrorContains(t, err, `"ours" is not known`)
	ratelimiter.RegisterBackend("memory", nil)
	require.NotNil(t, ratelimiter.GetBackend("memory"), "the default backend cannot be removed")
}

func TestTheZeroValueLimitsAfterInitApp(t *testing.T) {
	var limiter ratelimiter.RateLimiter
	require.Nil(t, limiter.Backend())
	require.NoError(t, limiter.Close())
	require.ErrorIs(t, limiter.Reset(t.Context(), "key", "scope"), ratelimiter.ErrNotInitialised)

	engine := gin.New()
	var reported []error
	engine.Use(func(c *gin.Context) {
		c.Next()
		for _, err := range c.Errors {
			reported = append(reported, err.Err)
		}
	})
	reached := false
	engine.GET("/", limiter.RateLimit(1, time.Hour), func(*gin.Context) { reached = true })
	require.Equal(t, 500, get(engine, "/").Code)
	require.False(t, reached, "never unlimited")
	require.Len(t, reported, 1)
	require.ErrorIs(t, reported[0], ratelimiter.ErrNotInitialised)

	require.NoError(t, limiter.InitApp(engine, nil))
	require.Equal(t, []int{200, 429}, statuses(engine, "/", 2))
}

func TestAnEngineCanBeInitialisedOnce(t *testing.T) {
	engine, limiter := application(t, nil)
	require.ErrorIs(t, limiter.InitApp(engine, nil), ratelimiter.ErrAlreadyInitialised)
	require.ErrorIs(t, limiter.InitApp(gin.New(), ratelimiter.Config{}), ratelimiter.ErrAlreadyInitialised)
	require.ErrorContains(t, limiter.InitApp(nil, nil), "gin.New()")

	var later ratelimiter.RateLimiter
	require.Error(t, later.InitApp(engine, ratelimiter.Config{"RATELIMITER_TIMEOUT": "soon"}))
	require.NoError(t, later.InitApp(engine, nil), "an error changes nothing")
}

func TestTwoEnginesShareTheCountersOfOneRateLimiter(t *testing.T) {
	first, limiter := application(t, nil)
	second := gin.New()
	require.NoError(t, limiter.InitApp(second, nil))
	handler := limiter.RateLimit(3, time.Hour)
	first.GET("/", handler, ok)
	second.GET("/", handler, ok)
	require.Equal(t, []int{200, 200}, statuses(first, "/", 2))
	require.Equal(t, []int{200, 429}, statuses(second, "/", 2))
	require.ErrorIs(t, limiter.InitApp(second, nil), ratelimiter.ErrAlreadyInitialised)
}

func TestResetClearsAKeyAndScope(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.GET("/", limiter.RateLimit(1, time.Hour), ok)
	require.Equal(t, []int{200, 429}, statuses(engine, "/", 2))
	require.NoError(t, limiter.Reset(context.Background(), "GET /", "192.0.2.99"), "an unknown key and scope are no error")
	require.Equal(t, 429, get(engine, "/").Code)
	require.NoError(t, limiter.Reset(context.Background(), "GET /", "192.0.2.1"))
	require.Equal(t, []int{200, 429}, statuses(engine, "/", 2))
}

func TestResetOfTheApplicationClearsItsLimitsAndNoOthers(t *testing.T) {
	engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_APPLICATION_LIMITS": "2/hour"})
	engine.GET("/", limiter.RateLimit(3, time.Hour), ok)
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/", 3))
	require.NoError(t, limiter.Reset(t.Context(), "GET /", "192.0.2.1"))
	require.Equal(t, 429, get(engine, "/").Code, "the application limit is not that of the route")
	require.NoError(t, limiter.Reset(t.Context(), "application", "192.0.2.1"))
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/", 3))
}

// stuck is a backend whose Reset fails.
type stuck struct{ backends.Backend }

func (stuck) Reset(context.Context, string, string) error { return errors.New("no connection") }
func (stuck) Close() error                                { return nil }

func TestAFailedResetReturnsOneError(t *testing.T) {
	_, limiter := application(t, ratelimiter.Config{"RATELIMITER_BACKEND": stuck{}})
	require.EqualError(t, limiter.Reset(t.Context(), "GET /", "192.0.2.1"), "no connection")
}

func TestAfterCloseRequestsAreAnswered503(t *testing.T) {
	for _, policy := range []string{"fallback", "allow", "deny"} {
		engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_ON_ERROR": policy})
		engine.GET("/", limiter.RateLimit(1, time.Hour), ok)
		require.NoError(t, limiter.Close())
		require.Equal(t, 503, get(engine, "/").Code)
		require.ErrorIs(t, limiter.Reset(t.Context(), "GET /", "x"), backends.ErrClosed)
		require.NoError(t, limiter.Close())
	}
}

func TestADisabledLimiterAllowsEverything(t *testing.T) {
	engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_ENABLED": false, "RATELIMITER_DEFAULT_LIMITS": "0/minute"})
	engine.GET("/", limiter.RateLimit(0, time.Hour), ok)
	engine.GET("/default", ok)
	require.Equal(t, []int{200, 200}, statuses(engine, "/", 2))
	require.Equal(t, []int{200, 200}, statuses(engine, "/default", 2))
}

func TestConcurrentRequestsNeverExceedTheLimit(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.GET("/", limiter.RateLimit(100, time.Hour), ok)
	var admitted atomic.Int64
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			for range 50 {
				if get(engine, "/").Code == http.StatusOK {
					admitted.Add(1)
				}
			}
		})
	}
	group.Wait()
	require.EqualValues(t, 100, admitted.Load())
}

func TestARejectionIsAProblemDocument(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no minute ends
		engine, limiter := application(t, nil)
		engine.GET("/", limiter.RateLimit(1, time.Hour, ratelimiter.WithLimit(1, time.Minute)), ok)
		get(engine, "/")
		response := get(engine, "/")
		require.Equal(t, http.StatusTooManyRequests, response.Code)
		require.Equal(t, "application/problem+json", header(response, "Content-Type"))
		var problem map[string]any
		require.NoError(t, json.Unmarshal(response.Body.Bytes(), &problem))
		require.Equal(t, "https://iana.org/assignments/http-problem-types#quota-exceeded", problem["type"])
		require.Equal(t, "Rate limit was exceeded", problem["title"])
		require.EqualValues(t, 429, problem["status"])
		require.Equal(t, []any{"per-hour", "per-minute"}, problem["violated-policies"])
	})
}
