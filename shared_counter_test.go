package ratelimiter_test

import (
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

// Limits with the same key, scope, algorithm and period share a counter, even on one
// request, which pays it once.

func TestAnAddedLimitHasTheScopeOfTheFirst(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.GET("/", limiter.RateLimit(100, time.Second,
		ratelimiter.WithLimit(100, time.Minute, ratelimiter.WithScope(ratelimiter.ByEveryone)),
		ratelimiter.WithLimit(1, time.Hour)), func(c *gin.Context) {
		infos, err := limiter.Peek(c)
		require.NoError(t, err)
		scopes := []string{infos[0].Scope, infos[1].Scope, infos[2].Scope}
		require.Equal(t, []string{c.RemoteIP(), "everyone", c.RemoteIP()}, scopes)
	})
	require.Equal(t, []int{200, 429}, statuses(engine, "/", 2))
	require.Equal(t, 200, get(engine, "/", from("192.0.2.2:80")).Code)
}

func TestALaterLimitChargesTheDifferenceOnASharedCounter(t *testing.T) {
	engine, limiter := application(t, nil)
	key := ratelimiter.WithKey(ratelimiter.Shared("uploads"))
	observed := limiter.RateLimit(100, time.Hour, key, ratelimiter.WithObserveOnly(), ratelimiter.WithLimit(0, time.Minute))
	engine.GET("/", observed, limiter.RateLimit(2, time.Hour, key), ok)
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/", 3), "the first exceeds its other limit and charges nothing")
}

func TestACostOverTheStricterLimitOfASharedCounterIsNeverAllowed(t *testing.T) {
	engine, limiter := application(t, nil)
	key := ratelimiter.WithKey(ratelimiter.Shared("uploads"))
	group := engine.Group("/", limiter.RateLimit(100, time.Hour, key, ratelimiter.WithCost(3)))
	group.GET("/zero", limiter.RateLimit(0, time.Hour, key), ok)
	group.GET("/two", limiter.RateLimit(2, time.Hour, key), ok)
	group.GET("/three", limiter.RateLimit(3, time.Hour, key), ok)
	for _, path := range []string{"/zero", "/two"} {
		response := get(engine, path)
		require.Equal(t, 429, response.Code, path)
		require.Empty(t, response.Header().Values("Retry-After"), path)
	}
	require.Contains(t, get(engine, "/two").Body.String(), "This request costs")
	require.Equal(t, []int{200, 429}, statuses(engine, "/three", 2))
	require.NotEmpty(t, get(engine, "/three").Header().Values("Retry-After"))
}

func TestAnEmptyKeyMeansTheRouteAndItsCounterIsPaidOnce(t *testing.T) {
	engine, limiter := application(t, nil)
	tenant := ratelimiter.WithKey(ratelimiter.ByHeader("X-Tenant"))
	engine.GET("/", limiter.RateLimit(100, time.Hour), limiter.RateLimit(100, time.Hour, ratelimiter.WithLimit(3, time.Hour, tenant)), ok)
	require.Equal(t, []int{200, 200, 200, 429}, statuses(engine, "/", 4), "one unit each")
	require.Equal(t, []int{200, 200, 200, 429}, statuses(engine, "/", 4, withHeader("X-Tenant", "acme")))
}

func TestCountIfOfOneLimitDoesNotRefundASharedCounter(t *testing.T) {
	never := ratelimiter.WithCountIf(func(*gin.Context) bool { return false })
	key := ratelimiter.WithKey(ratelimiter.Shared("logins"))
	engine, limiter := application(t, nil)
	engine.GET("/", limiter.RateLimit(100, time.Hour, key, never), limiter.RateLimit(2, time.Hour, key), ok)
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/", 3))
	engine, limiter = application(t, nil)
	engine.GET("/", limiter.RateLimit(2, time.Hour, key), limiter.RateLimit(100, time.Hour, key, never), ok)
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/", 3))
	engine, limiter = application(t, nil)
	engine.GET("/", limiter.RateLimit(2, time.Hour, key, never), limiter.RateLimit(100, time.Hour, key, never), ok)
	require.Equal(t, []int{200, 200, 200}, statuses(engine, "/", 3), "neither limit counts it")
	engine, limiter = application(t, nil)
	engine.GET("/", limiter.RateLimit(100, time.Hour, key, never), limiter.RateLimit(2, time.Hour, key), limiter.RateLimit(100, time.Hour), ok)
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/", 3), "a limit on another counter follows")
}

func TestAShadowThatWasNotChargedPaysForNoOtherLimit(t *testing.T) {
	engine, limiter := application(t, nil)
	key, shadow := ratelimiter.WithKey(ratelimiter.Shared("uploads")), ratelimiter.WithShadow()
	two := limiter.RateLimit(1, time.Hour, key, shadow, ratelimiter.WithLimit(2, time.Hour, key, shadow))
	var remaining []int64
	engine.GET("/", two, limiter.RateLimit(9, time.Hour, key, shadow), func(c *gin.Context) {
		infos, err := limiter.Peek(c)
		require.NoError(t, err)
		remaining = append(remaining, infos[2].Remaining)
	})
	statuses(engine, "/", 3)
	require.Equal(t, []int64{8, 7, 6}, remaining)
}

// A limit that is only observed, or a shadow, is not charged if it is exceeded. A cost that
// is known afterwards is charged nevertheless.
func TestSetCostChargesASharedCounterOnceEvenIfTheEarlierLimitWasNotCharged(t *testing.T) {
	key, cost := ratelimiter.WithKey(ratelimiter.Shared("tokens")), ratelimiter.WithCost(2)
	for name, options := range map[string][2][]ratelimiter.Option{
		"observed": {{key, cost, ratelimiter.WithObserveOnly(), ratelimiter.WithLimit(0, time.Minute)}, {key, cost}},
		"shadow":   {{key, ratelimiter.WithCost(200), ratelimiter.WithShadow()}, {key, cost, ratelimiter.WithShadow()}},
		"too costly in one RateLimit": {nil, {key, ratelimiter.WithCost(200), ratelimiter.WithShadow(),
			ratelimiter.WithLimit(1000, time.Hour, key, cost, ratelimiter.WithName("shared"))}},
	} {
		t.Run(name, func(t *testing.T) {
			engine, limiter := application(t, nil)
			last := func(c *gin.Context) int64 {
				infos, err := limiter.Peek(c)
				require.NoError(t, err)
				return infos[len(infos)-1].Limit - infos[len(infos)-1].Remaining
			}
			if options[0] != nil {
				engine.Use(limiter.RateLimit(100, time.Hour, options[0]...))
			}
			engine.GET("/", limiter.RateLimit(100, time.Hour, options[1]...), func(c *gin.Context) {
				require.EqualValues(t, 2, last(c))
				require.NoError(t, ratelimiter.SetCost(c, 10))
				require.EqualValues(t, 10, last(c))
				require.NoError(t, ratelimiter.AddCost(c, 5))
				require.EqualValues(t, 15, last(c))
				require.NoError(t, ratelimiter.AddCost(c, -14))
				require.EqualValues(t, 1, last(c))
			})
			require.Equal(t, 200, get(engine, "/").Code)
		})
	}
}

func TestCountIfRefundsTheLimitsThatShareNoCounter(t *testing.T) {
	engine, limiter := application(t, nil)
	key := ratelimiter.WithKey(ratelimiter.Shared("logins"))
	never := ratelimiter.WithCountIf(func(*gin.Context) bool { return false })
	engine.GET("/", limiter.RateLimit(9, time.Hour, key, never, ratelimiter.WithLimit(9, time.Minute)), limiter.RateLimit(9, time.Hour, key), ok)
	require.Equal(t, 200, get(engine, "/").Code)
	infos, err := limiter.Status(t.Context(), "logins", "192.0.2.1")
	require.NoError(t, err)
	require.Equal(t, []int64{9, 8}, []int64{infos[0].Remaining, infos[1].Remaining}, "only the counter of the later limit stays charged")
}

func TestAddCostChargesACounterOnceThatTwoLimitsOfARateLimitShare(t *testing.T) {
	engine, limiter := application(t, nil)
	key, cost := ratelimiter.WithKey(ratelimiter.Shared("tokens")), ratelimiter.WithCost(2)
	engine.GET("/", limiter.RateLimit(100, time.Hour, key, cost, ratelimiter.WithLimit(1000, time.Hour, key, ratelimiter.WithName("wide"))), func(c *gin.Context) {
		require.Equal(t, map[string]int64{"per-hour": 98, "wide": 998}, remaining(t, limiter, c))
		require.NoError(t, ratelimiter.AddCost(c, 10))
		require.Equal(t, map[string]int64{"per-hour": 88, "wide": 988}, remaining(t, limiter, c))
		require.NoError(t, ratelimiter.SetCost(c, 1))
		require.Equal(t, map[string]int64{"per-hour": 99, "wide": 999}, remaining(t, limiter, c))
	})
	require.Equal(t, 200, get(engine, "/").Code)
}

// The counters of two RateLimiters are separate even if their keys are equal.
func TestALimitOfAnotherRateLimiterPaysNothing(t *testing.T) {
	engine, limiter := application(t, nil)
	other, err := ratelimiter.New(engine, nil)
	require.NoError(t, err)
	a, b := ratelimiter.WithKey(ratelimiter.Shared("a")), ratelimiter.WithKey(ratelimiter.Shared("b"))
	engine.GET("/", limiter.RateLimit(100, time.Minute, b), other.RateLimit(100, time.Hour, a),
		limiter.RateLimit(100, time.Minute, b, ratelimiter.WithLimit(2, time.Hour, a)), ok)
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/", 3))
}
