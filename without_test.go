package ratelimiter_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

func TestARouteCanDisableOneKindOfConfiguredLimits(t *testing.T) {
	onEveryBackend(t, func(t *testing.T, config ratelimiter.Config) {
		engine, limiter := application(t, with(config, "RATELIMITER_DEFAULT_LIMITS", "50/day", "RATELIMITER_APPLICATION_LIMITS", "60/day"))
		unlimited := func(options ...ratelimiter.Option) gin.HandlerFunc {
			return limiter.RateLimit(ratelimiter.Unlimited, time.Hour, options...)
		}
		without := engine.Group("/without", unlimited(ratelimiter.WithoutDefaults(), ratelimiter.WithoutApplication()))
		for path, handler := range map[string]gin.HandlerFunc{
			"/nothing":     unlimited(),
			"/defaults":    unlimited(ratelimiter.WithoutDefaults()),
			"/application": unlimited(ratelimiter.WithoutApplication()),
			"/both":        unlimited(ratelimiter.WithoutApplication(), ratelimiter.WithoutDefaults()),
			"/own":         limiter.RateLimits("9/hour", ratelimiter.WithoutApplication()),
			"/last":        unlimited(ratelimiter.WithDefaults(), ratelimiter.WithoutDefaults()),
		} {
			engine.GET(path, handler, ok)
		}
		without.GET("/route", unlimited(), ok)
		without.GET("/kept", unlimited(ratelimiter.WithDefaults()), ok)
		without.GET("/replaced", unlimited(ratelimiter.WithoutGroup()), ok)
		const defaults, app = `"per-day";q=50;w=86400`, `"application-per-day";q=60;w=86400`
		for path, want := range map[string]string{
			"/nothing":          app + ", " + defaults,
			"/defaults":         app,
			"/application":      defaults,
			"/both":             "",
			"/own":              `"per-hour";q=9;w=3600`,
			"/last":             app,
			"/without/route":    "",
			"/without/kept":     defaults,
			"/without/replaced": app + ", " + defaults,
		} {
			require.Equal(t, want, header(get(engine, path), "RateLimit-Policy"), path)
		}
		left, err := limiter.Status(t.Context(), "application", "192.0.2.1")
		require.NoError(t, err)
		require.Equal(t, int64(60-4), left[0].Remaining)
	})
}

func TestARouteCanReplaceTheLimitsOfItsGroup(t *testing.T) {
	onEveryBackend(t, func(t *testing.T, config ratelimiter.Config) {
		engine, limiter := application(t, config)
		seen := notebook{}
		defer limiter.AddObserver(&seen)()
		engine.Use(limiter.RateLimit(100, time.Hour))
		group := engine.Group("/", limiter.RateLimits("2/hour; 50/day", ratelimiter.WithDefaults()))
		group.GET("/usual", ok)
		group.GET("/more", limiter.RateLimit(3, time.Hour, ratelimiter.WithoutGroup()), ok)
		group.GET("/beside", limiter.RateLimits("4/hour", ratelimiter.WithoutGroup()), limiter.RateLimit(1, time.Minute), ok)
		group.GET("/first", limiter.RateLimit(1, time.Minute), limiter.RateLimits("4/hour", ratelimiter.WithoutGroup(), ratelimiter.WithoutApplication()), ok)

		require.Equal(t, []int{200, 200, 429}, statuses(engine, "/usual", 3))
		require.Equal(t, []int{200, 200, 200, 429}, statuses(engine, "/more", 4))
		require.Equal(t, `"per-hour";q=3;w=3600`, header(get(engine, "/more"), "RateLimit-Policy"), "the others and their names are gone")
		require.Equal(t, []int{200, 429}, statuses(engine, "/beside", 2), "later RateLimits apply")
		require.Equal(t, []int{200, 200, 200, 200, 429}, statuses(engine, "/first", 5), "earlier RateLimits do not")

		infos, err := limiter.Status(t.Context(), "GET /more", "192.0.2.1")
		require.NoError(t, err)
		require.Len(t, infos, 1)
		require.NoError(t, limiter.Reset(t.Context(), "GET /more", "192.0.2.1"))
		require.Equal(t, []int{200}, statuses(engine, "/more", 1))
		seen.read()
		get(engine, "/more")
		require.Equal(t, []string{"per-hour allowed"}, seen.read())
	})
}

// The key of a RateLimit depends on its position, and replaced RateLimits keep theirs.
func TestALimitWithWithoutGroupKeepsItsCounter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no minute ends
		config := ratelimiter.Config{}
		memory, err := ratelimiter.GetBackend("memory")(nil)
		require.NoError(t, err)
		config["RATELIMITER_BACKEND"] = memory
		for _, option := range [][]ratelimiter.Option{nil, {ratelimiter.WithoutGroup()}} {
			engine, limiter := application(t, config)
			engine.Group("/", limiter.RateLimit(9, time.Hour)).GET("/", limiter.RateLimit(4, time.Minute, option...), ok)
			require.Equal(t, []int{200, 200}, statuses(engine, "/", 2))
			if option != nil {
				require.Equal(t, []int{429}, statuses(engine, "/", 1))
			}
		}
	})
}

func TestDefaultLimitsAfterARateLimitWithWithoutGroup(t *testing.T) {
	engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "1/hour"})
	group := engine.Group("/", limiter.RateLimit(9, time.Hour))
	group.GET("/unlimited", limiter.RateLimit(ratelimiter.Unlimited, time.Hour, ratelimiter.WithoutGroup()), ok)
	group.GET("/limited", limiter.RateLimit(2, time.Hour, ratelimiter.WithoutGroup()), ok)
	require.Equal(t, []int{200, 429}, statuses(engine, "/unlimited", 2), "replaced limits cannot reject instead")
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/limited", 3))
}
