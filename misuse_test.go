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

func TestABurstBelongsToItsLimitAlone(t *testing.T) {
	engine, limiter := application(t, nil)
	unlimited := func(*gin.Context) int { return ratelimiter.Unlimited }
	engine.GET("/", limiter.RateLimit(unlimited, time.Hour, ratelimiter.WithBurst(2), ratelimiter.WithLimit(4, time.Minute)), ok)
	require.Equal(t, []int{200, 200, 200, 200, 429}, statuses(engine, "/", 5))
	engine.GET("/burst", limiter.RateLimit(60, time.Hour, ratelimiter.WithBurst(2)), ok)
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/burst", 3))
}

// RateLimiter is somebody else's, by accident of the same name.
type RateLimiter struct{}

func (*RateLimiter) RateLimit() gin.HandlerFunc { return func(*gin.Context) {} }

func TestAMiddlewareOfTheSameNameSwitchesNoLimitOff(t *testing.T) {
	engine, _ := application(t, ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "1/hour"})
	engine.GET("/", (&RateLimiter{}).RateLimit(), ok)
	require.Equal(t, []int{200, 429}, statuses(engine, "/", 2))
}

func TestAnExemptionOfOneKindOfUnmatchedRequestIsNotThatOfTheOther(t *testing.T) {
	engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "1/hour"})
	engine.HandleMethodNotAllowed = true
	engine.GET("/a", ok)
	engine.NoMethod(limiter.Exempt())
	post := func(r *http.Request) { r.Method = http.MethodPost }
	require.Equal(t, []int{405, 405}, statuses(engine, "/a", 2, post))
	require.Equal(t, []int{404, 429}, statuses(engine, "/none", 2))
}

func TestARejectionIsAProblemDocumentWhateverWasSetBefore(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.Use(func(c *gin.Context) { c.Header("Content-Type", "text/html; charset=utf-8") })
	engine.GET("/", limiter.RateLimit(0, time.Hour), ok)
	require.Equal(t, "application/problem+json", header(get(engine, "/"), "Content-Type"))
}

func TestAfterCloseNothingPassesEvenIfTheBackendWasHandedIn(t *testing.T) {
	backend, err := backends.NewMemory(nil)
	require.NoError(t, err)
	engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_BACKEND": backend})
	engine.GET("/", limiter.RateLimit(1, time.Hour), ok)
	require.NoError(t, limiter.Close())
	require.Equal(t, 503, get(engine, "/").Code)
}

// A deadline of the request that is over is no failure of the backend, which
// might let a request through.
func TestARequestWhoseTimeIsOverIsNotLetThrough(t *testing.T) {
	for _, policy := range []string{"allow", "fallback"} {
		engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_ON_ERROR": policy})
		engine.GET("/", limiter.RateLimit(1, time.Hour), ok)
		over, cancel := context.WithTimeout(t.Context(), 0)
		require.Equal(t, 503, get(engine, "/", func(r *http.Request) { *r = *r.WithContext(over) }).Code)
		cancel()
	}
}

func TestNothingIsSilentlyReplaced(t *testing.T) {
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
		"a map of texts":      {"RATELIMITER_BACKEND_OPTIONS": map[string]string{"password": "s3cret"}},
		"nanoseconds to wait": {"RATELIMITER_TIMEOUT": time.Duration(100)},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ratelimiter.New(gin.New(), config)
			require.Error(t, err)
			require.NotContains(t, err.Error(), "s3cret")
		})
	}
}

// nilBackend is a backend that nobody has made.
type nilBackend struct{ broken }
