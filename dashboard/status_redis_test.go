//go:build !ratelimiter_noredis

package dashboard

import (
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

func TestThePageGetsNoPassword(t *testing.T) {
	server := miniredis.RunT(t)
	server.RequireAuth("hunter2")
	gin.SetMode(gin.TestMode)
	limiter, err := ratelimiter.New(gin.New(), ratelimiter.Config{
		"RATELIMITER_BACKEND":         "redis",
		"RATELIMITER_BACKEND_OPTIONS": map[string]any{"url": "redis://:hunter2@" + server.Addr() + "/3"},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, limiter.Close()) })
	h := New(limiter)
	t.Cleanup(h.Close)
	require.Equal(t, "redis://"+server.Addr()+"/3", h.snapshot(true).Backend.Address)
	require.NotContains(t, string(h.history()), "hunter2")
}
