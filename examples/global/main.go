// Global limits all routes together with one middleware on the engine.
package main

import (
	"cmp"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
)

func newEngine(config ratelimiter.Config) (*gin.Engine, *ratelimiter.RateLimiter, error) {
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, config)
	if err != nil {
		return nil, nil, err
	}
	hello := func(c *gin.Context) { c.String(http.StatusOK, "Hello from %s", c.FullPath()) }

	// Use applies to routes that are registered after it, so this route is not limited.
	engine.GET("/health", hello)

	// Without the key, each route would allow ten requests.
	everything := ratelimiter.WithKey(func(*gin.Context) string { return "everything" })
	engine.Use(limiter.RateLimit(10, time.Hour, everything))
	engine.GET("/news", hello)
	engine.GET("/users/:id", hello)
	return engine, limiter, nil
}

func main() {
	gin.SetMode(gin.ReleaseMode)
	config, err := ratelimiter.ConfigFromEnv()
	if err != nil {
		log.Fatal(err)
	}
	engine, _, err := newEngine(config)
	if err != nil {
		log.Fatal(err)
	}
	address := "127.0.0.1:" + cmp.Or(os.Getenv("PORT"), "8080")
	fmt.Printf("Ten requests an hour for each client, over all routes. This sends twelve:\n\n"+
		"    for i in 1 2 3 4 5 6; do curl -s http://%[1]s/news; echo; curl -s http://%[1]s/users/$i; echo; done\n\n", address)
	log.Fatal(engine.Run(address))
}
