package ratelimiter_test

import (
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

func TestOptionsThatMakeNoSenseForRequestsInProgressPanic(t *testing.T) {
	var limiter ratelimiter.RateLimiter
	for want, register := range map[string]func(){
		"ratelimiter: WithLimit is no option of Concurrent; write a RateLimit or a Concurrent of its own beside this one": func() {
			limiter.Concurrent(1, ratelimiter.WithLimit(5, time.Minute))
		},
		"ratelimiter: WithCost is no option of Concurrent; each request is one; leave it out": func() { limiter.Concurrent(1, ratelimiter.WithCost(2)) },
		"ratelimiter: WithCountIf is no option of Concurrent; every request counts until it ends; leave it out": func() {
			limiter.Concurrent(1, ratelimiter.WithCountIf(func(*gin.Context) bool { return true }))
		},
		"ratelimiter: WithBan is no option of Concurrent; put it on a RateLimit beside this one": func() {
			limiter.Concurrent(1, ratelimiter.WithBan(3, time.Minute, time.Hour))
		},
		"ratelimiter: WithBurst is no option of Concurrent; the limit is the most at once; leave it out": func() { limiter.Concurrent(1, ratelimiter.WithBurst(5)) },
		"ratelimiter: WithAlgorithm is no option of Concurrent; requests in progress are counted in one way only; leave it out": func() {
			limiter.Concurrent(1, ratelimiter.WithAlgorithm(ratelimiter.SlidingLog))
		},
		"ratelimiter: WithDefaults is no option of Concurrent; a Concurrent leaves the default limits as they are; leave it out": func() { limiter.Concurrent(1, ratelimiter.WithDefaults()) },
		"ratelimiter: WithLease is an option of Concurrent, not of RateLimit; leave it out": func() {
			limiter.RateLimit(1, time.Minute, ratelimiter.WithLease(time.Minute))
		},
		"ratelimiter: WithLease is an option of RateLimit, not of WithLimit": func() {
			limiter.RateLimit(1, time.Minute, ratelimiter.WithLimit(1, time.Hour, ratelimiter.WithLease(time.Minute)))
		},
		"ratelimiter: WithLease(30ns) must be from 1s to 1h0m0s; a bare number counts nanoseconds":                                         func() { ratelimiter.WithLease(30) },
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

func TestAHandlerThatCallsAConcurrentItselfPanics(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.GET("/", func(c *gin.Context) { limiter.Concurrent(1)(c) })
	require.PanicsWithValue(t, "ratelimiter: a handler called Concurrent directly, so it cannot see when the request ends; register the Concurrent on the route", func() { get(engine, "/") })
}
