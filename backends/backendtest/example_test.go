package backendtest_test

import (
	"context"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/backends/backendtest"
)

// mapBackend is a custom backend: a map of strings, protected by a lock. It shows
// everything that a backend has to do. A backend on a database uses a transaction instead
// of the lock.
type mapBackend struct {
	mu     sync.Mutex
	texts  map[[2]string]string // by key and scope
	closed bool
}

func (m *mapBackend) Take(ctx context.Context, quotas []backends.Quota, verdicts []backends.Verdict) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.ready(ctx); err != nil {
		return err
	}
	get := func(key, scope string) (string, error) { return m.texts[[2]string{key, scope}], nil }
	put := func(key, scope, text string, _ time.Time) error {
		m.texts[[2]string{key, scope}] = text
		return nil
	}
	return backends.Decide(time.Now(), quotas, verdicts, get, put)
}

func (m *mapBackend) Reset(ctx context.Context, key, scope string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.ready(ctx); err != nil {
		return err
	}
	delete(m.texts, [2]string{key, scope})
	return nil
}

func (m *mapBackend) ResetAll(ctx context.Context, prefix string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.ready(ctx); err != nil {
		return err
	}
	maps.DeleteFunc(m.texts, func(of [2]string, _ string) bool { return strings.HasPrefix(of[0], prefix) })
	return nil
}

func (m *mapBackend) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}

func (m *mapBackend) ready(ctx context.Context) error {
	if m.closed {
		return backends.ErrClosed
	}
	return ctx.Err()
}

// This test runs the whole conformance suite.
func TestAMapIsABackend(t *testing.T) {
	backendtest.Run(t, func(*testing.T) backends.Backend {
		return &mapBackend{texts: map[[2]string]string{}}
	})
}
