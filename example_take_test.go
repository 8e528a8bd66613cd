package ratelimiter_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
)

// Two e-mails per hour are sent to each address.
func ExampleRateLimiter_Take() {
	limiter, err := ratelimiter.New(gin.New(), nil)
	if err != nil {
		log.Fatal(err)
	}
	perAddress := ratelimiter.Limit{Limit: 2, Per: time.Hour}
	for range 3 {
		info, err := limiter.Take(context.Background(), perAddress, "mail", ratelimiter.Join("ann@example.org"), 1)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(info.Exceeded, info.Remaining)
	}
	// Output:
	// false 1
	// false 0
	// true 0
}
