package ratelimiter_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

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
	flood(3000, 9000)
	require.Less(t, heap()-before, int64(2<<20), "300 bytes a method, of which the counters take 40")
	require.Equal(t, []int{429}, statuses(engine, "/", 1, withHeader("X-HTTP-Method-Override", "METHOD2999")), "and all are limited")
	runtime.KeepAlive(limiter)
}
