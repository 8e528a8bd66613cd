package ratelimiter_test

import (
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

func TestRoutesReturnsTheKeysOfTheLimits(t *testing.T) {
	engine := gin.New()
	nothing := func(*gin.Context) {}
	engine.POST("/users", nothing)
	engine.GET("/users/:id", nothing)
	engine.GET("/files/*path", nothing)
	var limiter ratelimiter.RateLimiter
	require.Equal(t, []string{"GET /files/*path", "GET /users/:id", "POST /users"}, limiter.Routes(engine))
	require.Empty(t, limiter.Routes(gin.New()))
}
