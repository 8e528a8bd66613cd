package ratelimiter_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
)

// A request costs one unit per item that it asks for.
func ExampleWithCost() {
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, nil)
	if err != nil {
		log.Fatal(err)
	}
	items := func(c *gin.Context) int {
		n, _ := strconv.Atoi(c.Query("items"))
		return n
	}
	engine.GET("/export", limiter.RateLimit(100, time.Hour, ratelimiter.WithCost(items)), ok)

	fmt.Println(statuses(engine, "/export?items=60", 2), statuses(engine, "/export?items=40", 1))
	// Output: [200 429] [200]
}

// A request is charged an estimate of 100 units, and corrected afterwards.
func ExampleSetCost() {
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, nil)
	if err != nil {
		log.Fatal(err)
	}
	complete := func(c *gin.Context) {
		if err := ratelimiter.SetCost(c, 30); err != nil { // tokens used by the model
			log.Print(err)
		}
		c.Status(http.StatusOK)
	}
	engine.GET("/complete", limiter.RateLimit(1000, time.Hour, ratelimiter.WithCost(100)), complete)
	get(engine, "/complete")

	infos, err := limiter.Status(context.Background(), "GET /complete", "192.0.2.1")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(infos[0].Remaining)
	// Output: 970
}

// A stream is charged for each chunk.
func ExampleAddCost() {
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, nil)
	if err != nil {
		log.Fatal(err)
	}
	stream := func(c *gin.Context) {
		for _, chunk := range []string{"one", "two", "three"} {
			if err := ratelimiter.AddCost(c, len(chunk)); err != nil {
				log.Print(err)
			}
			_, _ = c.Writer.WriteString(chunk)
		}
	}
	engine.GET("/stream", limiter.RateLimit(1000, time.Hour, ratelimiter.WithCost(0)), stream)
	get(engine, "/stream")

	infos, err := limiter.Status(context.Background(), "GET /stream", "192.0.2.1")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(infos[0].Remaining)
	// Output: 989
}

// Only failed logins count.
func ExampleWithCountIf() {
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, nil)
	if err != nil {
		log.Fatal(err)
	}
	failed := func(c *gin.Context) bool { return c.Writer.Status() == http.StatusUnauthorized }
	login := func(c *gin.Context) {
		if c.GetHeader("Password") != "secret" {
			c.Status(http.StatusUnauthorized)
		}
	}
	engine.POST("/login", limiter.RateLimit(2, time.Hour, ratelimiter.WithCountIf(failed)), login)

	fmt.Println(statuses(engine, "/login", 3, post, withHeader("Password", "secret")))
	fmt.Println(statuses(engine, "/login", 3, post, withHeader("Password", "guess")))
	// Output:
	// [200 200 200]
	// [401 401 429]
}
