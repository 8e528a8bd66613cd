package main

import (
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter/examples/factory/extensions"
)

// addRoutes uses the limiter without knowing its configuration.
func addRoutes(engine *gin.Engine) {
	engine.GET("/", func(c *gin.Context) {
		c.String(http.StatusOK, "Welcome!")
	})
	engine.POST("/login", extensions.Limiter.RateLimit(5, time.Hour), func(c *gin.Context) {
		c.String(http.StatusOK, "You may try a password.")
	})
}
