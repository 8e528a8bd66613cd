package ratelimiter_test

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

func TestStatusReturnsWhatAScopeHasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no minute ends
		engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "9/hour"})
		group := engine.Group("/", limiter.RateLimit(50, time.Hour, ratelimiter.WithName("group")))
		group.GET("/", limiter.RateLimit(5, time.Hour,
			ratelimiter.WithLimit(3, time.Minute), ratelimiter.WithLimit(2, time.Hour, ratelimiter.WithShadow()),
			ratelimiter.WithLimit(func(*gin.Context) int { return 1000 }, time.Second)), ok)
		engine.GET("/default", ok)

		_, err := limiter.Status(t.Context(), "GET /", "192.0.2.1")
		require.ErrorIs(t, err, ratelimiter.ErrUnknownKey)
		require.Equal(t, []int{200, 200}, statuses(engine, "/", 2))
		left := func(key, scope string) map[string]int64 {
			infos, err := limiter.Status(t.Context(), key, scope)
			require.NoError(t, err)
			found := map[string]int64{}
			for _, info := range infos {
				require.Equal(t, []any{key, scope, info.Remaining == 0}, []any{info.Key, info.Scope, info.Exceeded})
				found[info.Name] = info.Remaining
			}
			return found
		}
		for range 2 { // Status charges nothing
			require.Equal(t, map[string]int64{"group": 48, "per-hour": 3, "per-minute": 1, "shadow-per-hour": 0}, left("GET /", "192.0.2.1"))
			require.Equal(t, map[string]int64{"group": 50, "per-hour": 5, "per-minute": 3, "shadow-per-hour": 2}, left("GET /", "192.0.2.2"))
		}
		require.NoError(t, limiter.Reset(t.Context(), "GET /", "192.0.2.1"))
		require.Equal(t, map[string]int64{"group": 50, "per-hour": 5, "per-minute": 3, "shadow-per-hour": 2}, left("GET /", "192.0.2.1"))

		get(engine, "/default")
		require.Equal(t, []string{"GET /", "GET /default"}, limiter.Keys())
		require.Equal(t, map[string]int64{"per-hour": 8}, left("GET /default", "192.0.2.1"))
		require.NoError(t, limiter.Update(ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "7/hour; 20/day"}))
		get(engine, "/default")
		require.Equal(t, map[string]int64{"per-hour": 5, "per-day": 19}, left("GET /default", "192.0.2.1"), "with the current limits")
		engine.GET("/made/:up", limiter.RateLimit(1, time.Hour, ratelimiter.WithKey(ratelimiter.ByParam("up"))), ok)
		for n := range 1030 {
			get(engine, "/made/"+strconv.Itoa(n))
		}
		require.Equal(t, map[string]int64{"per-hour": 0}, left("1023", "192.0.2.1"))
		_, err = limiter.Status(t.Context(), "1024", "192.0.2.1")
		require.ErrorIs(t, err, ratelimiter.ErrUnknownKey, "the number of keys is bounded")

		engine.GET("/plan", limiter.RateLimit(func(*gin.Context) int { return 5 }, time.Hour), ok)
		get(engine, "/plan")
		_, err = limiter.Status(t.Context(), "GET /plan", "192.0.2.1")
		require.ErrorIs(t, err, ratelimiter.ErrUnknownKey, "a function determines it")
		require.Contains(t, limiter.Keys(), "GET /plan", "but Reset accepts it")

		var none ratelimiter.RateLimiter
		_, err = none.Status(t.Context(), "", "")
		require.ErrorIs(t, err, ratelimiter.ErrNotInitialised)
	})
}
