package ratelimiter_test

import (
	"fmt"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

func TestLimitsOfOnePeriodOnGroupAndRouteCountSeparately(t *testing.T) {
	for _, algorithm := range []string{"sliding-window", "fixed-window", "sliding-log", "token-bucket"} {
		engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_ALGORITHM": algorithm})
		group := engine.Group("/", limiter.RateLimit(100, 24*time.Hour))
		group.GET("/", limiter.RateLimit(3, 24*time.Hour), ok)
		require.Equal(t, []int{200, 200, 200, 429}, statuses(engine, "/", 4), algorithm)
		require.NoError(t, limiter.Reset(t.Context(), "GET /", "192.0.2.1"))
		require.Equal(t, []int{200, 200, 200, 429}, statuses(engine, "/", 4), "both are cleared")
	}
}

func TestARequestRejectedByALaterLimitIsNotChargedToEarlierLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no minute ends
		engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_APPLICATION_LIMITS": "5/hour"})
		engine.GET("/a", limiter.RateLimit(1, time.Minute), ok)
		engine.GET("/b", ok)
		require.Equal(t, []int{200, 429, 429, 429, 429, 429}, statuses(engine, "/a", 6))
		require.Equal(t, []int{200, 200, 200, 200, 429}, statuses(engine, "/b", 5), "one of five units was used")
	})
}

func TestSeveralRateLimitersRefundTheirOwnBackends(t *testing.T) {
	engine, first := application(t, nil)
	second, err := ratelimiter.New(engine, nil)
	require.NoError(t, err)
	var left int64
	engine.GET("/", first.RateLimit(5, time.Hour, ratelimiter.WithKey(func(*gin.Context) string { return "a" })), second.RateLimit(1, time.Hour), ok)
	engine.GET("/left", first.RateLimit(5, time.Hour, ratelimiter.WithKey(func(*gin.Context) string { return "a" })), func(c *gin.Context) {
		info, _ := ratelimiter.FromContext(c)
		left = info.Remaining
	})
	require.Equal(t, []int{200, 429, 429}, statuses(engine, "/", 3))
	get(engine, "/left")
	require.EqualValues(t, 3, left, "one request was allowed, and this one")
}

func TestExemptAndRateLimitReplaceTheDefaultLimitsOfAllRateLimiters(t *testing.T) {
	engine, _ := application(t, ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "2/hour", "RATELIMITER_APPLICATION_LIMITS": "4/hour"})
	second, err := ratelimiter.New(engine, nil)
	require.NoError(t, err)
	engine.GET("/exempt", second.Exempt(), ok)
	engine.GET("/own", second.RateLimit(3, time.Hour), ok)
	require.Equal(t, []int{200, 200, 200, 200, 200}, statuses(engine, "/exempt", 5))
	require.Equal(t, []int{200, 200, 200, 429}, statuses(engine, "/own", 4))
}

func TestRetryAfterIsTheLongestWait(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.GET("/", limiter.RateLimit(1, time.Minute, ratelimiter.WithLimit(1, 24*time.Hour)), ok)
	get(engine, "/")
	wait, err := strconv.Atoi(header(get(engine, "/"), "Retry-After"))
	require.NoError(t, err)
	require.Greater(t, wait, 3600)
}

func TestThereIsNoRetryAfterIfOneOfTheLimitsNeverAllowsTheRequest(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.GET("/first", limiter.RateLimit(2, time.Minute, byHeader, ratelimiter.WithLimit(3, time.Hour)), ok)
	engine.GET("/second", limiter.RateLimit(3, time.Hour, byHeader, ratelimiter.WithLimit(2, time.Minute)), ok)
	for _, path := range []string{"/first", "/second"} {
		require.Equal(t, 200, get(engine, path, ofCost(2)).Code)
		response := get(engine, path, ofCost(3))
		require.Equal(t, 429, response.Code)
		require.Empty(t, header(response, "Retry-After"), path)
		require.Contains(t, response.Body.String(), "This request costs 3, the limit is 2.", path)
	}
}

// The stricter limit decides, on the shared counter.
func TestLimitsWithTheSameKeyShareACounterOnOneRequest(t *testing.T) {
	engine, limiter := application(t, nil)
	key := ratelimiter.WithKey(func(*gin.Context) string { return "shared" })
	group := engine.Group("/", limiter.RateLimit(func(c *gin.Context) int {
		if c.GetHeader("X-Staff") != "" {
			return ratelimiter.Unlimited
		}
		return 100
	}, time.Hour, key))
	group.GET("/", limiter.RateLimit(func(c *gin.Context) int {
		if c.GetHeader("X-Staff") != "" {
			return 3
		}
		return 100
	}, time.Hour, key), func(c *gin.Context) {
		info, found := ratelimiter.FromContext(c)
		require.True(t, found)
		require.GreaterOrEqual(t, info.Limit, int64(0))
	})
	group.GET("/free", func(c *gin.Context) {
		_, found := ratelimiter.FromContext(c)
		require.Equal(t, c.GetHeader("X-Staff") == "", found)
	})
	require.Equal(t, []int{200, 200, 200, 200}, statuses(engine, "/free", 4))
	staff := withHeader("X-Staff", "yes")
	require.Equal(t, []int{200}, statuses(engine, "/free", 1, staff))
	require.Equal(t, []int{429}, statuses(engine, "/", 1, staff), "four units are used, of a limit of three")
	require.NoError(t, limiter.Reset(t.Context(), "shared", "192.0.2.1"))
	require.Equal(t, []int{200, 200}, statuses(engine, "/", 2), "two units, not four")
	require.Equal(t, []int{200, 429}, statuses(engine, "/", 2, staff))
}

func TestANilRateLimiterPanicsAtRegistration(t *testing.T) {
	var none *ratelimiter.RateLimiter
	require.PanicsWithValue(t, "ratelimiter: RateLimit was called on a nil *RateLimiter; check the error of New", func() { none.RateLimit(1, time.Hour) })
}

func TestAPanicShowsAFunctionAsItsType(t *testing.T) {
	var limiter ratelimiter.RateLimiter
	defer func() { require.Contains(t, fmt.Sprint(recover()), "RateLimit(func(*gin.Context) int, 0s)") }()
	limiter.RateLimit(func(*gin.Context) int { return 1 }, 0)
}

func TestAShadowReplacesTheDefaultLimitsOfNoRateLimiter(t *testing.T) {
	engine, _ := application(t, ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "2/hour"})
	second, err := ratelimiter.New(engine, nil)
	require.NoError(t, err)
	engine.GET("/", second.RateLimit(100, time.Hour, ratelimiter.WithShadow()), ok)
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/", 3))
}

func TestTwoRateLimitersCountTheSameKeyInTheirOwnBackends(t *testing.T) {
	engine, first := application(t, nil)
	second, err := ratelimiter.New(engine, nil)
	require.NoError(t, err)
	key := ratelimiter.WithKey(ratelimiter.Shared("x"))
	engine.GET("/", first.RateLimit(100, time.Hour, key), second.RateLimit(2, time.Hour, key), ok)
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/", 3))
}

func TestExemptCalledInAMiddlewareAppliesToAllRateLimiters(t *testing.T) {
	engine := gin.New()
	var first, second ratelimiter.RateLimiter
	engine.Use(func(c *gin.Context) { second.Exempt()(c) })
	require.NoError(t, first.InitApp(engine, ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "1/hour"}))
	require.NoError(t, second.InitApp(engine, nil))
	engine.GET("/", ok)
	require.Equal(t, []int{200, 200, 200}, statuses(engine, "/", 3))
}

func TestARequestThatALaterLimitCannotDecideIsRefunded(t *testing.T) {
	engine, first := application(t, nil)
	second, err := ratelimiter.New(engine, ratelimiter.Config{"RATELIMITER_BACKEND": broken{}, "RATELIMITER_ON_ERROR": "deny"})
	require.NoError(t, err)
	engine.GET("/", first.RateLimit(3, time.Hour), second.RateLimit(3, time.Hour), ok)
	require.Equal(t, []int{503, 503, 503, 503, 503}, statuses(engine, "/", 5))
}
