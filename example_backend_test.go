package ratelimiter_test

import (
	"fmt"
	"log"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/backends"
)

// A registered backend can be selected by name, for example in the environment.
func ExampleRegisterBackend() {
	small := func(map[string]any) (backends.Backend, error) {
		return backends.NewMemory(map[string]any{"max_keys": 1000})
	}
	ratelimiter.RegisterBackend("small", small)

	limiter, err := ratelimiter.New(gin.New(), ratelimiter.Config{"RATELIMITER_BACKEND": "small"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(limiter.Config()["RATELIMITER_BACKEND"])
	ratelimiter.RegisterBackend("small", nil)
	// Output: small
}

// The routes are the default keys of the limits.
func ExampleRateLimiter_Routes() {
	engine := gin.New()
	engine.GET("/users/:id", ok)
	engine.POST("/users", ok)

	var limiter ratelimiter.RateLimiter
	for _, route := range limiter.Routes(engine) {
		fmt.Println(route)
	}
	// Output:
	// GET /users/:id
	// POST /users
}
