package ratelimiter_test

import (
	"fmt"
	"log"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
)

// At most one export is in progress at a time.
func ExampleRateLimiter_Concurrent() {
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, nil)
	if err != nil {
		log.Fatal(err)
	}
	engine.GET("/export", limiter.Concurrent(1, ratelimiter.WithScope(ratelimiter.ByEveryone)), func(c *gin.Context) {
		if c.Query("nested") == "" {
			fmt.Println("during an export:", get(engine, "/export?nested=yes").Code)
		}
	})

	fmt.Println("first:", get(engine, "/export").Code)
	fmt.Println("second:", get(engine, "/export").Code)
	// Output:
	// during an export: 429
	// first: 200
	// during an export: 429
	// second: 200
}
