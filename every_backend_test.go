package ratelimiter_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/backends"
)

// onEveryBackend runs a test with the counters in memory, in Redis, and in a backend that
// an application might implement. The test may add to the configuration.
func onEveryBackend(t *testing.T, test func(t *testing.T, config ratelimiter.Config)) {
	t.Run("memory", func(t *testing.T) { test(t, ratelimiter.Config{}) })
	t.Run("redis", func(t *testing.T) {
		test(t, ratelimiter.Config{
			"RATELIMITER_BACKEND":         "redis",
			"RATELIMITER_BACKEND_OPTIONS": map[string]any{"addr": miniredis.RunT(t).Addr()},
			"RATELIMITER_TIMEOUT":         time.Minute,
		})
	})
	t.Run("own", func(t *testing.T) {
		test(t, ratelimiter.Config{"RATELIMITER_BACKEND": &ownBackend{texts: map[[2]string]string{}}})
	})
}

// ownBackend keeps the states of backends.Decide in a map.
type ownBackend struct {
	mu    sync.Mutex
	texts map[[2]string]string // by key and scope
}

func (o *ownBackend) Take(_ context.Context, quotas []backends.Quota, verdicts []backends.Verdict) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	get := func(key, scope string) (string, error) { return o.texts[[2]string{key, scope}], nil }
	put := func(key, scope, text string, _ time.Time) error {
		o.texts[[2]string{key, scope}] = text
		return nil
	}
	return backends.Decide(time.Now(), quotas, verdicts, get, put)
}

func (o *ownBackend) Reset(_ context.Context, key, scope string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.texts, [2]string{key, scope})
	return nil
}

func (*ownBackend) Close() error { return nil }
