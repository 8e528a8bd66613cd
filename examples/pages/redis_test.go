package pages_test

import (
	"context"
	"maps"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
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

// accepts tells what InitApp says to a configuration, without a connection to anything.
func accepts(config ratelimiter.Config) error {
	config = maps.Clone(config)
	config["RATELIMITER_ENABLED"] = false
	limiter, err := ratelimiter.New(gin.New(), config)
	if err != nil {
		return err
	}
	return limiter.Close()
}

func inRedis(options map[string]any) ratelimiter.Config {
	return ratelimiter.Config{"RATELIMITER_BACKEND": "redis", "RATELIMITER_BACKEND_OPTIONS": options}
}

func TestTheConfigurationsForRedisAreRight(t *testing.T) {
	t.Run("one server", func(t *testing.T) {
		config := ratelimiter.Config{
			"RATELIMITER_BACKEND":         "redis",
			"RATELIMITER_BACKEND_OPTIONS": map[string]any{"url": "rediss://limiter:password@redis.example:6380/0"},
			"RATELIMITER_KEY_PREFIX":      "shop",
		}
		require.NoError(t, accepts(config))
	})
	t.Run("Sentinel", func(t *testing.T) {
		options := map[string]any{"addrs": "sentinel-1.example:26379, sentinel-2.example:26379", "master_name": "limits"}
		require.NoError(t, accepts(inRedis(options)))
	})
	t.Run("Cluster", func(t *testing.T) {
		options := map[string]any{"addrs": "redis-1.example:6379, redis-2.example:6379, redis-3.example:6379"}
		require.NoError(t, accepts(inRedis(options)))
	})
	require.Error(t, accepts(inRedis(map[string]any{"addrs": "redis-1.example:6379", "master": "limits"})), "options are checked")
}

func TestThePermissionsOnThePageAreEnough(t *testing.T) {
	text, err := os.ReadFile("../../docs/redis.md")
	require.NoError(t, err)
	shown := regexp.MustCompile(`(?m)^ACL SETUSER .*$`).FindString(string(text))
	require.NotEmpty(t, shown)
	server := redistest.Single(t)
	setUser := func(rules string) {
		var command []any
		for word := range strings.FieldsSeq(rules) {
			command = append(command, word)
		}
		require.NoError(t, server.Client().Do(t.Context(), command...).Err())
	}
	setUser(shown)
	config := inRedis(map[string]any{"addr": server.Addr, "username": "limiter", "password": "password"})
	config["RATELIMITER_ON_ERROR"], config["RATELIMITER_TIMEOUT"] = "deny", time.Minute
	engine, limiter := application(t, config)
	engine.GET("/", limiter.RateLimit(2, time.Hour, ratelimiter.WithLimit(3, 24*time.Hour)), ok)
	require.Equal(t, []int{200, 200, 429}, statuses(engine, 3, http.MethodGet, "/"))
	require.Error(t, limiter.ResetAll(t.Context()), "needs more")
	setUser("ACL SETUSER limiter +scan +unlink")
	require.NoError(t, limiter.ResetAll(t.Context()))
	require.Equal(t, []int{200}, statuses(engine, 1, http.MethodGet, "/"))
}
