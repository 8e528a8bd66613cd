package dashboard

import (
	"errors"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
)

func TestTheStatusIsOneLine(t *testing.T) {
	began := time.Unix(1_000_000, 0)
	well := backends.Health{Since: began}
	down := backends.Health{Since: began, Open: true, Err: errors.New("refused")}
	config := func(more ratelimiter.Config) ratelimiter.Config {
		c := ratelimiter.Config{"RATELIMITER_ENABLED": true, "RATELIMITER_BACKEND": "redis", "RATELIMITER_ON_ERROR": "fallback", "RATELIMITER_ON_UNAVAILABLE": ""}
		for key, value := range more {
			c[key] = value
		}
		return c
	}
	for name, test := range map[string]struct {
		config  ratelimiter.Config
		health  backends.Health
		failing *outage
		want    status
	}{
		"before InitApp": {nil, backends.Health{}, nil, status{levelIdle, "Not started", "waiting for InitApp", 0, ""}},
		"off": {config(ratelimiter.Config{"RATELIMITER_ENABLED": false}), backends.Health{}, nil,
			status{levelWarn, "Off", "RATELIMITER_ENABLED is false, every request is allowed", 0, ""}},
		"memory": {config(ratelimiter.Config{"RATELIMITER_BACKEND": "memory"}), backends.Health{}, nil,
			status{levelOK, "Healthy", "memory, not shared", 0, ""}},
		"redis": {config(nil), well, nil, status{levelOK, "Healthy", "Redis, shared", 0, ""}},
		"a backend of the application": {config(ratelimiter.Config{"RATELIMITER_BACKEND": "*store.Backend"}), well, nil,
			status{levelOK, "Healthy", "store.Backend, shared", 0, ""}},
		"an outage with fallback": {config(nil), down, nil,
			status{levelWarn, "Degraded", "Redis unavailable", 1_000_000, "limiting in memory"}},
		"an outage with allow": {config(ratelimiter.Config{"RATELIMITER_ON_ERROR": "allow"}), down, nil,
			status{levelBad, "Failing", "Redis unavailable", 1_000_000, "allowing requests without limits"}},
		"an outage with deny": {config(ratelimiter.Config{"RATELIMITER_ON_ERROR": "deny"}), down, nil,
			status{levelBad, "Failing", "Redis unavailable", 1_000_000, "rejecting requests with status 503"}},
		"an outage with a handler": {config(ratelimiter.Config{"RATELIMITER_ON_ERROR": "deny", "RATELIMITER_ON_UNAVAILABLE": "gin.HandlerFunc"}), down, nil,
			status{levelBad, "Failing", "Redis unavailable", 1_000_000, "rejecting requests with RATELIMITER_ON_UNAVAILABLE"}},
		"some calls fail": {config(nil), well, &outage{1_000_007, 1_000_009},
			status{levelWarn, "Degraded", "Redis failing intermittently", 1_000_007, "limiting in memory"}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, test.want, statusOf(test.config, test.health, test.failing))
		})
	}
}

func TestTheStatusUsesTheConfigurationOfTheLimiter(t *testing.T) {
	gin.SetMode(gin.TestMode)
	var limiter ratelimiter.RateLimiter
	h := New(&limiter)
	defer h.Close()
	require.Equal(t, "Not started", h.snapshot(true).Status.Word)
	require.NoError(t, limiter.InitApp(gin.New(), nil))
	require.Equal(t, "memory, not shared", h.snapshot(true).Status.What)
	require.NoError(t, limiter.Close())
	require.NoError(t, limiter.InitApp(gin.New(), ratelimiter.Config{"RATELIMITER_ENABLED": false}))
	require.Equal(t, "Off", h.snapshot(true).Status.Word)
}

func TestTheAddressOfTheBackend(t *testing.T) {
	for _, test := range []struct {
		options map[string]any
		want    string
	}{
		{map[string]any{"url": "redis://redis.example/3"}, "redis://redis.example/3"},
		{map[string]any{"addr": "redis.example:6380", "password": "(not shown)"}, "redis.example:6380"},
		{map[string]any{"addrs": []string{"a.example:1", "b.example:2"}, "cluster": true}, "a.example:1, b.example:2"},
		{map[string]any{"host": "redis.example", "port": 6380}, "redis.example:6380"},
		{map[string]any{"host": "redis.example"}, "redis.example"},
		{map[string]any{"client": "*redis.Client"}, ""},
	} {
		require.Equal(t, test.want, backendAddress(ratelimiter.Config{"RATELIMITER_BACKEND_OPTIONS": test.options}))
	}
	require.Empty(t, backendAddress(nil))
}
