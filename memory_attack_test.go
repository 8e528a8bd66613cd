package ratelimiter_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/alicebob/miniredis/v2"
	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

// Clients try to fill the memory of the process.

// heap is how many bytes are alive.
func heap() int64 {
	runtime.GC()
	runtime.GC() // what a sync.Pool held is gone after the second one
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// longRequest is a request that a server has read: the parts of its path are pieces of one
// long text.
func longRequest(method, path string) *http.Request {
	line := strings.Clone(path + "?" + strings.Repeat("x", 256<<10))
	request := httptest.NewRequest(method, "/", nil)
	request.URL.Path, request.URL.RawQuery, _ = strings.Cut(line, "?")
	return request
}

func TestAKeyThatIsRememberedKeepsNoRequestAlive(t *testing.T) {
	engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_BACKEND": newDistant(t, 0)})
	engine.GET("/files/:id", limiter.RateLimit(5, time.Hour, ratelimiter.WithKey(ratelimiter.ByParam("id"))), ok)
	before := heap()
	const keys = 400
	for i := range keys {
		engine.ServeHTTP(httptest.NewRecorder(), longRequest(http.MethodGet, fmt.Sprintf("/files/%d", i)))
	}
	require.Len(t, limiter.Keys(), keys)
	require.Less(t, heap()-before, int64(16<<20), "of 100 MB that were sent")
	runtime.KeepAlive(limiter)
}

func TestUnitsThatAreLeasedKeepNoRequestAlive(t *testing.T) {
	engine, limiter := application(t, ratelimiter.Config{
		"RATELIMITER_BACKEND":         "redis",
		"RATELIMITER_BACKEND_OPTIONS": map[string]any{"addr": miniredis.RunT(t).Addr(), "lease": 10},
		"RATELIMITER_TIMEOUT":         time.Minute,
	})
	engine.GET("/files/:id", limiter.RateLimit(1000, time.Hour, ratelimiter.WithScope(ratelimiter.ByParam("id"))), ok)
	before := heap()
	for i := range 400 {
		engine.ServeHTTP(httptest.NewRecorder(), longRequest(http.MethodGet, fmt.Sprintf("/files/%d", i)))
	}
	require.Less(t, heap()-before, int64(16<<20), "of 100 MB that were sent")
	runtime.KeepAlive(limiter)
}

// A middleware that believes a header about the method lets clients name any.
func TestMethodsThatClientsMakeUpTakeBoundedMemory(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.Use(func(c *gin.Context) { c.Request.Method = c.GetHeader("X-HTTP-Method-Override") })
	engine.GET("/", limiter.RateLimit(1, time.Hour), ok)
	flood := func(from, to int) {
		for i := from; i < to; i++ {
			get(engine, "/", withHeader("X-HTTP-Method-Override", fmt.Sprintf("METHOD%d", i)))
		}
	}
	flood(0, 3000)
	require.Less(t, len(limiter.Keys()), 2100)
	before := heap()
	flood(3000, 6000)
	require.Less(t, heap()-before, int64(1<<20), "300 bytes a method, of which the counters take 40")
	require.Equal(t, []int{429}, statuses(engine, "/", 1, withHeader("X-HTTP-Method-Override", "METHOD2999")), "and all are limited")
	runtime.KeepAlive(limiter)
}

func TestNoTextOfAClientMakesALongOrUnprintableKeyInRedis(t *testing.T) {
	server := miniredis.RunT(t)
	engine, limiter := application(t, ratelimiter.Config{
		"RATELIMITER_BACKEND":         "redis",
		"RATELIMITER_BACKEND_OPTIONS": map[string]any{"addr": server.Addr()},
		"RATELIMITER_TIMEOUT":         time.Minute,
	})
	sent := ratelimiter.ByHeader("X-Sent")
	engine.GET("/", limiter.RateLimit(5, time.Hour, ratelimiter.WithKey(sent, sent), ratelimiter.WithScope(sent, sent, sent, sent)), ok)
	texts := []string{
		strings.Repeat("x", 1<<20), strings.Repeat("|", 1<<20), strings.Repeat("é", 64), "a\r\nFLUSHALL\r\n", "a\x00b", "\xff", "\x1b[2J",
		"*", "?", "[a-z]", "{a}", "}{", "{}", "a:b", ":1", "bans", "ban/bans", "breaker",
	}
	for _, text := range texts {
		require.Equal(t, 200, get(engine, "/", func(r *http.Request) { r.Header["X-Sent"] = []string{text} }).Code, "%.20q", text)
		_, err := limiter.Take(t.Context(), ratelimiter.Limit{Limit: 5, Per: time.Minute}, text, text, 1)
		require.NoError(t, err, "%.20q", text)
	}
	keys := server.Keys()
	require.Len(t, keys, 2*len(texts))
	for _, key := range keys {
		require.Less(t, len(key), 350)
		require.True(t, strings.HasPrefix(key, "rate_limit/key/"), key)
		require.False(t, strings.ContainsFunc(key, func(r rune) bool { return !unicode.IsPrint(r) }), "%q", key)
	}
	require.NoError(t, limiter.ResetAll(t.Context()))
	require.Empty(t, server.Keys())
}

// The key of a Take is the application's own word, and no scope leads out of it.
func TestNoScopeOfATakeReachesTheCounterOfARoute(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.GET("/", limiter.RateLimit(1, time.Hour), ok)
	for _, scope := range []string{"192.0.2.1", "GET /", "GET /|192.0.2.1", "address:192.0.2.1"} {
		_, err := limiter.Take(t.Context(), ratelimiter.Limit{Limit: 1, Per: time.Hour}, "mail", scope, 1)
		require.NoError(t, err)
	}
	require.Equal(t, []int{200, 429}, statuses(engine, "/", 2))
}
