package ratelimiter_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

func TestConfigReturnsTheEffectiveConfigurationWithoutSecrets(t *testing.T) {
	var none ratelimiter.RateLimiter
	require.Nil(t, none.Config())

	_, limiter := application(t, nil)
	require.Equal(t, ratelimiter.Config{
		"RATELIMITER_ENABLED":                  true,
		"RATELIMITER_BACKEND":                  "memory",
		"RATELIMITER_BACKEND_OPTIONS":          map[string]any{},
		"RATELIMITER_KEY_PREFIX":               "rate_limit",
		"RATELIMITER_ALGORITHM":                "sliding-window",
		"RATELIMITER_DEFAULT_LIMITS":           "",
		"RATELIMITER_APPLICATION_LIMITS":       "",
		"RATELIMITER_DEFAULT_OPTIONS":          0,
		"RATELIMITER_APPLICATION_OPTIONS":      0,
		"RATELIMITER_HEADERS":                  "x, draft-11",
		"RATELIMITER_INJECT_X_HEADERS":         true,
		"RATELIMITER_INJECT_RATELIMIT_HEADERS": true,
		"RATELIMITER_PARTITION_SECRET":         "",
		"RATELIMITER_OVER_LIMIT":               "",
		"RATELIMITER_ON_ERROR":                 "fallback",
		"RATELIMITER_FALLBACK_LIMITS":          "",
		"RATELIMITER_ON_UNAVAILABLE":           "",
		"RATELIMITER_TIMEOUT":                  "100ms",
		"RATELIMITER_IPV6_PREFIX":              64,
		"RATELIMITER_TIME_ZONE":                "UTC",
		"RATELIMITER_OBSERVER":                 0,
	}, limiter.Config())

	server := miniredis.RunT(t)
	const password = "redis://hunter2"
	server.RequireAuth(password)
	_, limiter = application(t, ratelimiter.Config{
		"RATELIMITER_BACKEND": "redis",
		"RATELIMITER_BACKEND_OPTIONS": map[string]any{
			"addr": server.Addr(), "password": password, "pool_size": 3, "local_denials": true, "read_timeout": time.Second,
		},
		"RATELIMITER_PARTITION_SECRET": "hunter2 hunter2 hunter2",
		"RATELIMITER_DEFAULT_LIMITS":   "5-s, 100 per 90 seconds",
	})
	defer limiter.AddObserver(&notebook{})()
	require.NoError(t, limiter.Update(ratelimiter.Config{"RATELIMITER_APPLICATION_LIMITS": "9/hour"}))
	config := limiter.Config()
	require.NotContains(t, fmt.Sprint(config), "hunter2")
	require.Equal(t, map[string]any{
		"addr": server.Addr(), "password": "(not shown)", "pool_size": 3, "local_denials": true, "read_timeout": "1s",
	}, config["RATELIMITER_BACKEND_OPTIONS"])
	require.Equal(t, "(not shown)", config["RATELIMITER_PARTITION_SECRET"])
	require.Equal(t, "5/second; 100 per 1m30s", config["RATELIMITER_DEFAULT_LIMITS"])
	require.Equal(t, "9/hour", config["RATELIMITER_APPLICATION_LIMITS"])
	require.Equal(t, 1, config["RATELIMITER_OBSERVER"])

	server.RequireAuth("hunter2")
	_, limiter = application(t, ratelimiter.Config{
		"RATELIMITER_BACKEND":         "redis",
		"RATELIMITER_BACKEND_OPTIONS": map[string]any{"url": "redis://:hunter2@" + server.Addr() + "/1?pool_size=3"},
	})
	require.Equal(t, map[string]any{"url": "redis://" + server.Addr() + "/1"}, limiter.Config()["RATELIMITER_BACKEND_OPTIONS"])

	_, limiter = application(t, ratelimiter.Config{"RATELIMITER_BACKEND": broken{}})
	require.Equal(t, "ratelimiter_test.broken", limiter.Config()["RATELIMITER_BACKEND"])
}

func TestConfigShowsGoValuesByTheirType(t *testing.T) {
	zurich, err := time.LoadLocation("Europe/Zurich")
	require.NoError(t, err)
	_, limiter := application(t, ratelimiter.Config{
		"RATELIMITER_DEFAULT_OPTIONS":     []ratelimiter.Option{ratelimiter.WithShadow(), ratelimiter.WithHeaders(false)},
		"RATELIMITER_APPLICATION_OPTIONS": []ratelimiter.Option{ratelimiter.WithShadow()},
		"RATELIMITER_OVER_LIMIT":          gin.HandlerFunc(ok),
		"RATELIMITER_ON_UNAVAILABLE":      ok,
		"RATELIMITER_TIME_ZONE":           zurich,
	})
	config := limiter.Config()
	require.Equal(t, 2, config["RATELIMITER_DEFAULT_OPTIONS"])
	require.Equal(t, 1, config["RATELIMITER_APPLICATION_OPTIONS"])
	require.Equal(t, "gin.HandlerFunc", config["RATELIMITER_OVER_LIMIT"])
	require.Equal(t, "gin.HandlerFunc", config["RATELIMITER_ON_UNAVAILABLE"])
	require.Equal(t, "Europe/Zurich", config["RATELIMITER_TIME_ZONE"])
	_, err = json.Marshal(config)
	require.NoError(t, err)
}

func TestConfigContainsEveryKeyThatInitAppAccepts(t *testing.T) {
	_, limiter := application(t, nil)
	for name := range limiter.Config() {
		_, err := ratelimiter.New(gin.New(), ratelimiter.Config{name: struct{}{}})
		require.ErrorContains(t, err, name)
		require.NotContains(t, err.Error(), "not known")
	}
	_, err := ratelimiter.New(gin.New(), ratelimiter.Config{"RATELIMITER_COLOUR": 1})
	for name := range limiter.Config() {
		require.ErrorContains(t, err, name, "Config contains exactly the known keys")
	}
}
