package ratelimiter_test

import (
	"fmt"
	"log"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
)

func ExampleParseLimits() {
	limits, err := ratelimiter.ParseLimits("100/minute; 5 per second; 10k/day")
	if err != nil {
		log.Fatal(err)
	}
	for _, limit := range limits {
		fmt.Println(limit.Limit, limit.Per, limit)
	}

	_, err = ratelimiter.ParseLimits("100 minute")
	fmt.Println(err)
	// Output:
	// 100 1m0s 100/minute
	// 5 1s 5/second
	// 10000 24h0m0s 10000/day
	// "100 minute" at character 1 of "100 minute": "/" is missing between the number and the period; write 100/minute
}

// A function determines the limit for each request.
func ExampleRateLimiter_RateLimit() {
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, nil)
	if err != nil {
		log.Fatal(err)
	}
	byPlan := func(c *gin.Context) int {
		switch c.GetHeader("X-Plan") {
		case "pro":
			return 3
		case "internal":
			return ratelimiter.Unlimited
		}
		return 1
	}
	engine.GET("/search", limiter.RateLimit(byPlan, time.Hour), ok)

	fmt.Println(statuses(engine, "/search", 2))
	fmt.Println(statuses(engine, "/search", 3, withHeader("X-Plan", "pro")))
	fmt.Println(statuses(engine, "/search", 4, withHeader("X-Plan", "internal")))
	// Output:
	// [200 429]
	// [200 200 429]
	// [200 200 200 200]
}

func ExampleRateLimiter_RateLimits() {
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, nil)
	if err != nil {
		log.Fatal(err)
	}
	engine.GET("/search", limiter.RateLimits("100/day; 2/hour"), ok)

	fmt.Println(statuses(engine, "/search", 3))
	fmt.Println(get(engine, "/search").Header().Get("RateLimit-Policy"))
	// Output:
	// [200 200 429]
	// "per-day";q=100;w=86400, "per-hour";q=2;w=3600
}

// Each client may download twice per hour, and all clients together three times.
func ExampleWithLimit() {
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, nil)
	if err != nil {
		log.Fatal(err)
	}
	engine.GET("/download", limiter.RateLimit(2, time.Hour,
		ratelimiter.WithLimit(3, time.Hour, ratelimiter.WithScope(ratelimiter.ByEveryone), ratelimiter.WithName("all")),
	), ok)

	fmt.Println(statuses(engine, "/download", 3, from("192.0.2.1:1234")))
	fmt.Println(statuses(engine, "/download", 2, from("192.0.2.2:1234")))
	// Output:
	// [200 200 429]
	// [200 429]
}

// Three requests may come at once. After that, one is allowed every second.
func ExampleWithBurst() {
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, nil)
	if err != nil {
		log.Fatal(err)
	}
	engine.GET("/search", limiter.RateLimit(60, time.Minute, ratelimiter.WithBurst(3)), ok)

	fmt.Println(statuses(engine, "/search", 4))
	fmt.Println(get(engine, "/search").Header().Get("Retry-After"))
	// Output:
	// [200 200 200 429]
	// 1
}

func ExampleWithAlgorithm() {
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, nil)
	if err != nil {
		log.Fatal(err)
	}
	engine.POST("/login", limiter.RateLimit(3, time.Hour, ratelimiter.WithAlgorithm(ratelimiter.SlidingLog)), ok)

	fmt.Println(statuses(engine, "/login", 4, post))
	// Output: [200 200 200 429]
}
