package ratelimiter_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/internal/redistest"
	"github.com/stretchr/testify/require"
)

const fallbackLimits = "RATELIMITER_FALLBACK_LIMITS"

func TestFallbackLimitsApplyWhileRedisIsAway(t *testing.T) {
	server := redistest.Single(t)
	engine, limiter := application(t, ratelimiter.Config{
		"RATELIMITER_BACKEND": "redis", "RATELIMITER_BACKEND_OPTIONS": map[string]any{"addr": server.Addr, "fallback_share": 0.5},
		"RATELIMITER_TIMEOUT": "1m", fallbackLimits: "3/hour; 100/day",
	})
	engine.GET("/", limiter.RateLimit(100, time.Hour), ok)
	engine.GET("/strict", limiter.RateLimit(2, time.Hour), ok)
	require.Equal(t, []int{200, 200, 200, 200, 200}, statuses(engine, "/", 5), "Redis decides")
	require.Equal(t, "94", header(get(engine, "/"), "X-RateLimit-Remaining"))

	server.Kill()
	response := get(engine, "/")
	require.Equal(t, `"per-hour";q=100;w=3600, "fallback-per-hour";q=3;w=3600, "fallback-per-day";q=100;w=86400`, header(response, "RateLimit-Policy"))
	require.Equal(t, "2", header(response, "X-RateLimit-Remaining"), "the share is 50 of the route's limit; it does not apply to the fallback limits")
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/", 3))
	response = get(engine, "/")
	require.Contains(t, response.Body.String(), `"violated-policies":["fallback-per-hour"]`)
	require.Contains(t, response.Body.String(), "3 requests per hour")
	require.NotEmpty(t, header(response, "Retry-After"))
	require.Equal(t, []int{200}, statuses(engine, "/", 1, from("192.0.2.7:1")), "another client")
	require.Equal(t, []int{200, 429}, statuses(engine, "/strict", 2), "a stricter limit still applies")
	require.NoError(t, ignoring(limiter.Reset(t.Context(), "GET /", "192.0.2.1")))
	require.Equal(t, []int{200, 200, 200, 429}, statuses(engine, "/", 4), "Reset reaches what this process counts")

	server.Start()
	redistest.Eventually(t, "Redis decides", func(context.Context) bool { return !limiter.Health().Open })
	require.Equal(t, `"per-hour";q=100;w=3600`, header(get(engine, "/"), "RateLimit-Policy"))
	require.Equal(t, []int{200, 200, 200, 200, 200}, statuses(engine, "/", 5))
}

// ignoring is used for an error that an outage causes.
func ignoring(error) error { return nil }

// outage returns an application with its own backend, which has failed.
func outage(t *testing.T, pairs ...any) (*gin.Engine, *ratelimiter.RateLimiter) {
	config := with(ratelimiter.Config{"RATELIMITER_BACKEND": broken{errors.New("out of order")}, fallbackLimits: "2/hour"}, pairs...)
	return application(t, config)
}

func TestFallbackLimitsAreChargedOncePerRequest(t *testing.T) {
	engine, limiter := outage(t, "RATELIMITER_APPLICATION_LIMITS", "50/hour", "RATELIMITER_DEFAULT_LIMITS", "40/hour",
		"RATELIMITER_DEFAULT_OPTIONS", options(ratelimiter.WithCountIf(func(*gin.Context) bool { return true })))
	seen := notebook{}
	defer limiter.AddObserver(&seen)()
	engine.Group("/", limiter.RateLimit(30, time.Hour)).GET("/two", limiter.RateLimits("20/hour; 10/minute", ratelimiter.WithDefaults()), ok)
	engine.GET("/none", ok)
	engine.GET("/exempt", limiter.Exempt(), ok)
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/two", 3))
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/none", 3))
	require.Equal(t, []int{200, 200, 200}, statuses(engine, "/exempt", 3), "requests without limits have no fallback limits")
	seen.read()
	get(engine, "/two", from("192.0.2.7:1"))
	require.Equal(t, []string{
		"application-per-hour allowed", "fallback-per-hour allowed", "per-hour allowed", "per-hour-2 allowed", "per-minute allowed", "per-hour-3 allowed",
	}, seen.read())
	left, err := limiter.Status(t.Context(), "GET /two", "192.0.2.1")
	require.NoError(t, err)
	for _, info := range left {
		require.NotContains(t, info.Name, "fallback")
	}
}

func TestARequestRejectedElsewhereIsNotChargedToFallbackLimits(t *testing.T) {
	engine, limiter := outage(t, fallbackLimits, "5/hour")
	skip := ratelimiter.WithSkip(func(c *gin.Context) bool { return c.GetHeader("X-Skip") != "" })
	engine.Group("/", limiter.RateLimit(30, time.Hour)).GET("/", limiter.RateLimit(1, time.Hour, skip), ok)
	require.Equal(t, []int{200, 429, 429, 429, 429}, statuses(engine, "/", 5))
	require.Equal(t, []int{200, 200, 200, 200, 429}, statuses(engine, "/", 5, withHeader("X-Skip", "yes")), "one of five units was used")
}

func TestLimitsThatNeverRejectDoNotRejectInAnOutage(t *testing.T) {
	engine, limiter := outage(t)
	engine.GET("/shadow", limiter.RateLimit(9, time.Hour, ratelimiter.WithShadow()), ok)
	engine.GET("/observed", limiter.RateLimit(9, time.Hour, ratelimiter.WithObserveOnly()), ok)
	engine.GET("/unlimited", limiter.RateLimit(ratelimiter.Unlimited, time.Hour), ok)
	engine.GET("/skipped", limiter.RateLimit(9, time.Hour, ratelimiter.WithSkip(func(*gin.Context) bool { return true })), ok)
	for _, path := range []string{"/shadow", "/observed", "/unlimited", "/skipped"} {
		require.Equal(t, []int{200, 200, 200}, statuses(engine, path, 3), path)
	}
}

func TestFallbackLimitsUseTheScopeOfTheDefaultLimits(t *testing.T) {
	engine, limiter := outage(t, "RATELIMITER_DEFAULT_OPTIONS", options(byAccount))
	everyone := ratelimiter.WithScope(ratelimiter.ByEveryone)
	engine.GET("/", limiter.RateLimit(9, time.Hour, everyone), ok)
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/", 3, withHeader("X-Account", "ann")))
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/", 3, withHeader("X-Account", "bob")), "the cost only applies to the route")
}

func TestACostAppliesToTheRouteAndNotToFallbackLimits(t *testing.T) {
	engine, limiter := outage(t)
	engine.GET("/", limiter.RateLimit(100, time.Hour), func(c *gin.Context) {
		require.NoError(t, ratelimiter.SetCost(c, 40))
		infos, err := limiter.Peek(c)
		require.NoError(t, err)
		for _, info := range infos {
			c.String(http.StatusOK, "%s %d; ", info.Name, info.Remaining)
		}
	})
	require.Equal(t, "per-hour 60; fallback-per-hour 1; ", get(engine, "/").Body.String())
	require.Equal(t, "per-hour 20; fallback-per-hour 0; ", get(engine, "/").Body.String())
}

func TestFallbackLimitsAreAnErrorWhereAFailureIsAnsweredOtherwise(t *testing.T) {
	for _, onError := range []string{"allow", "deny"} {
		_, err := ratelimiter.New(gin.New(), ratelimiter.Config{"RATELIMITER_ON_ERROR": onError, fallbackLimits: "3/hour"})
		require.ErrorContains(t, err, fallbackLimits+` has no effect with RATELIMITER_ON_ERROR "`+onError+`"`)
	}
	_, err := ratelimiter.New(gin.New(), ratelimiter.Config{fallbackLimits: "3 hour"})
	require.ErrorContains(t, err, fallbackLimits+": ")
	require.ErrorContains(t, err, "write 3/hour")
	_, limiter := outage(t)
	require.Equal(t, "2/hour", limiter.Config()[fallbackLimits])
	require.ErrorContains(t, limiter.Update(ratelimiter.Config{fallbackLimits: "3/hour"}), "cannot change while the application runs")
}

// One key changes an application from the memory of a process to Redis and back.
func TestFallbackLimitsAreNotCountedInMemoryAlone(t *testing.T) {
	for _, enabled := range []bool{true, false} {
		engine := gin.New()
		limiter, err := ratelimiter.New(engine, ratelimiter.Config{"RATELIMITER_ENABLED": enabled, fallbackLimits: "0/hour"})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, limiter.Close()) })
		engine.GET("/", limiter.RateLimit(5, time.Hour), func(c *gin.Context) { c.Status(http.StatusOK) })
		require.Equal(t, http.StatusOK, get(engine, "/").Code)
	}
}

func TestCountIfRefundsARequestThatFallbackLimitsAllow(t *testing.T) {
	engine, limiter := outage(t, fallbackLimits, "9/hour")
	engine.GET("/", limiter.RateLimit(1, time.Hour, ratelimiter.WithCountIf(func(*gin.Context) bool { return false })), ok)
	require.Equal(t, []int{200, 200, 200}, statuses(engine, "/", 3))
}

func TestARequestThatFallbackLimitsRejectIsNotChargedToDefaultLimits(t *testing.T) {
	engine, limiter := outage(t, fallbackLimits, "1/hour", "RATELIMITER_DEFAULT_LIMITS", "9/hour")
	engine.GET("/", limiter.RateLimit(9, time.Hour, ratelimiter.WithDefaults()), ok)
	require.Equal(t, []int{200, 429, 429}, statuses(engine, "/", 3))
	infos, err := limiter.Status(t.Context(), "GET /", "192.0.2.1")
	require.NoError(t, err)
	require.Len(t, infos, 2)
	for _, info := range infos {
		require.EqualValues(t, 8, info.Remaining, info.Name)
	}
}
