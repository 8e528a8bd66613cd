package ratelimiter_test

import (
	"fmt"
	"log"
	"os"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
)

func ExampleConfig() {
	engine := gin.New()
	_, err := ratelimiter.New(engine, ratelimiter.Config{
		ratelimiter.ConfigDefaultLimits: "2/minute",
		ratelimiter.ConfigAlgorithm:     ratelimiter.SlidingLog,
	})
	if err != nil {
		log.Fatal(err)
	}
	engine.GET("/search", ok)
	fmt.Println(statuses(engine, "/search", 3))

	_, err = ratelimiter.New(gin.New(), ratelimiter.Config{"RATELIMITER_DEFAULT_LIMIT": "2/minute"})
	fmt.Println(err)
	// Output:
	// [200 200 429]
	// the rate limiter's configuration is wrong: RATELIMITER_DEFAULT_LIMIT is not known; did you mean "RATELIMITER_DEFAULT_LIMITS"?
}

func ExampleConfigFromEnv() {
	_ = os.Setenv("RATELIMITER_DEFAULT_LIMITS", "2/hour")

	config, err := ratelimiter.ConfigFromEnv()
	if err != nil {
		log.Fatal(err)
	}
	_ = os.Unsetenv("RATELIMITER_DEFAULT_LIMITS")
	engine := gin.New()
	if _, err := ratelimiter.New(engine, config); err != nil {
		log.Fatal(err)
	}
	engine.GET("/search", ok)
	fmt.Println(statuses(engine, "/search", 3))
	// Output: [200 200 429]
}

// The zero RateLimiter can be a package variable. InitApp makes it work.
func ExampleRateLimiter_InitApp() {
	var limiter ratelimiter.RateLimiter
	engine := gin.New()
	engine.GET("/search", limiter.RateLimit(1, time.Hour), ok)
	fmt.Println(statuses(engine, "/search", 1))

	if err := limiter.InitApp(engine, nil); err != nil {
		log.Fatal(err)
	}
	fmt.Println(statuses(engine, "/search", 2))
	// Output:
	// [500]
	// [200 429]
}

func ExampleRateLimiter_Update() {
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "1/hour"})
	if err != nil {
		log.Fatal(err)
	}
	engine.GET("/search", ok)
	fmt.Println(statuses(engine, "/search", 2))

	if err := limiter.Update(ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "3/hour"}); err != nil {
		log.Fatal(err)
	}
	fmt.Println(statuses(engine, "/search", 3), "one of three units was already used")
	// Output:
	// [200 429]
	// [200 200 429] one of three units was already used
}
