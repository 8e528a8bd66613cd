package ratelimiter_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
)

func ExampleFromContext() {
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, nil)
	if err != nil {
		log.Fatal(err)
	}
	engine.GET("/search", limiter.RateLimit(10, time.Minute), func(c *gin.Context) {
		if info, limited := ratelimiter.FromContext(c); limited {
			fmt.Println(info.Name, info.Key, info.Scope, info.Remaining)
		}
		c.Status(http.StatusOK)
	})
	get(engine, "/search")
	// Output: per-minute GET /search 192.0.2.1 9
}

// Peek returns the current state of all limits of a request.
func ExampleRateLimiter_Peek() {
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, nil)
	if err != nil {
		log.Fatal(err)
	}
	engine.GET("/search", limiter.RateLimits("100/day; 10/hour", ratelimiter.WithCost(1)), func(c *gin.Context) {
		_ = ratelimiter.SetCost(c, 4)
		infos, err := limiter.Peek(c)
		if err != nil {
			log.Print(err)
		}
		for _, info := range infos {
			fmt.Println(info.Name, info.Remaining)
		}
	})
	get(engine, "/search")
	// Output:
	// per-day 96
	// per-hour 6
}

// Status returns what a client has left, for example for an account page.
func ExampleRateLimiter_Status() {
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, nil)
	if err != nil {
		log.Fatal(err)
	}
	engine.GET("/search", limiter.RateLimits("100/day; 10/hour"), ok)
	get(engine, "/search")

	infos, err := limiter.Status(context.Background(), "GET /search", "192.0.2.1")
	if err != nil {
		log.Fatal(err)
	}
	for _, info := range infos {
		fmt.Println(info.Remaining, "of", info.Limit, info.Name)
	}
	// Output:
	// 9 of 10 per-hour
	// 99 of 100 per-day
}

func ExampleRateLimiter_Reset() {
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, nil)
	if err != nil {
		log.Fatal(err)
	}
	engine.GET("/search", limiter.RateLimit(1, time.Hour), ok)
	fmt.Println(statuses(engine, "/search", 2))

	if err := limiter.Reset(context.Background(), "GET /search", "192.0.2.1"); err != nil {
		log.Fatal(err)
	}
	fmt.Println(statuses(engine, "/search", 2))
	// Output:
	// [200 429]
	// [200 429]
}

func ExampleInfo_MarshalJSON() {
	info := ratelimiter.Info{Name: "per-minute", Key: "GET /search", Scope: "192.0.2.1", Limit: 10, Per: time.Minute,
		RetryAfter: 1500 * time.Millisecond, Reset: time.Date(2026, 1, 1, 0, 0, 30, 0, time.UTC), Exceeded: true}
	text, err := json.MarshalIndent(info, "", "  ")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(text))
	// Output:
	// {
	//   "name": "per-minute",
	//   "key": "GET /search",
	//   "scope": "192.0.2.1",
	//   "limit": 10,
	//   "remaining": 0,
	//   "per": 60,
	//   "retry_after": 1.5,
	//   "reset": "2026-01-01T00:00:30Z",
	//   "exceeded": true,
	//   "banned": false,
	//   "shadow": false
	// }
}
