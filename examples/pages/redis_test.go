package pages_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/internal/redistest"
	"github.com/stretchr/testify/require"
)

func TestOtherLimitsDuringAnOutageOfRedis(t *testing.T) {
	server := redistest.Single(t)
	config := ratelimiter.Config{
		"RATELIMITER_BACKEND":         "redis",
		"RATELIMITER_BACKEND_OPTIONS": map[string]any{"addr": server.Addr},
		"RATELIMITER_FALLBACK_LIMITS": "20/minute; 5/second",
	}
	engine, limiter := application(t, config)
	engine.GET("/search", limiter.RateLimit(1000, time.Minute), ok)
	engine.POST("/login", limiter.RateLimit(5, time.Hour), ok)

	policies := func(method, path string) string {
		return header(ask(engine, method, path), "RateLimit-Policy")
	}
	require.Equal(t, `"per-minute";q=1000;w=60`, policies(http.MethodGet, "/search"))
	server.Kill()
	redistest.Eventually(t, "this process decides", func(context.Context) bool {
		return policies(http.MethodGet, "/search") == `"per-minute";q=1000;w=60, "fallback-per-minute";q=20;w=60, "fallback-per-second";q=5;w=1`
	})
	require.Contains(t, statuses(engine, 40, http.MethodGet, "/search"), 429)
	require.Contains(t, statuses(engine, 6, http.MethodPost, "/login"), 429)
	server.Start()
	redistest.Eventually(t, "Redis decides", func(context.Context) bool { return !limiter.Health().Open })
	require.Equal(t, `"per-minute";q=1000;w=60`, policies(http.MethodGet, "/search"))
}
