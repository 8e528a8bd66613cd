package main

import (
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter/examples/internal/exampletest"
	"github.com/stretchr/testify/require"
)

func init() { gin.SetMode(gin.TestMode) }

func TestAllRoutesTogetherAreLimited(t *testing.T) {
	engine, limiter, err := newEngine(nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, limiter.Close()) })
	url := exampletest.Serve(t, engine)
	require.Equal(t, []int{200, 200, 200, 200, 200}, exampletest.Statuses(t, 5, url+"/news"))
	require.Equal(t, []int{200, 200, 200}, exampletest.Statuses(t, 3, url+"/users/1"))
	require.Equal(t, []int{200}, exampletest.Statuses(t, 1, url+"/users/2"))
	require.Equal(t, []int{404}, exampletest.Statuses(t, 1, url+"/nowhere"), "a request that matches no route counts too")
	for _, path := range []string{"/news", "/users/3", "/nowhere"} {
		require.Equal(t, []int{429}, exampletest.Statuses(t, 1, url+path), path)
	}
	require.Equal(t, []int{200, 200}, exampletest.Statuses(t, 2, url+"/health"), "it is registered before the limit")
}
