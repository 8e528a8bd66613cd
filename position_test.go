package ratelimiter_test

import (
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

// A limit on the route counts by its position among the RateLimits of the route, whatever
// the result of the earlier ones. A limit with WithKey counts the same at every position.

func isStaff(c *gin.Context) bool { return c.GetHeader("X-Staff") != "" }

func unlimitedForStaff(c *gin.Context) int {
	if isStaff(c) {
		return ratelimiter.Unlimited
	}
	return 100
}

// A request with another scope of the first limit keeps the counter of the second.
func TestThePositionDoesNotDependOnTheOutcomeOfTheEarlierLimit(t *testing.T) {
	for name, option := range map[string]struct {
		limit   any
		options []ratelimiter.Option
	}{
		"skipped":          {100, []ratelimiter.Option{ratelimiter.WithSkip(isStaff)}},
		"unlimited":        {unlimitedForStaff, nil},
		"on another scope": {100, []ratelimiter.Option{ratelimiter.WithScope(ratelimiter.ByHeader("X-Staff"))}},
		"on another key":   {100, []ratelimiter.Option{ratelimiter.WithKey(ratelimiter.ByHeader("X-Staff"))}},
		"only observed":    {func(c *gin.Context) int { return len(c.GetHeader("X-Staff")) }, []ratelimiter.Option{ratelimiter.WithObserveOnly()}},
		"unlimited shadow": {unlimitedForStaff, []ratelimiter.Option{ratelimiter.WithShadow()}},
	} {
		t.Run(name, func(t *testing.T) {
			engine, limiter := application(t, nil)
			group := engine.Group("/", limiter.RateLimit(option.limit, time.Hour, option.options...))
			group.GET("/", limiter.RateLimit(3, time.Hour), ok)
			group.GET("/more", limiter.RateLimit(3, time.Hour), ok)
			staff := withHeader("X-Staff", "yes")
			require.Equal(t, []int{200, 200}, statuses(engine, "/", 2))
			require.Equal(t, []int{200, 429}, statuses(engine, "/", 2, staff), "two of three units are used")
			require.Equal(t, []int{200, 200}, statuses(engine, "/more", 2, staff))
			require.Equal(t, []int{200, 429}, statuses(engine, "/more", 2), "two of three units are used")
		})
	}
}

func TestThePositionIsTheSameIfTheBackendOfTheEarlierLimitFails(t *testing.T) {
	backend := newRepairable()
	backend.repaired.Store(true)
	engine, first := application(t, ratelimiter.Config{"RATELIMITER_BACKEND": backend, "RATELIMITER_ON_ERROR": "allow"})
	second, err := ratelimiter.New(engine, nil)
	require.NoError(t, err)
	engine.GET("/", first.RateLimit(100, time.Hour), second.RateLimit(3, time.Hour), ok)
	require.Equal(t, []int{200, 200}, statuses(engine, "/", 2))
	backend.repaired.Store(false)
	require.Equal(t, []int{200, 429}, statuses(engine, "/", 2), "two of three units are used")
}

func TestTheKeyFunctionOfASkippedLimitIsNotCalled(t *testing.T) {
	engine, limiter := application(t, nil)
	user := func(c *gin.Context) string { return c.MustGet("user").(string) }
	skipped := limiter.RateLimit(1, time.Hour, ratelimiter.WithKey(user), ratelimiter.WithScope(user), ratelimiter.WithSkip(func(*gin.Context) bool { return true }))
	engine.GET("/alone", skipped, ok)
	engine.GET("/two", skipped, limiter.RateLimit(1, time.Hour), limiter.RateLimit(1, time.Minute), ok)
	require.Equal(t, []int{200, 200}, statuses(engine, "/alone", 2))
	require.Equal(t, []int{200, 429}, statuses(engine, "/two", 2))
}

func TestEachPositionOfARouteCountsSeparately(t *testing.T) {
	engine, limiter := application(t, nil)
	group := engine.Group("/")
	for limit := 9; limit > 0; limit-- {
		group.Use(limiter.RateLimit(limit, time.Hour))
	}
	group.GET("/", ok)
	require.Equal(t, []int{200, 429}, statuses(engine, "/", 2))
	require.NoError(t, limiter.Reset(t.Context(), "GET /", "192.0.2.1"))
	require.Equal(t, []int{200, 429}, statuses(engine, "/", 2), "Reset reaches them all")
}

func TestARateLimitCalledByAHandlerHasAPositionToo(t *testing.T) {
	engine, limiter := application(t, nil)
	inline := limiter.RateLimit(3, time.Hour)
	engine.GET("/", limiter.RateLimit(100, time.Hour), func(c *gin.Context) { inline(c) }, limiter.RateLimit(2, time.Hour), ok)
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/", 3))
	engine.GET("/last", limiter.RateLimit(100, time.Hour), func(c *gin.Context) { inline(c) }, ok)
	require.Equal(t, []int{200, 200, 200, 429}, statuses(engine, "/last", 4))
}

func TestALimitWithAKeyHasTheSameCounterAtEveryPosition(t *testing.T) {
	engine, limiter := application(t, nil)
	uploads := limiter.RateLimit(3, time.Hour, ratelimiter.WithKey(ratelimiter.Shared("uploads")))
	engine.GET("/first", uploads, ok)
	engine.GET("/second", limiter.RateLimit(100, time.Hour), uploads, ok)
	engine.GET("/third", limiter.RateLimit(100, time.Hour), limiter.RateLimit(100, time.Minute), uploads, ok)
	for _, path := range []string{"/first", "/second", "/third"} {
		require.Equal(t, 200, get(engine, path).Code, path)
	}
	require.Equal(t, 429, get(engine, "/second").Code, "three of three units are used")
}

func TestAnEmptyKeyMeansTheRouteAtItsPosition(t *testing.T) {
	engine, limiter := application(t, nil)
	customer := ratelimiter.WithKey(ratelimiter.ByHeader("X-Customer"))
	engine.GET("/", limiter.RateLimit(100, time.Hour, customer), limiter.RateLimit(2, time.Hour, customer), ok)
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/", 3), "separate counters, one unit each")
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/", 3, withHeader("X-Customer", "7")), "one counter, paid once")
}

func TestAConcurrentBeforeARateLimitDoesNotChangeItsCounter(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.GET("/", limiter.Concurrent(100), limiter.RateLimit(5, time.Hour), ok)
	require.Equal(t, 200, get(engine, "/").Code)
	info, err := limiter.Take(t.Context(), ratelimiter.Limit{Limit: 5, Per: time.Hour}, "GET /", "192.0.2.1", 1)
	require.NoError(t, err)
	require.EqualValues(t, 3, info.Remaining, "Take uses the first RateLimit of the route")
}
