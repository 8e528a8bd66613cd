package pages_test

import (
	"context"
	"testing"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
)

type (
	Quota   = backends.Quota
	Verdict = backends.Verdict
)

type Backend interface {
	Take(ctx context.Context, quotas []Quota, verdicts []Verdict) error
	Reset(ctx context.Context, key, scope string) error
	Close() error
}

func TestACustomBackendIsPassedOrRegistered(t *testing.T) {
	var mine Backend
	mine, err := backends.NewMemory(nil)
	require.NoError(t, err)

	config := ratelimiter.Config{"RATELIMITER_BACKEND": mine}

	_, limiter := application(t, config)
	require.Same(t, mine, limiter.Backend())

	ratelimiter.RegisterBackend("mine", func(map[string]any) (backends.Backend, error) {
		return mine, nil
	})

	engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_BACKEND": "mine"})
	require.Same(t, mine, limiter.Backend())
	engine.GET("/", limiter.RateLimit(1, time.Hour), ok)
	require.Equal(t, []int{200, 429}, statuses(engine, 2, "GET", "/"))
}
