package ratelimiter_test

import (
	"fmt"
	"log"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
)

// rejections is an observer that counts rejections. Observe is called concurrently.
type rejections struct{ count atomic.Int64 }

func (r *rejections) Observe(event ratelimiter.Event) {
	if event.Outcome == ratelimiter.Rejected {
		r.count.Add(1)
	}
}

func ExampleObserver() {
	engine := gin.New()
	observer := &rejections{}
	limiter, err := ratelimiter.New(engine, ratelimiter.Config{"RATELIMITER_OBSERVER": observer})
	if err != nil {
		log.Fatal(err)
	}
	engine.GET("/search", limiter.RateLimit(2, time.Hour), func(c *gin.Context) { c.Status(http.StatusOK) })

	fmt.Println(statuses(engine, "/search", 5))
	fmt.Println(observer.count.Load(), "rejected")
	// Output:
	// [200 200 429 429 429]
	// 3 rejected
}
