package ratelimiter_test

import (
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

// Default limits apply if no RateLimit on the route can reject the request. In these
// tests, the RateLimit cannot reject requests of staff.

func withDefaults(t *testing.T, limits string) (*gin.Engine, *ratelimiter.RateLimiter) {
	return application(t, ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": limits})
}

func TestDefaultLimitsApplyIfTheLimitOfTheRouteCannotReject(t *testing.T) {
	staff := withHeader("X-Staff", "yes")
	for name, test := range map[string]struct {
		limit   any
		options []ratelimiter.Option
		never   bool // the limit never rejects, not even others than staff
	}{
		"shadow":                 {100, []ratelimiter.Option{ratelimiter.WithShadow()}, true},
		"shadow that is over":    {0, []ratelimiter.Option{ratelimiter.WithShadow()}, true},
		"no over-limit handler":  {100, []ratelimiter.Option{ratelimiter.WithOverLimit(nil)}, true},
		"only observed and over": {0, []ratelimiter.Option{ratelimiter.WithObserveOnly()}, true},
		"unlimited":              {ratelimiter.Unlimited, nil, true},
		"unlimited on request":   {unlimitedForStaff, nil, false},
		"skipped":                {100, []ratelimiter.Option{ratelimiter.WithSkip(isStaff)}, false},
		"unlimited and a shadow": {unlimitedForStaff, []ratelimiter.Option{ratelimiter.WithLimit(100, time.Minute, ratelimiter.WithShadow())}, false},
	} {
		t.Run(name, func(t *testing.T) {
			engine, limiter := withDefaults(t, "2/hour")
			engine.GET("/", limiter.RateLimit(test.limit, time.Hour, test.options...), ok)
			require.Equal(t, []int{200, 200, 429, 429}, statuses(engine, "/", 4, staff))
			require.Contains(t, header(get(engine, "/", staff), "RateLimit-Policy"), "q=2;w=3600")
			others := []int{200, 200, 200}
			if test.never {
				others = []int{429, 429, 429}
			}
			require.Equal(t, others, statuses(engine, "/", 3), "requests that the limit can reject")
		})
	}
}

func TestDefaultLimitsAreReplacedIfOneOfTwoLimitsCanReject(t *testing.T) {
	staff := withHeader("X-Staff", "yes")
	engine, limiter := withDefaults(t, "1/hour")
	shadow := limiter.RateLimit(100, time.Hour, ratelimiter.WithShadow())
	own := limiter.RateLimit(3, time.Hour)
	skipped := limiter.RateLimit(3, time.Hour, ratelimiter.WithSkip(isStaff))
	engine.GET("/before", own, shadow, ok)
	engine.GET("/behind", shadow, own, ok)
	engine.GET("/beside", limiter.RateLimit(100, time.Hour, ratelimiter.WithShadow(), ratelimiter.WithLimit(3, time.Minute)), own, ok)
	engine.GET("/skipped-before", skipped, shadow, ok)
	engine.GET("/skipped-behind", shadow, skipped, ok)
	for _, path := range []string{"/before", "/behind", "/beside", "/skipped-before", "/skipped-behind"} {
		require.Equal(t, []int{200, 200, 200, 429}, statuses(engine, path, 4), path)
	}
	for _, path := range []string{"/skipped-before", "/skipped-behind"} {
		require.Equal(t, []int{200, 429}, statuses(engine, path, 2, staff), path)
	}
}

func TestDefaultLimitsApplyOnceAfterSeveralLimitsThatCannotReject(t *testing.T) {
	engine, limiter := withDefaults(t, "2/hour")
	shadow := limiter.RateLimit(100, time.Hour, ratelimiter.WithShadow())
	group := engine.Group("/", shadow, limiter.RateLimit(100, time.Hour, ratelimiter.WithObserveOnly()))
	group.GET("/", shadow, ok)
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/", 3))
}

func TestWithDefaultsAddsTheDefaultLimitsToThoseOfTheRoute(t *testing.T) {
	for name, options := range map[string][2][]ratelimiter.Option{
		"of the first": {{ratelimiter.WithDefaults()}, nil},
		"of the last":  {nil, {ratelimiter.WithDefaults()}},
		"of both":      {{ratelimiter.WithDefaults()}, {ratelimiter.WithDefaults()}},
	} {
		engine, limiter := withDefaults(t, "2/hour")
		group := engine.Group("/", limiter.RateLimit(100, time.Hour, options[0]...))
		group.GET("/", limiter.RateLimit(3, time.Minute, options[1]...), ok)
		require.Equal(t, []int{200, 200, 429}, statuses(engine, "/", 3), name)
	}
}

func TestARequestRejectedByDefaultLimitsIsNotChargedToEarlierLimits(t *testing.T) {
	engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "2/hour", "RATELIMITER_APPLICATION_LIMITS": "9/hour"})
	ran := 0
	engine.GET("/", limiter.RateLimit(5, time.Hour, ratelimiter.WithDefaults()), func(*gin.Context) { ran++ })
	require.Equal(t, []int{200, 200, 429, 429, 429, 429}, statuses(engine, "/", 6))
	require.Equal(t, 2, ran)
	remaining := map[int64]int64{}
	for _, key := range []string{"GET /", "application"} {
		infos, err := limiter.Status(t.Context(), key, "192.0.2.1")
		require.NoError(t, err)
		for _, info := range infos {
			remaining[info.Limit] = info.Remaining
		}
	}
	require.Equal(t, map[int64]int64{2: 0, 5: 3, 9: 7}, remaining, "each is charged twice")
}

func TestCountIfIsNotCalledForARequestRejectedByDefaultLimits(t *testing.T) {
	engine, limiter := withDefaults(t, "1/hour")
	calls := 0
	counts := ratelimiter.WithCountIf(func(*gin.Context) bool { calls++; return false })
	engine.GET("/", limiter.RateLimit(5, time.Hour, ratelimiter.WithDefaults(), counts), ok)
	require.Equal(t, []int{200, 429}, statuses(engine, "/", 2), "the default limits count what this limit does not")
	require.Equal(t, 1, calls)
}

func TestExemptCalledInAMiddlewareBeforeInitAppExemptsTheRequest(t *testing.T) {
	engine, limiter := gin.New(), &ratelimiter.RateLimiter{}
	exempt := limiter.Exempt()
	engine.Use(func(c *gin.Context) {
		if isStaff(c) {
			exempt(c)
		}
	})
	require.NoError(t, limiter.InitApp(engine, ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "1/hour", "RATELIMITER_APPLICATION_LIMITS": "100/hour"}))
	t.Cleanup(func() { require.NoError(t, limiter.Close()) })
	engine.GET("/plain", ok)
	engine.GET("/shadow", limiter.RateLimit(5, time.Hour, ratelimiter.WithShadow()), ok)
	engine.GET("/kept", limiter.RateLimit(3, time.Hour, ratelimiter.WithDefaults()), ok)
	staff := withHeader("X-Staff", "yes")
	require.Equal(t, []int{200, 200, 200}, statuses(engine, "/plain", 3, staff))
	require.Equal(t, []int{200, 200, 200}, statuses(engine, "/shadow", 3, staff))
	require.Equal(t, []int{200, 200, 200, 429}, statuses(engine, "/kept", 4, staff), "its own limit applies")
	require.Empty(t, header(get(engine, "/plain", staff), "RateLimit-Policy"))
	require.Equal(t, []int{200, 429}, statuses(engine, "/plain", 2))
}

func TestExemptCalledInAHandlerRefundsTheConfiguredLimits(t *testing.T) {
	engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "2/hour", "RATELIMITER_APPLICATION_LIMITS": "3/hour"})
	exempt := func(c *gin.Context) {
		if isStaff(c) {
			limiter.Exempt()(c)
		}
	}
	engine.GET("/plain", exempt, ok)
	engine.GET("/shadow", limiter.RateLimit(9, time.Hour, ratelimiter.WithShadow()), exempt, ok)
	engine.GET("/own", limiter.RateLimit(2, time.Hour, ratelimiter.WithDefaults()), exempt, ok)
	staff := withHeader("X-Staff", "yes")
	require.Equal(t, []int{200, 200, 200, 200}, statuses(engine, "/plain", 4, staff))
	require.Equal(t, []int{200, 200, 200, 200}, statuses(engine, "/shadow", 4, staff))
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/own", 3, staff), "its own limit stays charged")
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/plain", 3))
	require.Equal(t, []int{200, 429}, statuses(engine, "/shadow", 2), "the application limit has one left")
}

func TestExemptCalledBetweenLimitsExemptsFromTheDefaultLimits(t *testing.T) {
	engine, limiter := withDefaults(t, "1/hour")
	exempt := func(c *gin.Context) { limiter.Exempt()(c) }
	engine.GET("/", exempt, limiter.RateLimit(9, time.Hour, ratelimiter.WithShadow()), ok)
	require.Equal(t, []int{200, 200}, statuses(engine, "/", 2))
}

func TestARateLimitCalledByAHandlerAppliesInAdditionToDefaultLimits(t *testing.T) {
	engine, limiter := withDefaults(t, "3/hour")
	strict, lax := limiter.RateLimit(1, time.Hour), limiter.RateLimit(100, time.Hour)
	shadow := limiter.RateLimit(100, time.Hour, ratelimiter.WithShadow())
	calls := func(limit gin.HandlerFunc) gin.HandlerFunc {
		return func(c *gin.Context) {
			if limit(c); !c.IsAborted() {
				ok(c)
			}
		}
	}
	engine.GET("/strict", calls(strict))
	engine.GET("/lax", calls(lax))
	engine.GET("/shadow", calls(shadow))
	engine.GET("/shadows", shadow, calls(shadow))
	engine.GET("/twice", calls(func(c *gin.Context) { shadow(c); lax(c); shadow(c) }))
	require.Equal(t, []int{200, 429, 429, 429, 429}, statuses(engine, "/strict", 5), "a rejected request is not charged")
	for _, path := range []string{"/lax", "/shadow", "/shadows", "/twice"} {
		require.Equal(t, []int{200, 200, 200, 429}, statuses(engine, path, 4), "%s: the default limits are taken once", path)
	}
}

func TestARateLimitCalledBeforeInitAppReplacesTheDefaultLimits(t *testing.T) {
	engine, limiter := gin.New(), &ratelimiter.RateLimiter{}
	own := limiter.RateLimit(3, time.Hour)
	engine.Use(func(c *gin.Context) {
		if isStaff(c) {
			own(c)
		}
	})
	require.NoError(t, limiter.InitApp(engine, ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "1/hour"}))
	t.Cleanup(func() { require.NoError(t, limiter.Close()) })
	engine.GET("/", ok)
	require.Equal(t, []int{200, 200, 200, 429}, statuses(engine, "/", 4, withHeader("X-Staff", "yes")))
	require.Equal(t, []int{200, 429}, statuses(engine, "/", 2))
}

func TestWithDefaultsAppliesAfterARateLimitCalledByAHandler(t *testing.T) {
	engine, limiter := withDefaults(t, "2/hour")
	inline := limiter.RateLimit(100, time.Hour)
	engine.GET("/", func(c *gin.Context) { inline(c) }, limiter.RateLimit(100, time.Minute, ratelimiter.WithDefaults()), ok)
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/", 3))
	shadow := limiter.RateLimit(100, time.Hour, ratelimiter.WithShadow())
	engine.GET("/shadow", func(c *gin.Context) { shadow(c) }, limiter.RateLimit(100, time.Minute, ratelimiter.WithSkip(isStaff)), ok)
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/shadow", 3, withHeader("X-Staff", "yes")))
}

func TestWithDefaultsAppliesToARateLimitBeforeInitApp(t *testing.T) {
	engine := gin.New()
	var limiter ratelimiter.RateLimiter
	engine.Use(limiter.RateLimit(100, time.Hour, ratelimiter.WithDefaults()))
	require.NoError(t, limiter.InitApp(engine, ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "2/hour", "RATELIMITER_APPLICATION_LIMITS": "1000/hour"}))
	engine.GET("/", limiter.RateLimit(100, time.Hour), ok)
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/", 3))
}

func TestDefaultLimitsAreChargedOnceAfterAnUnlimitedMiddlewareBeforeInitApp(t *testing.T) {
	engine := gin.New()
	var limiter ratelimiter.RateLimiter
	inline := limiter.RateLimit(ratelimiter.Unlimited, time.Hour)
	engine.Use(func(c *gin.Context) { inline(c) })
	require.NoError(t, limiter.InitApp(engine, ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "2/hour"}))
	engine.GET("/", ok)
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/", 3))
}

func TestExemptCalledInAHandlerCorrectsTheHeaders(t *testing.T) {
	engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "5/hour"})
	engine.GET("/", func(c *gin.Context) { limiter.Exempt()(c); c.Status(204) })
	w := get(engine, "/")
	require.Equal(t, "5", header(w, "X-RateLimit-Remaining"))
}

func TestDefaultLimitsDoNotApplyToAGroupThatIsOlderThanInitApp(t *testing.T) {
	engine := gin.New()
	group := engine.Group("/old")
	limiter, err := ratelimiter.New(engine, ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "1/hour"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, limiter.Close()) })
	own := limiter.RateLimit(100, time.Hour, ratelimiter.WithDefaults())
	group.GET("/", own, ok)
	engine.GET("/new", own, ok)
	require.Equal(t, []int{200, 200}, statuses(engine, "/old/", 2))
	require.Equal(t, []int{200, 429}, statuses(engine, "/new", 2))
}

func TestExemptAfterARateLimitExemptsTheRouteFromTheDefaultLimits(t *testing.T) {
	engine, limiter := withDefaults(t, "1/hour")
	engine.GET("/", limiter.RateLimit(9, time.Hour, ratelimiter.WithDefaults()), limiter.Exempt(), ok)
	require.Equal(t, []int{200, 200}, statuses(engine, "/", 2))
}

func TestEachRateLimiterAppliesItsOwnDefaultLimits(t *testing.T) {
	engine, _ := withDefaults(t, "3/day")
	second, err := ratelimiter.New(engine, ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "2/hour"})
	require.NoError(t, err)
	engine.GET("/", ok)
	engine.GET("/shadow", second.RateLimit(9, time.Hour, ratelimiter.WithShadow()), ok)
	for _, path := range []string{"/", "/shadow"} {
		require.Equal(t, []int{200, 200, 429}, statuses(engine, path, 3), path)
		require.NoError(t, second.Reset(t.Context(), "GET "+path, "192.0.2.1"))
		require.Equal(t, []int{200, 429}, statuses(engine, path, 2), path)
	}
}
