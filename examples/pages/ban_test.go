package pages_test

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

// banningApplication is the application of the page ban.md.
func banningApplication(t *testing.T) (*gin.Engine, *ratelimiter.RateLimiter) {
	engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_APPLICATION_LIMITS": "1000/minute"})
	search, admin := ok, engine.Group("/admin")

	engine.GET("/search", limiter.RateLimit(10, time.Minute,
		ratelimiter.WithBan(20, time.Hour, time.Hour, 24*time.Hour, 7*24*time.Hour)), search)

	ban := func(c *gin.Context) {
		if err := limiter.Ban(c.Request.Context(), c.Query("key"), c.Query("scope"), 24*time.Hour); err != nil {
			_ = c.AbortWithError(http.StatusBadGateway, err)
		}
	}
	lift := func(c *gin.Context) {
		if err := limiter.Reset(c.Request.Context(), c.Query("key"), c.Query("scope")); err != nil {
			_ = c.AbortWithError(http.StatusBadGateway, err)
		}
	}
	admin.POST("/bans", limiter.Exempt(), ban)
	admin.DELETE("/bans", limiter.Exempt(), lift)

	engine.GET("/other", ok)
	engine.GET("/banned", limiter.Exempt(), func(c *gin.Context) {
		infos, err := limiter.Status(c.Request.Context(), "GET /search", "203.0.113.9")
		for _, info := range infos {
			if info.Banned {
				c.String(http.StatusOK, "banned for %v", info.RetryAfter)
			}
		}
		require.NoError(t, err)
	})
	return engine, limiter
}

func TestBansOfRepeatOffendersGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, _ := banningApplication(t)
		const day = 24 * time.Hour
		for _, step := range []struct{ comesBack, ban time.Duration }{
			{0, time.Hour}, {59 * time.Minute, day}, {23 * time.Hour, 7 * day}, {6 * day, 7 * day}, {8 * day, time.Hour},
		} {
			pass(step.comesBack)
			statuses(engine, 30, http.MethodGet, "/search", from("203.0.113.9:1"))
			require.Equal(t, "banned for "+step.ban.String(), ask(engine, http.MethodGet, "/banned").Body.String())
			pass(step.ban)
			require.Empty(t, ask(engine, http.MethodGet, "/banned").Body.String())
		}
	})
}

func TestAManualBanIsSetAndLifted(t *testing.T) {
	engine, limiter := banningApplication(t)
	asked := func(path string) int { return ask(engine, http.MethodGet, path, from("203.0.113.9:1")).Code }
	require.Equal(t, 200, asked("/search"))
	const search, everything = "/admin/bans?key=GET+/search&scope=203.0.113.9", "/admin/bans?key=application&scope=203.0.113.9"
	require.Equal(t, 200, ask(engine, http.MethodPost, search).Code)
	require.Equal(t, []int{429, 200}, []int{asked("/search"), asked("/other")})
	require.Equal(t, 200, ask(engine, http.MethodDelete, search).Code)
	require.Equal(t, 200, asked("/search"))
	require.Equal(t, 200, ask(engine, http.MethodPost, everything).Code)
	require.Equal(t, []int{429, 429}, []int{asked("/search"), asked("/other")})
	require.Equal(t, 502, ask(engine, http.MethodPost, "/admin/bans").Code)
	forget := func(ctx context.Context) error {
		err := limiter.ResetAll(ctx)
		return err
	}
	require.NoError(t, forget(t.Context()))
	require.Equal(t, []int{200, 200}, []int{asked("/search"), asked("/other")})
}
