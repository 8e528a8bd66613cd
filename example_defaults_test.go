package ratelimiter_test

import (
	"fmt"
	"log"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
)

// Every route has the default limit, except those with an own limit or Exempt.
func ExampleRateLimiter_Exempt() {
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "1/hour"})
	if err != nil {
		log.Fatal(err)
	}
	engine.GET("/search", ok)
	engine.GET("/download", limiter.RateLimit(2, time.Hour), ok)
	engine.GET("/health", limiter.Exempt(), ok)

	for _, path := range []string{"/search", "/download", "/health"} {
		fmt.Println(path, statuses(engine, path, 3))
	}
	// Output:
	// /search [200 429 429]
	// /download [200 200 429]
	// /health [200 200 200]
}

// The route has its own limit in addition to the default limit.
func ExampleWithDefaults() {
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "2/hour"})
	if err != nil {
		log.Fatal(err)
	}
	engine.GET("/search", limiter.RateLimit(100, ratelimiter.Day, ratelimiter.WithDefaults()), ok)

	fmt.Println(statuses(engine, "/search", 3))
	// Output: [200 200 429]
}

// One route of a group has a higher limit than the others.
func ExampleWithoutGroup() {
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, nil)
	if err != nil {
		log.Fatal(err)
	}
	api := engine.Group("/api", limiter.RateLimit(1, time.Hour))
	api.GET("/search", ok)
	api.GET("/status", limiter.RateLimit(3, time.Hour, ratelimiter.WithoutGroup()), ok)

	fmt.Println(statuses(engine, "/api/search", 2))
	fmt.Println(statuses(engine, "/api/status", 4))
	// Output:
	// [200 429]
	// [200 200 200 429]
}
