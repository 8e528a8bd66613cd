package ratelimiter_test

import (
	"fmt"
	"log"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
)

// A stricter limit is tried out next to the one that applies.
func ExampleWithShadow() {
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, nil)
	if err != nil {
		log.Fatal(err)
	}
	engine.GET("/search", limiter.RateLimit(100, time.Hour,
		ratelimiter.WithLimit(1, time.Hour, ratelimiter.WithShadow()),
	), func(c *gin.Context) {
		infos, _ := limiter.Peek(c)
		for _, info := range infos {
			fmt.Println(info.Name, info.Remaining)
		}
	})

	fmt.Println(statuses(engine, "/search", 2))
	// Output:
	// per-hour 99
	// shadow-per-hour 0
	// per-hour 98
	// shadow-per-hour 0
	// [200 200]
}

// The handler decides what to do with requests over the limit.
func ExampleWithObserveOnly() {
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, nil)
	if err != nil {
		log.Fatal(err)
	}
	engine.GET("/search", limiter.RateLimit(1, time.Hour, ratelimiter.WithObserveOnly()), func(c *gin.Context) {
		info, _ := ratelimiter.FromContext(c)
		fmt.Println("exceeded:", info.Exceeded)
	})

	fmt.Println(statuses(engine, "/search", 2))
	// Output:
	// exceeded: false
	// exceeded: true
	// [200 200]
}
