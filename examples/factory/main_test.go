package main

import (
	"net/http"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/examples/factory/extensions"
	"github.com/gin-ratelimiter/ratelimiter/examples/internal/exampletest"
	"github.com/stretchr/testify/require"
)

func init() { gin.SetMode(gin.TestMode) }

func TestTheConstructorInitialisesTheExtensionForItsRoutes(t *testing.T) {
	engine, err := newEngine(ratelimiter.Config{"RATELIMITER_KEY_PREFIX": "factory"})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, extensions.Limiter.Close())
		extensions.Limiter = ratelimiter.RateLimiter{} // for the next run in this process
	})
	url := exampletest.Serve(t, engine)
	for range 5 {
		require.Equal(t, http.StatusOK, exampletest.Send(t, http.MethodPost, url+"/login").Status)
	}
	require.Equal(t, http.StatusTooManyRequests, exampletest.Send(t, http.MethodPost, url+"/login").Status)
	require.Equal(t, []int{200, 200}, exampletest.Statuses(t, 2, url+"/"), "this route has no limit")

	second, err := newEngine(nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusTooManyRequests, exampletest.Send(t, http.MethodPost, exampletest.Serve(t, second)+"/login").Status, "a second engine shares the counters")

	_, err = newEngine(ratelimiter.Config{})
	require.ErrorIs(t, err, ratelimiter.ErrAlreadyInitialised)
}
