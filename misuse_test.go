package ratelimiter_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
)

func TestABurstOnlyAppliesToItsLimit(t *testing.T) {
	engine, limiter := application(t, nil)
	unlimited := func(*gin.Context) int { return ratelimiter.Unlimited }
	engine.GET("/", limiter.RateLimit(unlimited, time.Hour, ratelimiter.WithBurst(2), ratelimiter.WithLimit(4, time.Minute)), ok)
	require.Equal(t, []int{200, 200, 200, 200, 429}, statuses(engine, "/", 5))
	engine.GET("/burst", limiter.RateLimit(60, time.Hour, ratelimiter.WithBurst(2)), ok)
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/burst", 3))
}

func TestAMiddlewareOfAnotherPackageWithTheSameNameIsNotARateLimit(t *testing.T) {
	const handler = "ratelimiter.(*RateLimiter).limiting.func1"
	require.Equal(t, 1, ratelimiter.RateLimitsAmong("main.main.func1", "github.com/gin-ratelimiter/"+handler))
	require.Zero(t, ratelimiter.RateLimitsAmong("example.com/application/"+handler, "main.(*RateLimiter).limiting.func1"))
}

func TestExemptingMethodNotAllowedDoesNotExemptNotFound(t *testing.T) {
	engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "1/hour"})
	engine.HandleMethodNotAllowed = true
	engine.GET("/a", ok)
	engine.NoMethod(limiter.Exempt())
	post := func(r *http.Request) { r.Method = http.MethodPost }
	require.Equal(t, []int{405, 405}, statuses(engine, "/a", 2, post))
	require.Equal(t, []int{404, 429}, statuses(engine, "/none", 2))
}

func TestARejectionReplacesTheContentTypeOfEarlierMiddlewares(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.Use(func(c *gin.Context) { c.Header("Content-Type", "text/html; charset=utf-8") })
	engine.GET("/", limiter.RateLimit(0, time.Hour), ok)
	require.Equal(t, "application/problem+json", header(get(engine, "/"), "Content-Type"))
}

func TestAfterCloseNoRequestIsAllowedEvenIfTheBackendWasPassedIn(t *testing.T) {
	backend, err := backends.NewMemory(nil)
	require.NoError(t, err)
	engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_BACKEND": backend})
	engine.GET("/", limiter.RateLimit(1, time.Hour), ok)
	require.NoError(t, limiter.Close())
	require.Equal(t, 503, get(engine, "/").Code)
}

// An expired deadline of the request is not a failure of the backend, which might allow
// the request.
func TestARequestPastItsDeadlineIsNotAllowed(t *testing.T) {
	for _, policy := range []string{"allow", "fallback"} {
		engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_ON_ERROR": policy})
		engine.GET("/", limiter.RateLimit(1, time.Hour), ok)
		over, cancel := context.WithTimeout(t.Context(), 0)
		require.Equal(t, 503, get(engine, "/", func(r *http.Request) { *r = *r.WithContext(over) }).Code)
		cancel()
	}
}

func TestAnInvalidBackendIsNotSilentlyReplaced(t *testing.T) {
	var absent backends.Backend
	var none *nilBackend
	ratelimiter.RegisterBackend("nothing", func(map[string]any) (backends.Backend, error) { return nil, nil })
	t.Cleanup(func() { ratelimiter.RegisterBackend("nothing", nil) })
	for name, config := range map[string]ratelimiter.Config{
		"a nil backend":       {"RATELIMITER_BACKEND": absent},
		"a nil pointer":       {"RATELIMITER_BACKEND": none},
		"an empty factory":    {"RATELIMITER_BACKEND": "nothing"},
		"a URL as backend":    {"RATELIMITER_BACKEND": "redis://:s3cret@h:6379"},
		"a URL as options":    {"RATELIMITER_BACKEND_OPTIONS": "redis://:s3cret@h:6379"},
		"a map of strings":    {"RATELIMITER_BACKEND_OPTIONS": map[string]string{"password": "s3cret"}},
		"nanoseconds to wait": {"RATELIMITER_TIMEOUT": time.Duration(100)},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ratelimiter.New(gin.New(), config)
			require.Error(t, err)
			require.NotContains(t, err.Error(), "s3cret")
		})
	}
}

// nilBackend is a type of which only a nil pointer exists.
type nilBackend struct{ broken }
