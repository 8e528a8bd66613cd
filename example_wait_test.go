package ratelimiter_test

import (
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
)

// This example sends one message every 50 milliseconds, in the order of arrival. A client
// that has to wait only notices that the response takes longer.
func ExampleWithWait() {
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, nil)
	if err != nil {
		log.Fatal(err)
	}
	engine.POST("/messages", limiter.RateLimit(1, 50*time.Millisecond,
		ratelimiter.WithScope(ratelimiter.ByEveryone),
		ratelimiter.WithAlgorithm(ratelimiter.TokenBucket),
		ratelimiter.WithWait(10*time.Second),
	), func(c *gin.Context) { c.Status(http.StatusAccepted) })

	began := time.Now()
	fmt.Println(statuses(engine, "/messages", 3, post))
	fmt.Println("paced:", time.Since(began) >= 99*time.Millisecond)
	// Output:
	// [202 202 202]
	// paced: true
}
