package ratelimiter_test

import (
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
)

// Each client may search twice per hour.
//
// The examples send requests with get, which returns the response, and statuses, which
// sends several and returns their status codes. ok is a handler that answers 200.
func Example() {
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, nil)
	if err != nil {
		log.Fatal(err)
	}
	search := func(c *gin.Context) { c.String(http.StatusOK, "found") }
	engine.GET("/search", limiter.RateLimit(2, time.Hour), search)

	for range 3 {
		response := get(engine, "/search")
		fmt.Println(response.Code, response.Header().Get("X-RateLimit-Remaining"))
	}
	// Output:
	// 200 1
	// 200 0
	// 429 0
}
