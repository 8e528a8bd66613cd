package main

import (
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
)

// addShop adds routes with different kinds of limits.
func addShop(engine *gin.Engine, limiter *ratelimiter.RateLimiter) {
	ok := func(c *gin.Context) { c.String(http.StatusOK, "ok\n") }

	// Ten a second, and a stricter limit as a shadow.
	engine.GET("/search", limiter.RateLimit(10, time.Second,
		ratelimiter.WithLimit(100, time.Minute, ratelimiter.WithShadow())), ok)

	// Five failed logins a minute. A client that continues is banned for a minute.
	failed := func(c *gin.Context) bool { return c.Writer.Status() == http.StatusUnauthorized }
	engine.POST("/login", limiter.RateLimit(5, time.Minute,
		ratelimiter.WithCountIf(failed), ratelimiter.WithBan(10, 5*time.Minute, time.Minute)),
		func(c *gin.Context) {
			if c.Query("password") != "right" {
				c.Status(http.StatusUnauthorized)
			}
		})

	// 120 a minute for each customer, and 10 a second for all customers together.
	engine.GET("/files/:name", limiter.RateLimit(120, time.Minute,
		ratelimiter.WithScope(ratelimiter.ByHeader("X-API-Key")),
		ratelimiter.WithLimit(10, time.Second, ratelimiter.WithName("all"), ratelimiter.WithScope(ratelimiter.ByEveryone))), ok)

	// Twenty thousand tokens a minute; a chat uses some hundreds.
	engine.POST("/chat", limiter.RateLimit(20_000, time.Minute, ratelimiter.WithName("tokens"), ratelimiter.WithCost(100)),
		func(c *gin.Context) {
			if err := ratelimiter.SetCost(c, 500+int(time.Now().UnixNano()%1000)); err != nil {
				_ = c.Error(err) // the estimate stays
			}
		})

	// One a second for each client; other requests wait for their turn.
	engine.GET("/report", limiter.RateLimit(1, time.Second,
		ratelimiter.WithAlgorithm(ratelimiter.TokenBucket), ratelimiter.WithWait(3*time.Second)), ok)
}
