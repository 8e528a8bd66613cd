package ratelimiter_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

// A rejection and its headers must be accurate.

func TestThereIsNoRetryAfterIfWaitingDoesNotHelp(t *testing.T) {
	engine, limiter := application(t, nil)
	six := ratelimiter.WithCost(6)
	engine.GET("/dear", limiter.RateLimit(5, time.Minute, six), ok)
	engine.GET("/several", limiter.RateLimit(5, time.Minute, six, ratelimiter.WithLimit(100, time.Hour)), ok)
	engine.GET("/burst", limiter.RateLimit(100, time.Minute, ratelimiter.WithBurst(4), six), ok)
	engine.GET("/none", limiter.RateLimit(0, time.Minute), ok)
	engine.GET("/over", limiter.RateLimit(0, time.Minute, ratelimiter.WithOverLimit(func(c *gin.Context) { c.String(429, "no") })), ok)
	for path, detail := range map[string]string{
		"/dear":    "This request costs 6, the limit is 5.",
		"/several": "This request costs 6, the limit is 5.",
		"/burst":   "This request costs 6, the limit is 4.",
		"/none":    "No requests are allowed here at present.",
		"/over":    "no",
	} {
		for range 2 {
			response := get(engine, path)
			require.Equal(t, 429, response.Code, path)
			require.Empty(t, response.Header().Values("Retry-After"), path)
			require.Contains(t, response.Body.String(), detail, path)
		}
	}
}

func TestWithABurstTheHeadersShowTheBurst(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.GET("/", limiter.RateLimit(60, time.Hour, ratelimiter.WithBurst(3)), ok)
	engine.GET("/more", limiter.RateLimit(func(*gin.Context) int { return 3 }, time.Hour, ratelimiter.WithBurst(60), ratelimiter.WithLimit(1000, time.Minute, ratelimiter.WithAlgorithm(ratelimiter.FixedWindow))), ok)
	for _, remaining := range []string{"2", "1", "0"} {
		response := get(engine, "/")
		require.Equal(t, "3", header(response, "X-RateLimit-Limit"))
		require.Equal(t, remaining, header(response, "X-RateLimit-Remaining"))
	}
	response := get(engine, "/more")
	require.Equal(t, []string{"60", "59"}, []string{header(response, "X-RateLimit-Limit"), header(response, "X-RateLimit-Remaining")})
}

func TestAfterARefundTheHeadersAndPeekAgree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no minute ends
		engine, limiter := application(t, nil)
		failed := ratelimiter.WithCountIf(func(c *gin.Context) bool { return c.Writer.Status() >= 400 })
		var peeked []ratelimiter.Info
		engine.Use(func(c *gin.Context) {
			c.Next()
			peeked, _ = limiter.Peek(c)
		})
		limits := []gin.HandlerFunc{limiter.RateLimit(100, time.Minute), limiter.RateLimit(5, time.Hour, failed, ratelimiter.WithLimit(50, time.Second))}
		engine.GET("/later", append(limits, func(c *gin.Context) { c.Status(204) })...)
		engine.GET("/begun", append(limits, ok)...)
		response := get(engine, "/later")
		require.Equal(t, 204, response.Code)
		require.Equal(t, []string{"5", "5"}, []string{header(response, "X-RateLimit-Limit"), header(response, "X-RateLimit-Remaining")})
		left := parameters(t, response.Header().Values("RateLimit"))
		require.Equal(t, []any{int64(99), int64(5), int64(50)}, []any{left["per-minute"]["r"], left["per-hour"]["r"], left["per-second"]["r"]})
		for i, want := range []int64{99, 5, 50} {
			require.Equal(t, want, peeked[i].Remaining)
		}
		require.Equal(t, "4", header(get(engine, "/begun"), "X-RateLimit-Remaining"), "a response that has begun cannot change")
	})
}

func TestCountIfHasToBeRegisteredOnTheRoute(t *testing.T) {
	engine, limiter := application(t, nil)
	limit := limiter.RateLimit(1, time.Hour, ratelimiter.WithCountIf(func(*gin.Context) bool { return false }))
	var panicked any
	engine.GET("/inline", func(c *gin.Context) {
		defer func() { panicked = recover() }()
		limit(c)
	})
	engine.GET("/", limit, ok)
	get(engine, "/inline")
	require.Contains(t, panicked, "register the RateLimit on the route")
	require.Equal(t, []int{200, 200}, statuses(engine, "/", 2))
}

func TestADisconnectedClientIsNotLoggedAsAnError(t *testing.T) {
	for _, backend := range []any{"memory", broken{}} {
		engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_BACKEND": backend, "RATELIMITER_ON_ERROR": "deny"})
		var status int
		var reported []*gin.Error
		engine.Use(func(c *gin.Context) {
			c.Next()
			status, reported = c.Writer.Status(), c.Errors
		})
		engine.GET("/", limiter.RateLimit(1, time.Hour), ok)
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		response := get(engine, "/", func(r *http.Request) { *r = *r.WithContext(cancelled) })
		require.Equal(t, 499, status, "as nginx logs it")
		require.Empty(t, reported)
		require.Empty(t, response.Body.String())
	}
}

func TestARequestPastItsDeadlineIsAnswered503(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_ON_ERROR": "deny"})
		engine.GET("/", limiter.RateLimit(1, time.Hour), ok)
		late, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		pass(2 * time.Second)
		require.Equal(t, 503, get(engine, "/", func(r *http.Request) { *r = *r.WithContext(late) }).Code)
	})
}

func TestCountIfWorksAfterARateLimitCalledByAMiddleware(t *testing.T) {
	engine, limiter := application(t, nil)
	inline := limiter.RateLimit(100, time.Hour)
	engine.Use(func(c *gin.Context) { inline(c) })
	engine.GET("/", limiter.RateLimit(2, time.Hour, ratelimiter.WithCountIf(func(*gin.Context) bool { return false })), ok)
	require.Equal(t, []int{200, 200, 200}, statuses(engine, "/", 3))
}

func TestARejectionWithoutHeadersKeepsTheXHeadersOfEarlierLimitsCorrect(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.GET("/", limiter.RateLimit(5, time.Hour), limiter.RateLimit(1, time.Hour, ratelimiter.WithHeaders(false)), ok)
	require.Equal(t, "4", header(get(engine, "/"), "X-RateLimit-Remaining"))
	require.Equal(t, "4", header(get(engine, "/"), "X-RateLimit-Remaining"))
}

func TestAfterARefundTheXHeadersShowTheStrictestLimit(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.GET("/", limiter.RateLimit(10, time.Hour, ratelimiter.WithCountIf(func(*gin.Context) bool { return false })), limiter.RateLimit(3, time.Hour), func(c *gin.Context) { c.Status(204) })
	w := get(engine, "/")
	require.Equal(t, "3", header(w, "X-RateLimit-Limit"))
	require.Equal(t, "2", header(w, "X-RateLimit-Remaining"))
}
