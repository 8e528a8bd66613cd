// Dynamic limits each customer by plan. It expects a gateway in front that verifies the API
// key and sets the plan. Without one, clients can write these headers themselves, and the
// limit is worthless.
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

// plans are the limits in requests an hour.
var plans = map[string]int{
	"free":     3,
	"pro":      10,
	"internal": ratelimiter.Unlimited,
}

// planLimit is called for each request, so a change of plan takes effect at once.
func planLimit(c *gin.Context) int {
	if limit, known := plans[c.GetHeader("X-Plan")]; known {
		return limit
	}
	return plans["free"]
}

// apiKey is the scope. Without a key, the scope is the client address.
func apiKey(c *gin.Context) string { return c.GetHeader("X-API-Key") }

func newEngine(config ratelimiter.Config) (*gin.Engine, *ratelimiter.RateLimiter, error) {
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, config)
	if err != nil {
		return nil, nil, err
	}
	limited := limiter.RateLimit(planLimit, time.Hour, ratelimiter.WithScope(apiKey))
	engine.GET("/report", limited, func(c *gin.Context) {
		c.String(http.StatusOK, "Here is your report.")
	})
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
	fmt.Printf("Three reports an hour on plan free, ten on plan pro, any number on plan internal:\n\n"+
		"    for i in 1 2 3 4; do curl -s -H 'X-API-Key: ann' -H 'X-Plan: free' http://%[1]s/report; echo; done\n"+
		"    curl -i -H 'X-API-Key: ann' -H 'X-Plan: pro' http://%[1]s/report\n\n", address)
	log.Fatal(engine.Run(address))
}
