package ratelimiter_test

import (
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

// Where two limits on a request would share a counter, the second has one of its
// own. It must be the same one whatever became of the first.

func TestALimitKeepsItsCounterWhereTheOneBeforeIsSkipped(t *testing.T) {
	engine, limiter := application(t, nil)
	staff := func(c *gin.Context) bool { return c.GetHeader("X-Staff") != "" }
	group := engine.Group("/", limiter.RateLimit(100, time.Hour, ratelimiter.WithSkip(staff)))
	group.GET("/", limiter.RateLimit(3, time.Hour), ok)
	group.GET("/more", limiter.RateLimit(3, time.Hour), ok)
	yes := withHeader("X-Staff", "yes")
	require.Equal(t, []int{200, 200}, statuses(engine, "/", 2))
	require.Equal(t, []int{200, 429}, statuses(engine, "/", 2, yes), "two of three are used")
	require.Equal(t, []int{200, 200}, statuses(engine, "/more", 2, yes))
	require.Equal(t, []int{200, 429}, statuses(engine, "/more", 2), "nor has it two counters")
}

func TestASkippedLimitOnlyAsksForItsKeyWhereAnotherFollows(t *testing.T) {
	engine, limiter := application(t, nil)
	asked := 0
	user := func(c *gin.Context) string { asked++; return c.MustGet("user").(string) }
	skipped := limiter.RateLimit(1, time.Hour, ratelimiter.WithKey(user), ratelimiter.WithSkip(func(*gin.Context) bool { return true }))
	engine.GET("/alone", skipped, ok)
	engine.GET("/two", skipped, limiter.RateLimit(1, time.Hour), limiter.RateLimit(1, time.Minute), ok)
	require.Equal(t, []int{200, 200}, statuses(engine, "/alone", 2))
	require.Zero(t, asked)
	require.Equal(t, []int{200, 429}, statuses(engine, "/two", 2), "a function that is not for such a request harms nobody")
	require.Equal(t, 2, asked)
}

func TestALimitKeepsItsCounterWhereTheOneBesideIsUnlimited(t *testing.T) {
	engine, limiter := application(t, nil)
	staff := func(c *gin.Context) int {
		if c.GetHeader("X-Staff") != "" {
			return ratelimiter.Unlimited
		}
		return 100
	}
	// Without a customer both limits are about the client address.
	engine.GET("/", limiter.RateLimit(staff, time.Hour,
		ratelimiter.WithLimit(3, time.Hour, ratelimiter.WithScope(ratelimiter.ByHeader("X-Customer")))), ok)
	require.Equal(t, []int{200, 200}, statuses(engine, "/", 2, withHeader("X-Staff", "yes")))
	require.Equal(t, []int{200, 429}, statuses(engine, "/", 2), "two of three are used")
}

func TestALimitKeepsItsCounterWhereTheBackendOfTheOneBeforeFails(t *testing.T) {
	backend := newRepairable()
	backend.repaired.Store(true)
	engine, first := application(t, ratelimiter.Config{"RATELIMITER_BACKEND": backend, "RATELIMITER_ON_ERROR": "allow"})
	second, err := ratelimiter.New(engine, nil)
	require.NoError(t, err)
	engine.GET("/", first.RateLimit(100, time.Hour), second.RateLimit(3, time.Hour), ok)
	require.Equal(t, []int{200, 200}, statuses(engine, "/", 2))
	backend.repaired.Store(false)
	require.Equal(t, []int{200, 429}, statuses(engine, "/", 2), "two of three are used")
}

// Clients without an account are limited by their address, as by the limit behind.
func TestALimitHasOneCounterWhateverTheScopeOfTheOneBeforeIs(t *testing.T) {
	engine, limiter := application(t, nil)
	group := engine.Group("/", limiter.RateLimit(100, time.Hour, ratelimiter.WithScope(ratelimiter.ByHeader("X-Account"))))
	group.GET("/login", limiter.RateLimit(3, time.Hour), ok)
	require.Equal(t, []int{200, 200}, statuses(engine, "/login", 2, withHeader("X-Account", "7")))
	require.Equal(t, []int{200, 429}, statuses(engine, "/login", 2), "two of three are used")
}

func TestManyLimitsOfOnePeriodCountApart(t *testing.T) {
	engine, limiter := application(t, nil)
	group := engine.Group("/")
	for limit := 9; limit > 0; limit-- {
		group.Use(limiter.RateLimit(limit, time.Hour))
	}
	group.GET("/", ok)
	require.Equal(t, []int{200, 429}, statuses(engine, "/", 2))
	require.NoError(t, limiter.Reset(t.Context(), "GET /", "192.0.2.1"))
	require.Equal(t, []int{200, 429}, statuses(engine, "/", 2))
}

// Requests without a customer are limited on the route, as by the limit behind.
func TestALimitHasOneCounterWhateverTheKeyOfTheOneBeforeIs(t *testing.T) {
	engine, limiter := application(t, nil)
	group := engine.Group("/", limiter.RateLimit(100, time.Hour, ratelimiter.WithKey(ratelimiter.ByHeader("X-Customer"))))
	group.GET("/login", limiter.RateLimit(3, time.Hour), ok)
	require.Equal(t, []int{200, 200}, statuses(engine, "/login", 2, withHeader("X-Customer", "7")))
	require.Equal(t, []int{200, 429}, statuses(engine, "/login", 2), "two of three are used")
	group.GET("/other", limiter.RateLimit(2, time.Hour, ratelimiter.WithKey(ratelimiter.Shared("both"))), ok)
	engine.GET("/alone", limiter.RateLimit(2, time.Hour, ratelimiter.WithKey(ratelimiter.Shared("both"))), ok)
	require.Equal(t, []int{200}, statuses(engine, "/other", 1))
	require.Equal(t, []int{200, 429}, statuses(engine, "/alone", 2), "routes with one key share a counter")
}
