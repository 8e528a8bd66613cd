package ratelimiter_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

// A banned client floods the limiter with made-up scopes, to be forgotten in a full memory.
func TestNoFloodOfMadeUpScopesLiftsABan(t *testing.T) {
	for name, flood := range map[string]struct {
		requests int // of each made-up scope: within the limit, over it, or banned themselves
		by       ratelimiter.Option
	}{
		"within the limit": {1, ratelimiter.WithBan(2, time.Hour, time.Hour)},
		"over the limit":   {4, ratelimiter.WithBan(9, time.Hour, time.Hour)},
		"banned":           {4, ratelimiter.WithBan(2, time.Hour, time.Hour)},
		"growing bans":     {4, ratelimiter.WithBan(2, time.Hour, time.Hour, 2*time.Hour)},
	} {
		engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_BACKEND_OPTIONS": map[string]any{"max_keys": 256}})
		engine.GET("/", limiter.RateLimit(2, time.Minute, ratelimiter.WithScope(ratelimiter.ByHeader("X-User")), flood.by), ok)
		statuses(engine, "/", 12, withHeader("X-User", "attacker"))
		banned := func() bool {
			response := get(engine, "/", withHeader("X-User", "attacker"))
			retry, err := time.ParseDuration(header(response, "Retry-After") + "s")
			require.NoError(t, err)
			return response.Code == 429 && retry > 2*time.Minute
		}
		require.True(t, banned(), name)
		for i := range 1500 {
			statuses(engine, "/", flood.requests, withHeader("X-User", fmt.Sprintf("made up %d", i)))
		}
		require.True(t, banned(), name)
		for i := range 20 {
			require.Equal(t, 200, get(engine, "/", withHeader("X-User", fmt.Sprintf("ann %d", i))).Code, "%s: a newcomer has one request", name)
		}
	}
}

// A ban by hand is refused where there is no room for it, and never silently lost.
func TestABanByHandIsKeptOrRefusedWhileMadeUpScopesFillTheMemory(t *testing.T) {
	engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_BACKEND_OPTIONS": map[string]any{"max_keys": 64}})
	engine.GET("/", limiter.RateLimit(100, time.Minute, ratelimiter.WithScope(ratelimiter.ByHeader("X-User"))), func(*gin.Context) {})
	var kept []string
	for i := range 500 {
		user := fmt.Sprintf("user%d", i)
		if limiter.Ban(t.Context(), "GET /", user, time.Hour) == nil {
			kept = append(kept, user)
		}
		statuses(engine, "/", 3, withHeader("X-User", "made up "+user))
	}
	require.Greater(t, len(kept), 30)
	for _, user := range kept {
		require.Equal(t, 429, get(engine, "/", withHeader("X-User", user)).Code, user)
	}
}
