package ratelimiter_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

func TestAShadowNeverRejectsAndIsReported(t *testing.T) {
	engine, limiter := application(t, nil)
	var seen []ratelimiter.Info
	engine.GET("/", limiter.RateLimit(1, time.Hour, ratelimiter.WithShadow()), func(c *gin.Context) {
		info, found := ratelimiter.FromContext(c)
		require.True(t, found)
		seen = append(seen, info)
	})
	require.Equal(t, []int{200, 200, 200}, statuses(engine, "/", 3))
	for i, info := range seen {
		require.True(t, info.Shadow)
		require.Equal(t, i > 0, info.Exceeded)
		require.Equal(t, "shadow-per-hour", info.Name)
	}
	headers := get(engine, "/").Header()
	for _, name := range []string{"RateLimit", "RateLimit-Policy", "X-RateLimit-Limit", "Retry-After"} {
		require.Empty(t, headers[name], "a client should not slow down for a shadow limit")
	}
}

func TestAShadowDoesNotAffectAnEnforcedLimit(t *testing.T) {
	engine, limiter := application(t, nil)
	var shadows []bool
	engine.GET("/", limiter.RateLimit(3, time.Hour, ratelimiter.WithLimit(1, time.Hour, ratelimiter.WithShadow())), func(c *gin.Context) {
		info, _ := ratelimiter.FromContext(c)
		require.False(t, info.Shadow, "the enforced limit comes first")
		infos, err := limiter.Peek(c)
		require.NoError(t, err)
		require.Len(t, infos, 2)
		require.EqualValues(t, 1, infos[1].Limit)
		shadows = append(shadows, infos[1].Exceeded)
	})
	response := get(engine, "/")
	require.Equal(t, `"per-hour";q=3;w=3600`, header(response, "RateLimit-Policy"))
	require.Regexp(t, `^"per-hour";r=2;t=\d+$`, header(response, "RateLimit"))
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/", 3))
	require.Equal(t, []bool{true, true, true}, shadows)
}

func TestTwoShadowsWithOnePeriodPanicInAnyOrder(t *testing.T) {
	var limiter ratelimiter.RateLimiter
	shadow := ratelimiter.WithLimit(5, time.Hour, ratelimiter.WithShadow())
	for _, options := range [][]ratelimiter.Option{{shadow, ratelimiter.WithShadow()}, {ratelimiter.WithShadow(), shadow}} {
		require.PanicsWithValue(t, "ratelimiter: WithLimit was given a limit per 1h0m0s, but there already is a limit per 1h0m0s with this key and scope; remove one of them",
			func() { limiter.RateLimit(9, time.Hour, options...) })
	}
}

func TestAShadowLetsACancelledRequestReachItsHandler(t *testing.T) {
	for _, option := range []ratelimiter.Option{ratelimiter.WithShadow(), ratelimiter.WithObserveOnly()} {
		for _, end := range []func(context.Context) context.Context{
			func(ctx context.Context) context.Context { c, cancel := context.WithCancel(ctx); cancel(); return c },
			func(ctx context.Context) context.Context {
				c, cancel := context.WithTimeout(ctx, -1)
				cancel()
				return c
			},
		} {
			engine, limiter := application(t, nil)
			ran := false
			engine.GET("/", func(c *gin.Context) { c.Request = c.Request.WithContext(end(c.Request.Context())) },
				limiter.RateLimit(5, time.Hour, option), func(c *gin.Context) { ran = true; c.Status(http.StatusNoContent) })
			w := get(engine, "/")
			require.True(t, ran, w.Code)
		}
	}
}
