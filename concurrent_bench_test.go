package ratelimiter_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
)

// BenchmarkConcurrent measures what a slot costs a request, compared with a RateLimit.
func BenchmarkConcurrent(b *testing.B) {
	empty := func(*gin.Context) {}
	off := ratelimiter.WithHeaders(false)
	observed := ratelimiter.WithSkip(func(*gin.Context) bool { return false }) // disables the fast path
	for _, test := range []struct {
		name string
		rule func(*ratelimiter.RateLimiter) gin.HandlerFunc
	}{
		{"bare", func(*ratelimiter.RateLimiter) gin.HandlerFunc { return empty }},
		{"RateLimit, no headers", func(r *ratelimiter.RateLimiter) gin.HandlerFunc { return r.RateLimit(1<<40, time.Minute, off) }},
		{"RateLimit with an option, no headers", func(r *ratelimiter.RateLimiter) gin.HandlerFunc {
			return r.RateLimit(1<<40, time.Minute, off, observed)
		}},
		{"Concurrent, no headers", func(r *ratelimiter.RateLimiter) gin.HandlerFunc { return r.Concurrent(10, off) }},
		{"RateLimit", func(r *ratelimiter.RateLimiter) gin.HandlerFunc { return r.RateLimit(1<<40, time.Minute) }},
		{"Concurrent", func(r *ratelimiter.RateLimiter) gin.HandlerFunc { return r.Concurrent(10) }},
		{"Concurrent of 0", func(r *ratelimiter.RateLimiter) gin.HandlerFunc { return r.Concurrent(0) }},
	} {
		b.Run(test.name, func(b *testing.B) {
			engine := gin.New()
			limiter, err := ratelimiter.New(engine, nil)
			if err != nil {
				b.Fatal(err)
			}
			engine.GET("/users/:id", test.rule(limiter), empty)
			request, err := http.NewRequest(http.MethodGet, "/users/7", nil)
			if err != nil {
				b.Fatal(err)
			}
			request.RemoteAddr = "192.0.2.1:1234"
			w := &nowhere{header: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				engine.ServeHTTP(w, request)
			}
		})
	}
}
