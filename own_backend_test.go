package ratelimiter_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/internal/redistest"
	"github.com/stretchr/testify/require"
)

// texts is a custom backend: a map of strings with a lock.
type texts struct {
	mu    sync.Mutex
	known map[[2]string]string // by key and scope
	takes [][]backends.Quota   // the quotas of each Take
}

func newTexts() *texts { return &texts{known: map[[2]string]string{}} }

func (m *texts) Take(_ context.Context, quotas []backends.Quota, verdicts []backends.Verdict) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.takes = append(m.takes, append([]backends.Quota(nil), quotas...))
	get := func(key, scope string) (string, error) { return m.known[[2]string{key, scope}], nil }
	put := func(key, scope, text string, _ time.Time) error {
		m.known[[2]string{key, scope}] = text
		return nil
	}
	return backends.Decide(time.Now(), quotas, verdicts, get, put)
}

func (m *texts) Reset(_ context.Context, key, scope string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.known, [2]string{key, scope})
	return nil
}

func (m *texts) ResetAll(ctx context.Context, prefix string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for of := range m.known {
		if strings.HasPrefix(of[0], prefix) {
			delete(m.known, of)
		}
	}
	return nil
}

func (m *texts) Close() error { return nil }

// onRedis returns the configuration of a limiter with its counters in Redis.
func onRedis(addr string) ratelimiter.Config {
	return ratelimiter.Config{
		"RATELIMITER_BACKEND":         "redis",
		"RATELIMITER_BACKEND_OPTIONS": map[string]any{"addr": addr},
		"RATELIMITER_TIMEOUT":         time.Minute,
	}
}

// realRedis starts a server for the test and returns its address.
func realRedis(t *testing.T) string {
	t.Helper()
	return redistest.Single(t).Addr
}

// terse rejects everything and does not say when a request is allowed again.
type terse struct{ *texts }

func (terse) Take(_ context.Context, _ []backends.Quota, verdicts []backends.Verdict) error {
	clear(verdicts)
	return nil
}

func TestARejectionWithoutATimeToWaitHasARetryAfterOfASecond(t *testing.T) {
	engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_BACKEND": terse{newTexts()}})
	engine.GET("/", limiter.RateLimit(5, time.Hour), ok)
	response := get(engine, "/")
	require.Equal(t, 429, response.Code)
	require.Equal(t, "1", header(response, "Retry-After"))
	require.Contains(t, response.Body.String(), "Limit: 5 requests per hour.")
}
