package bench

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter/internal/redistest"
	"github.com/stretchr/testify/require"
)

// hourly regains a unit in 36 seconds, which none of these tests takes.
var hourly = quota{usual.limit, time.Hour}

// limits checks that somebody admits the limit and then rejects. One more or
// less is theirs: what counts here is that the benchmarks compare rate limiters.
func limits(t *testing.T, ask take) {
	t.Helper()
	require.InDelta(t, hourly.limit, exhaust(ask, keyOf(7)), 1)
	allowed, err := ask(keyOf(8))
	require.NoError(t, err)
	require.True(t, allowed, "another key has a limit of its own")
}

func TestEverybodyLimitsInMemory(t *testing.T) {
	for _, c := range contenders() {
		if c.memory == nil {
			continue
		}
		t.Run(label(c.name), func(t *testing.T) {
			limiter := c.memory(hourly)
			defer limiter.stop()
			limits(t, limiter.take())
		})
	}
}

func TestEverybodyLimitsInRedis(t *testing.T) {
	server := redistest.Single(t)
	for _, c := range contenders() {
		if c.redis == nil {
			continue
		}
		t.Run(label(c.name), func(t *testing.T) {
			limiter := c.redis(hourly, server.Addr)
			defer limiter.stop()
			limits(t, limiter.take())
		})
	}
}

func TestEverybodyLimitsInGin(t *testing.T) {
	for _, c := range append(contenders(), oursThreeLimits) {
		if c.gin == nil {
			continue
		}
		t.Run(label(c.name), func(t *testing.T) {
			engine := gin.New()
			middleware, stop := c.gin(engine, hourly)
			defer stop()
			handler, request := limitedRoute(engine, middleware)
			limits(t, func(key string) (bool, error) {
				// The keys end in the digits that make two clients.
				request.RemoteAddr = "192.0.2." + key[len(key)-1:] + ":1234"
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, request)
				return w.Code == http.StatusOK, nil
			})
		})
	}
}

func TestKeys(t *testing.T) {
	require.Equal(t, "client-with-a-rather-long-name-00001234567", keyOf(1_234_567))
	require.Len(t, keyOf(0), 42)
	require.NotEqual(t, uniform(1000)[:10], zipf(1000)[:10])
}
