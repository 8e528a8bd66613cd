package ratelimiter_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
)

// A client that is rejected twice within an hour is banned for a day.
func ExampleWithBan() {
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, nil)
	if err != nil {
		log.Fatal(err)
	}
	engine.GET("/search", limiter.RateLimit(1, time.Hour, ratelimiter.WithBan(2, time.Hour, ratelimiter.Day)), ok)

	fmt.Println(statuses(engine, "/search", 3))
	fmt.Println(get(engine, "/search").Header().Get("Retry-After"))
	// Output:
	// [200 429 429]
	// 86400
}

func ExampleRateLimiter_Ban() {
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, nil)
	if err != nil {
		log.Fatal(err)
	}
	engine.GET("/search", limiter.RateLimit(100, time.Hour), ok)

	ctx := context.Background()
	if err := limiter.Ban(ctx, "GET /search", "192.0.2.1", time.Hour); err != nil {
		log.Fatal(err)
	}
	fmt.Println(statuses(engine, "/search", 1))
	if err := limiter.Reset(ctx, "GET /search", "192.0.2.1"); err != nil {
		log.Fatal(err)
	}
	fmt.Println(statuses(engine, "/search", 1))
	// Output:
	// [429]
	// [200]
}
