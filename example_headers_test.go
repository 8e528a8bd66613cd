package ratelimiter_test

import (
	"fmt"
	"log"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
)

// A name appears in the headers, in Info and in the problem document.
func ExampleWithName() {
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, nil)
	if err != nil {
		log.Fatal(err)
	}
	engine.GET("/export", limiter.RateLimit(5, time.Hour, ratelimiter.WithName("exports")), ok)

	fmt.Println(get(engine, "/export").Header().Get("RateLimit-Policy"))
	// Output: "exports";q=5;w=3600
}

// Clients of this route do not see the limit, except for Retry-After.
func ExampleWithHeaders() {
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, nil)
	if err != nil {
		log.Fatal(err)
	}
	engine.GET("/search", limiter.RateLimit(1, time.Hour, ratelimiter.WithHeaders(false)), ok)

	fmt.Printf("%q\n", get(engine, "/search").Header().Get("X-RateLimit-Limit"))
	fmt.Println(get(engine, "/search").Header().Get("Retry-After") != "")
	// Output:
	// ""
	// true
}
