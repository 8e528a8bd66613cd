package ratelimiter_test

import (
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
)

func ExampleWithOverLimit() {
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, nil)
	if err != nil {
		log.Fatal(err)
	}
	slowDown := func(c *gin.Context) {
		info, _ := ratelimiter.FromContext(c)
		c.JSON(http.StatusTooManyRequests, gin.H{"error": "slow down", "limit": info.Limit})
	}
	engine.GET("/search", limiter.RateLimit(1, time.Hour, ratelimiter.WithOverLimit(slowDown)), ok)

	get(engine, "/search")
	fmt.Println(get(engine, "/search").Body)
	// Output: {"error":"slow down","limit":1}
}
