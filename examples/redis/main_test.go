package main

import (
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/examples/internal/exampletest"
	"github.com/gin-ratelimiter/ratelimiter/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func init() { gin.SetMode(gin.TestMode) }

// A decision that times out would be made outside Redis, so the timeout is long.
const (
	timeout = "1m"
	onError = "deny"
)

func TestTwoEnginesOnOneRedisShareTheLimitExactly(t *testing.T) {
	server := miniredis.RunT(t)
	urls := make([]string, 2)
	for i := range urls {
		client := redis.NewClient(&redis.Options{Addr: server.Addr()})
		t.Cleanup(func() { require.NoError(t, client.Close()) })
		engine, limiter, err := newEngine(ratelimiter.Config{"RATELIMITER_TIMEOUT": timeout, "RATELIMITER_ON_ERROR": onError}, client, 50, time.Hour)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, limiter.Close()) })
		urls[i] = exampletest.Serve(t, engine)
	}
	require.EqualValues(t, 50, exampletest.Admitted(t, 8, 10, urls...))
	for _, url := range urls {
		require.Equal(t, []int{429}, exampletest.Statuses(t, 1, url))
	}
}

func TestTheProgram(t *testing.T) {
	binary := exampletest.Build(t, ".")
	t.Run("two processes share the limit exactly", func(t *testing.T) { testTwoProcesses(t, binary) })
	t.Run("reports that Redis is missing", func(t *testing.T) { testRedisAway(t, binary) })
}

func testTwoProcesses(t *testing.T, binary string) {
	server := redistest.Single(t)
	variables := []string{"RATELIMITER_TIMEOUT=" + timeout, "RATELIMITER_ON_ERROR=" + onError}
	urls := make([]string, 2)
	for i := range urls {
		urls[i] = exampletest.Start(t, binary, variables, "-port", "0", "-redis", server.Addr, "-limit", "100", "-per", "1h").URL()
	}
	require.EqualValues(t, 100, exampletest.Admitted(t, 16, 10, urls...))
	for _, url := range urls {
		require.Equal(t, []int{429}, exampletest.Statuses(t, 1, url))
	}
}

func testRedisAway(t *testing.T, binary string) {
	away := miniredis.RunT(t)
	address := away.Addr()
	away.Close()
	program := exampletest.Start(t, binary, nil, "-port", "0", "-redis", address)
	require.Equal(t, 1, program.End())
	require.Contains(t, program.Output(), "Start redis-server first")
}
