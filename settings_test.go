package ratelimiter_test

import (
	"maps"
	"net/http"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/internal/redistest"
	"github.com/stretchr/testify/require"
)

func TestADisabledLimiterConnectsToNothing(t *testing.T) {
	server := miniredis.RunT(t)
	server.RequireAuth("right")
	ratelimiter.RegisterBackend("dialling", func(map[string]any) (backends.Backend, error) {
		t.Error("the factory was called")
		return nil, http.ErrServerClosed
	})
	t.Cleanup(func() { ratelimiter.RegisterBackend("dialling", nil) })
	closed, err := backends.NewMemory(nil)
	require.NoError(t, err)
	require.NoError(t, closed.Close(), "a call now returns an error")
	for name, config := range map[string]ratelimiter.Config{
		"Redis": {"RATELIMITER_BACKEND": "redis", "RATELIMITER_BACKEND_OPTIONS": map[string]any{
			"addr": server.Addr(), "password": "wrong", "min_idle_conns": 5, "fallback_share": 0.5,
		}},
		"Redis by its older name": {"RATELIMITER_BACKEND": "SimpleRedisBackend", "RATELIMITER_BACKEND_OPTIONS": map[string]any{"addr": server.Addr()}},
		"a registered backend":    {"RATELIMITER_BACKEND": "dialling", "RATELIMITER_BACKEND_OPTIONS": map[string]any{"colour": "red"}},
		"one that was passed in":  {"RATELIMITER_BACKEND": closed},
		"memory":                  {"RATELIMITER_BACKEND_OPTIONS": map[string]any{"max_keys": 10}},
	} {
		t.Run(name, func(t *testing.T) {
			config["RATELIMITER_ENABLED"] = false
			config["RATELIMITER_DEFAULT_LIMITS"] = "1/hour"
			engine, limiter := application(t, config)
			engine.GET("/", limiter.RateLimit(1, time.Hour), ok)
			require.Equal(t, []int{200, 200}, statuses(engine, "/", 2))
			require.NoError(t, limiter.Reset(t.Context(), "GET /", "192.0.2.1"))
			require.True(t, backends.InProcess(limiter.Backend()))
			require.NotSame(t, closed, limiter.Backend())
			require.Zero(t, limiter.Health())
			require.Equal(t, config["RATELIMITER_BACKEND"] == nil, limiter.Config()["RATELIMITER_BACKEND"] == "memory", "Config shows the configured backend")
			require.NoError(t, limiter.Update(ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "2/hour"}))
		})
	}
	require.Zero(t, server.TotalConnectionCount())
}

func TestTheConfigurationOfADisabledLimiterIsChecked(t *testing.T) {
	var none *nilBackend
	for want, config := range map[string]ratelimiter.Config{
		`"RATELIMITER_TIMEOUT"`:          {"RATELIMITER_TIMEOT": "1s"},
		"RATELIMITER_IPV6_PREFIX is 200": {"RATELIMITER_IPV6_PREFIX": 200},
		"RATELIMITER_DEFAULT_LIMITS":     {"RATELIMITER_DEFAULT_LIMITS": "many"},
		`did you mean "redis"?`:          {"RATELIMITER_BACKEND": "radis"},
		`did you mean "port"?`:           {"RATELIMITER_BACKEND": "redis", "RATELIMITER_BACKEND_OPTIONS": map[string]any{"prot": 1}},
		`did you mean "max_keys"?`:       {"RATELIMITER_BACKEND_OPTIONS": map[string]any{"max_key": 1}},
		"greater than 0 and at most 1":   {"RATELIMITER_BACKEND": "redis", "RATELIMITER_BACKEND_OPTIONS": map[string]any{"fallback_share": 2}},
		"has no effect": {"RATELIMITER_BACKEND": "redis", "RATELIMITER_ON_ERROR": "deny",
			"RATELIMITER_BACKEND_OPTIONS": map[string]any{"fallback_share": 0.5}},
		"RATELIMITER_BACKEND is missing": {"RATELIMITER_BACKEND_OPTIONS": map[string]any{"fallback_share": 0.5}},
		"is a nil *":                     {"RATELIMITER_BACKEND": none},
		"remove them":                    {"RATELIMITER_BACKEND": broken{}, "RATELIMITER_BACKEND_OPTIONS": map[string]any{"x": 1}},
	} {
		config = maps.Clone(config)
		config["RATELIMITER_ENABLED"] = false
		_, err := ratelimiter.New(gin.New(), config)
		require.ErrorContains(t, err, want)
	}
}

func TestInitAppFailsIfTheRedisUserCannotAccessThePrefix(t *testing.T) {
	server := redistest.Single(t, "--user", "limiter", "on", ">pa55", "~shop/*", "+@all")
	options := map[string]any{"addr": server.Addr, "username": "limiter", "password": "pa55"}
	_, err := ratelimiter.New(gin.New(), ratelimiter.Config{"RATELIMITER_BACKEND": "redis", "RATELIMITER_BACKEND_OPTIONS": options})
	require.ErrorContains(t, err, "RATELIMITER_BACKEND")
	require.ErrorContains(t, err, "permissions")
	require.ErrorContains(t, err, "rate_limit/")

	made, err := backends.NewRedis(options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, made.Close()) })
	_, err = ratelimiter.New(gin.New(), ratelimiter.Config{"RATELIMITER_BACKEND": made})
	require.ErrorContains(t, err, "permissions")
	require.NoError(t, backends.CheckAccess(t.Context(), made, "shop/breaker"), "the client is still open")

	engine, limiter := application(t, ratelimiter.Config{
		"RATELIMITER_BACKEND": "redis", "RATELIMITER_BACKEND_OPTIONS": options, "RATELIMITER_KEY_PREFIX": "shop",
		"RATELIMITER_TIMEOUT": "1m",
	})
	keys, err := server.Client().Keys(t.Context(), "*").Result()
	require.NoError(t, err)
	require.Empty(t, keys)
	engine.GET("/", limiter.RateLimit(1, time.Hour), ok)
	require.Equal(t, []int{200, 429}, statuses(engine, "/", 2))
}

func TestInitAppSucceedsWhileRedisHangs(t *testing.T) {
	server := redistest.Single(t)
	server.Pause()
	engine, limiter := application(t, ratelimiter.Config{
		"RATELIMITER_BACKEND": "redis", "RATELIMITER_BACKEND_OPTIONS": map[string]any{"addr": server.Addr},
	})
	engine.GET("/", limiter.RateLimit(1, time.Hour), ok)
	require.Equal(t, []int{200, 429}, statuses(engine, "/", 2), "this process counts in its own memory")
}

func TestTheShortestTimeoutIsAMillisecond(t *testing.T) {
	_, limiter := application(t, ratelimiter.Config{"RATELIMITER_TIMEOUT": time.Millisecond})
	require.Equal(t, "1ms", limiter.Config()["RATELIMITER_TIMEOUT"])
	_, err := ratelimiter.New(gin.New(), ratelimiter.Config{"RATELIMITER_TIMEOUT": time.Millisecond - 1})
	require.ErrorContains(t, err, "1ms or more")
}
