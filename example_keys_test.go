package ratelimiter_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
)

// Two routes share one limit.
func ExampleWithKey() {
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, nil)
	if err != nil {
		log.Fatal(err)
	}
	uploads := limiter.RateLimit(2, time.Hour, ratelimiter.WithKey(ratelimiter.Shared("uploads")))
	engine.GET("/photos", uploads, ok)
	engine.GET("/videos", uploads, ok)

	fmt.Println(statuses(engine, "/photos", 1), statuses(engine, "/videos", 2))
	// Output: [200] [200 429]
}

// Each project has its own limit.
func ExampleByParam() {
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, nil)
	if err != nil {
		log.Fatal(err)
	}
	engine.GET("/projects/:id", limiter.RateLimit(1, time.Hour, ratelimiter.WithKey(ratelimiter.ByParam("id"))), ok)

	fmt.Println(statuses(engine, "/projects/7", 2), statuses(engine, "/projects/8", 2))
	// Output: [200 429] [200 429]
}

// All methods of a path share one limit.
func ExampleByPath() {
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, nil)
	if err != nil {
		log.Fatal(err)
	}
	engine.Any("/search", limiter.RateLimit(2, time.Hour, ratelimiter.WithKey(ratelimiter.ByPath)), ok)

	fmt.Println(statuses(engine, "/search", 1), statuses(engine, "/search", 2, post))
	// Output: [200] [200 429]
}

// Each account has its own limit, wherever its requests come from.
func ExampleWithScope() {
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, nil)
	if err != nil {
		log.Fatal(err)
	}
	engine.Use(func(c *gin.Context) { c.Set("account", c.GetHeader("X-Account")) }) // instead of a login
	engine.GET("/search", limiter.RateLimit(1, time.Hour, ratelimiter.WithScope(ratelimiter.ByContext("account"))), ok)

	fmt.Println(statuses(engine, "/search", 2, withHeader("X-Account", "ann")))
	fmt.Println(statuses(engine, "/search", 2, withHeader("X-Account", "bob")))
	// Output:
	// [200 429]
	// [200 429]
}

// Each API key has its own limit. An earlier middleware rejects unknown keys.
func ExampleByHeader() {
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, nil)
	if err != nil {
		log.Fatal(err)
	}
	engine.GET("/search", limiter.RateLimit(1, time.Hour, ratelimiter.WithScope(ratelimiter.ByHeader("X-API-Key"))), ok)

	fmt.Println(statuses(engine, "/search", 2, withHeader("X-API-Key", "k1")))
	fmt.Println(statuses(engine, "/search", 2, withHeader("X-API-Key", "k2")))
	// Output:
	// [200 429]
	// [200 429]
}

// Join builds the scope of a limit with several scope functions.
func ExampleJoin() {
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, nil)
	if err != nil {
		log.Fatal(err)
	}
	scope := ratelimiter.WithScope(ratelimiter.ByHeader("X-Account"), ratelimiter.ByHeader("X-Device"))
	engine.GET("/search", limiter.RateLimit(5, time.Hour, scope), ok)
	get(engine, "/search", withHeader("X-Account", "ann"), withHeader("X-Device", "phone"))

	infos, err := limiter.Status(context.Background(), "GET /search", ratelimiter.Join("ann", "phone"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(infos[0].Scope, infos[0].Remaining)
	// Output: ann|phone 4
}

// Requests from the internal network are not limited.
func ExampleWithSkip() {
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, nil)
	if err != nil {
		log.Fatal(err)
	}
	internal := ratelimiter.WithSkip(limiter.FromNetworks("10.0.0.0/8"))
	engine.GET("/search", limiter.RateLimit(1, time.Hour, internal), ok)

	fmt.Println(statuses(engine, "/search", 2, from("192.0.2.1:1234")))
	fmt.Println(statuses(engine, "/search", 2, from("10.1.2.3:1234")))
	// Output:
	// [200 429]
	// [200 200]
}

// All clients of a /24 network share one limit.
func ExampleRateLimiter_ByAddress() {
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, nil)
	if err != nil {
		log.Fatal(err)
	}
	engine.GET("/search", limiter.RateLimit(1, time.Hour, ratelimiter.WithScope(limiter.ByAddress(24, 48))), ok)

	fmt.Println(statuses(engine, "/search", 1, from("192.0.2.1:1234")))
	fmt.Println(statuses(engine, "/search", 1, from("192.0.2.99:1234")))
	// Output:
	// [200]
	// [429]
}
