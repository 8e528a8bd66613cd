package ratelimiter_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

func TestConcurrentPanicsWithOptionsThatDoNotApply(t *testing.T) {
	var limiter ratelimiter.RateLimiter
	for want, register := range map[string]func(){
		"ratelimiter: WithLimit is not an option of Concurrent; register a separate RateLimit or Concurrent": func() {
			limiter.Concurrent(1, ratelimiter.WithLimit(5, time.Minute))
		},
		"ratelimiter: WithCost is not an option of Concurrent; each request takes one slot; remove the option": func() { limiter.Concurrent(1, ratelimiter.WithCost(2)) },
		"ratelimiter: WithCountIf is not an option of Concurrent; every request counts until it ends; remove the option": func() {
			limiter.Concurrent(1, ratelimiter.WithCountIf(func(*gin.Context) bool { return true }))
		},
		"ratelimiter: WithBan is not an option of Concurrent; use it with a RateLimit": func() {
			limiter.Concurrent(1, ratelimiter.WithBan(3, time.Minute, time.Hour))
		},
		"ratelimiter: WithBurst is not an option of Concurrent; the limit is the maximum at the same time; remove the option": func() { limiter.Concurrent(1, ratelimiter.WithBurst(5)) },
		"ratelimiter: WithAlgorithm is not an option of Concurrent; there is only one way to count requests in progress; remove the option": func() {
			limiter.Concurrent(1, ratelimiter.WithAlgorithm(ratelimiter.SlidingLog))
		},
		"ratelimiter: WithDefaults is not an option of Concurrent; it does not affect the default limits; remove the option": func() { limiter.Concurrent(1, ratelimiter.WithDefaults()) },
		"ratelimiter: WithLease is an option of Concurrent, not of RateLimit; remove it": func() {
			limiter.RateLimit(1, time.Minute, ratelimiter.WithLease(time.Minute))
		},
		"ratelimiter: WithLease is an option of RateLimit, not of WithLimit": func() {
			limiter.RateLimit(1, time.Minute, ratelimiter.WithLimit(1, time.Hour, ratelimiter.WithLease(time.Minute)))
		},
		"ratelimiter: WithLease(30ns) must be from 1s to 1h0m0s; a bare number is in nanoseconds":                                          func() { ratelimiter.WithLease(30) },
		"ratelimiter: Concurrent was given a nil Option; remove it":                                                                        func() { limiter.Concurrent(1, nil) },
		"ratelimiter: Concurrent(20000000000000): the limit is over the maximum of 10000000000000; use ratelimiter.Unlimited for no limit": func() { limiter.Concurrent(20_000_000_000_000) },
		"ratelimiter: Concurrent was called on a nil *RateLimiter; check the error of New":                                                 func() { (*ratelimiter.RateLimiter)(nil).Concurrent(1) },
		"ratelimiter: WithWait needs limits that reject; remove WithShadow and WithObserveOnly, or remove WithWait": func() {
			limiter.Concurrent(1, ratelimiter.WithShadow(), ratelimiter.WithWait(time.Second))
		},
	} {
		require.PanicsWithValue(t, want, register)
	}
}

func TestConcurrentPanicsIfAHandlerCallsIt(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.GET("/", func(c *gin.Context) { limiter.Concurrent(1)(c) })
	require.PanicsWithValue(t, "ratelimiter: a handler called Concurrent directly, so it cannot see when the request ends; register the Concurrent on the route", func() { get(engine, "/") })
}

func TestTheRejectionOfALimitFunctionOfConcurrentIsAProblemDocument(t *testing.T) {
	engine, limiter := application(t, nil)
	var rejection string
	nested := func(c *gin.Context) { rejection = get(engine, c.FullPath()).Body.String() }
	engine.GET("/number", limiter.Concurrent(1), nested)
	engine.GET("/function", limiter.Concurrent(func(*gin.Context) int { return 1 }), nested)
	require.Equal(t, 200, get(engine, "/number").Code)
	want := rejection
	require.Contains(t, want, "Rate limit was exceeded")
	require.Equal(t, 200, get(engine, "/function").Code)
	require.JSONEq(t, want, rejection)
}

// The request continues, because the limit never rejects.
func TestAConcurrentThatCannotDecideRefundsNothingForARequestThatContinues(t *testing.T) {
	engine, limiter := application(t, nil)
	ctx, leave := context.WithCancel(t.Context())
	other, err := ratelimiter.New(engine, ratelimiter.Config{"RATELIMITER_BACKEND": impatient{leave: leave}, "RATELIMITER_ON_ERROR": "deny"})
	require.NoError(t, err)
	engine.GET("/", limiter.RateLimit(5, time.Hour), other.Concurrent(1, ratelimiter.WithObserveOnly()), ok)
	require.Equal(t, 200, get(engine, "/", func(r *http.Request) { *r = *r.WithContext(ctx) }).Code)
	require.EqualValues(t, 4, info(t, limiter, "GET /").Remaining)
}
