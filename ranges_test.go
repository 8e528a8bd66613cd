package ratelimiter_test

import (
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
)

// maxLimit is backends.MaxLimit as an int, and minPer and maxPer are in nanoseconds.
const maxLimit, minPer, maxPer = int(backends.MaxLimit), int(backends.MinPer), int(backends.MaxPer)

func TestARangeIncludesItsEnds(t *testing.T) {
	var limiter ratelimiter.RateLimiter
	for name, test := range map[string]struct {
		least, most int
		register    func(n int)
	}{
		"the bits of IPv4":         {1, 32, func(n int) { limiter.ByAddress(n, 64) }},
		"the bits of IPv6":         {1, 128, func(n int) { limiter.ByAddress(24, n) }},
		"a cost":                   {0, maxLimit, func(n int) { ratelimiter.WithCost(n) }},
		"a burst":                  {0, maxLimit, func(n int) { limiter.RateLimit(1, time.Hour, ratelimiter.WithBurst(n)) }},
		"a period":                 {minPer, maxPer, func(n int) { limiter.RateLimit(1, time.Duration(n)) }},
		"the period of RateLimits": {minPer, maxPer, func(n int) { limiter.RateLimits([]ratelimiter.Limit{{Limit: 1, Per: time.Duration(n)}}) }},
		"the rejections of a ban":  {1, maxLimit, func(n int) { ratelimiter.WithBan(n, time.Hour, time.Hour) }},
		"the period of a ban":      {minPer, maxPer, func(n int) { ratelimiter.WithBan(1, time.Duration(n), time.Hour) }},
		"the duration of a ban":    {minPer, maxPer, func(n int) { ratelimiter.WithBan(1, time.Hour, time.Duration(n)) }},
		"a wait":                   {minPer, int(time.Hour), func(n int) { ratelimiter.WithWait(time.Duration(n)) }},
		"a lease":                  {int(time.Second), int(time.Hour), func(n int) { ratelimiter.WithLease(time.Duration(n)) }},
	} {
		t.Run(name, func(t *testing.T) {
			require.NotPanics(t, func() { test.register(test.least) })
			require.NotPanics(t, func() { test.register(test.most) })
			require.Panics(t, func() { test.register(test.least - 1) })
			require.Panics(t, func() { test.register(test.most + 1) })
		})
	}
}

func TestEveryMiddlewareAcceptsTheMaximumLimitAndUnlimited(t *testing.T) {
	var limiter ratelimiter.RateLimiter
	for name, register := range map[string]func(limit int){
		"RateLimit":  func(limit int) { limiter.RateLimit(limit, time.Hour) },
		"RateLimits": func(limit int) { limiter.RateLimits([]ratelimiter.Limit{{Limit: int64(limit), Per: time.Hour}}) },
		"Concurrent": func(limit int) { limiter.Concurrent(limit) },
	} {
		require.NotPanics(t, func() { register(maxLimit) }, name)
		require.NotPanics(t, func() { register(ratelimiter.Unlimited) }, name)
		require.Panics(t, func() { register(maxLimit + 1) }, name)
	}
}

func TestTheRangeOfACostThatIsKnownAfterwardsIncludesItsEnds(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.GET("/", limiter.RateLimit(100, time.Hour), func(c *gin.Context) {
		require.NoError(t, ratelimiter.SetCost(c, maxLimit))
		require.NoError(t, ratelimiter.AddCost(c, -maxLimit))
		require.EqualValues(t, 100, left(t, limiter, c))
		require.NoError(t, ratelimiter.AddCost(c, maxLimit))
		require.NoError(t, ratelimiter.SetCost(c, 0))
		require.EqualValues(t, 100, left(t, limiter, c))
		require.Error(t, ratelimiter.SetCost(c, -1))
		require.Error(t, ratelimiter.SetCost(c, maxLimit+1))
		require.Error(t, ratelimiter.AddCost(c, -maxLimit-1))
		require.Error(t, ratelimiter.AddCost(c, maxLimit+1))
	})
	require.Equal(t, 200, get(engine, "/").Code)
}

func TestTheRangesOfTakeIncludeTheirEnds(t *testing.T) {
	_, limiter := application(t, nil)
	take := func(limit int64, per time.Duration, cost int) error {
		_, err := limiter.Take(t.Context(), ratelimiter.Limit{Limit: limit, Per: per}, "key", "scope", cost)
		return err
	}
	for _, per := range []time.Duration{backends.MinPer, backends.MaxPer} {
		require.NoError(t, take(backends.MaxLimit, per, maxLimit))
		require.NoError(t, take(backends.MaxLimit, per, -maxLimit))
	}
	require.Error(t, take(backends.MaxLimit+1, time.Hour, 1))
	require.Error(t, take(1, backends.MinPer-1, 1))
	require.Error(t, take(1, backends.MaxPer+1, 1))
	require.Error(t, take(1, time.Hour, maxLimit+1))
	require.Error(t, take(1, time.Hour, -maxLimit-1))
}
