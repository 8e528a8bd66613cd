package main

import (
	"encoding/json"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/examples/internal/exampletest"
	"github.com/stretchr/testify/require"
)

func init() { gin.SetMode(gin.TestMode) }

// frozenRedis is a Redis with a stopped clock, so that a second never ends.
func frozenRedis(t *testing.T) *miniredis.Miniredis {
	server := miniredis.RunT(t)
	server.SetTime(time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC))
	return server
}

func TestTheFourthRequestOfASecondIsRejected(t *testing.T) {
	engine, limiter, err := newEngine(ratelimiter.Config{
		"RATELIMITER_BACKEND":         "redis",
		"RATELIMITER_BACKEND_OPTIONS": map[string]any{"addr": frozenRedis(t).Addr()},
		"RATELIMITER_TIMEOUT":         time.Minute,
		"RATELIMITER_ON_ERROR":        "deny",
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, limiter.Close()) })
	requireOneSecondsWorth(t, exampletest.Serve(t, engine))
}

// requireOneSecondsWorth sends four requests to a fresh server with a stopped clock.
func requireOneSecondsWorth(t *testing.T, url string) {
	t.Helper()
	for _, remaining := range []string{"2", "1", "0"} {
		answer := exampletest.Send(t, http.MethodGet, url)
		require.Equal(t, http.StatusOK, answer.Status)
		require.Equal(t, "Hello!\n", string(answer.Body))
		require.Equal(t, "3", answer.Header.Get("X-RateLimit-Limit"))
		require.Equal(t, remaining, answer.Header.Get("X-RateLimit-Remaining"))
	}
	requireRejection(t, url)
}

func requireRejection(t *testing.T, url string) {
	t.Helper()
	answer := exampletest.Send(t, http.MethodGet, url)
	require.Equal(t, http.StatusTooManyRequests, answer.Status)
	require.NotEmpty(t, answer.Header.Get("Retry-After"))
	require.Equal(t, "0", answer.Header.Get("X-RateLimit-Remaining"))
	require.Equal(t, "application/problem+json", answer.Header.Get("Content-Type"))
	var problem struct {
		Type, Title string
		Status      int
	}
	require.NoError(t, json.Unmarshal(answer.Body, &problem))
	require.Equal(t, "https://iana.org/assignments/http-problem-types#quota-exceeded", problem.Type)
	require.Equal(t, "Rate limit was exceeded", problem.Title)
	require.Equal(t, http.StatusTooManyRequests, problem.Status)
}

func TestTheProgram(t *testing.T) {
	binary := exampletest.Build(t, ".")
	t.Run("limits in memory", func(t *testing.T) { testMemory(t, binary) })
	t.Run("limits in Redis and stops on Ctrl-C", func(t *testing.T) { testRedis(t, binary) })
	t.Run("continues without Redis and reports it", func(t *testing.T) { testRedisAway(t, binary) })
	t.Run("reports why it does not start", func(t *testing.T) { testFaults(t, binary) })
}

func testMemory(t *testing.T, binary string) {
	program := exampletest.Start(t, binary, []string{"PORT=0"})
	url := program.URL()
	require.Equal(t, []int{200, 200, 200}, exampletest.Statuses(t, 3, url))
	// On a slow machine the second may end before the fourth request.
	for range 1000 {
		answer := exampletest.Send(t, http.MethodGet, url)
		if answer.Status == http.StatusTooManyRequests {
			require.NotEmpty(t, answer.Header.Get("Retry-After"))
			return
		}
	}
	require.Fail(t, "1000 requests in a row were allowed")
}

func testRedis(t *testing.T, binary string) {
	program := exampletest.Start(t, binary, []string{
		"PORT=0",
		"RATELIMITER_BACKEND=redis",
		"RATELIMITER_BACKEND_OPTIONS=redis://" + frozenRedis(t).Addr() + "/0",
		"RATELIMITER_TIMEOUT=1m",
		"RATELIMITER_ON_ERROR=deny",
	})
	url := program.URL()
	requireOneSecondsWorth(t, url)
	require.Contains(t, exampletest.Raw(t, url), "\r\nX-Ratelimit-Limit: 3\r\n")
	require.Contains(t, program.Output(), "counted in redis")
	require.NotContains(t, program.Output(), "does not answer")
	if runtime.GOOS == "windows" {
		return // a process cannot send Ctrl-C to another process
	}
	program.Interrupt()
	require.Zero(t, program.End(), program.Output())
}

func testFaults(t *testing.T, binary string) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, taken.Close()) }()
	_, port, err := net.SplitHostPort(taken.Addr().String())
	require.NoError(t, err)
	for name, test := range map[string]struct{ variable, says string }{
		"port in use":      {"PORT=" + port, "cannot listen on 127.0.0.1:" + port},
		"invalid port":     {"PORT=http://", "cannot listen on 127.0.0.1:http://"},
		"unknown backend":  {"RATELIMITER_BACKEND=radis", `did you mean "redis"?`},
		"unknown variable": {"RATELIMITER_BACKNED=redis", `did you mean "RATELIMITER_BACKEND"?`},
	} {
		t.Run(name, func(t *testing.T) {
			program := exampletest.Start(t, binary, []string{test.variable})
			require.Equal(t, 1, program.End(), program.Output())
			require.Contains(t, program.Output(), test.says)
			require.NotContains(t, program.Output(), "Listening")
		})
	}
}

func testRedisAway(t *testing.T, binary string) {
	away := miniredis.RunT(t)
	address := away.Addr()
	away.Close()
	program := exampletest.Start(t, binary, []string{
		"PORT=0", "RATELIMITER_BACKEND=redis", "RATELIMITER_BACKEND_OPTIONS=redis://" + address,
	})
	require.Equal(t, []int{200, 200, 200}, exampletest.Statuses(t, 3, program.URL()))
	require.Eventually(t, func() bool { return strings.Contains(program.Output(), "does not answer") }, time.Minute, 10*time.Millisecond)
}
