package ratelimiter_test

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"github.com/stretchr/testify/require"
)

// cluster is a Redis on the virtual clock of a synctest bubble, and the processes that
// share it.

type cluster struct {
	t     *testing.T
	redis *miniredis.Miniredis
	hall  *hall
	crowd *crowd
	// rule creates the middleware of each process.
	rule func(*ratelimiter.RateLimiter) gin.HandlerFunc
}

func newCluster(t *testing.T, limit any, options ...ratelimiter.Option) *cluster {
	server := miniredis.NewMiniRedis()
	server.ClockTTL(true)
	t.Cleanup(server.Close)
	options = append(options, ratelimiter.WithKey(ratelimiter.Shared("jobs"))) // known to Status from the start
	rule := func(limiter *ratelimiter.RateLimiter) gin.HandlerFunc { return limiter.Concurrent(limit, options...) }
	return &cluster{t, server, newHall(), newCrowd(), rule}
}

// process is a process with its own limiter.
type process struct {
	*gin.Engine
	limiter *ratelimiter.RateLimiter
	link    *link
}

// link is the connection of a process to Redis.
type link struct {
	backends.Backend
	down  atomic.Bool
	calls atomic.Int64
	lose  atomic.Bool   // lose the next reply
	delay time.Duration // of replies
}

var errLost = errors.New("the answer was lost")

func (l *link) Take(ctx context.Context, quotas []backends.Quota, verdicts []backends.Verdict) error {
	if l.down.Load() {
		return errLost
	}
	l.calls.Add(1)
	err := l.Backend.Take(ctx, quotas, verdicts)
	if l.delay > 0 {
		select {
		case <-time.After(l.delay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err == nil && l.lose.CompareAndSwap(true, false) {
		return errLost
	}
	return err
}

// clientOf returns a client that resolves no host name, because a name server outside the
// bubble would answer.
func clientOf(dial func(context.Context, string, string) (net.Conn, error)) *redis.Client {
	return redis.NewClient(&redis.Options{
		Dialer: dial, PoolSize: 100, MaxRetries: -1, DialerRetries: 1,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
}

func (w *cluster) process(config ...ratelimiter.Config) *process {
	w.t.Helper()
	client := clientOf(func(context.Context, string, string) (net.Conn, error) { return w.redis.Dial() })
	backend, err := backends.NewRedis(map[string]any{"client": client})
	require.NoError(w.t, err)
	p := &process{link: &link{Backend: backend}}
	all := ratelimiter.Config{"RATELIMITER_BACKEND": p.link}
	for _, more := range config {
		for key, value := range more {
			all[key] = value
		}
	}
	p.Engine = gin.New()
	p.limiter, err = ratelimiter.New(p.Engine, all)
	require.NoError(w.t, err)
	w.t.Cleanup(func() {
		require.NoError(w.t, p.limiter.Close())
		require.NoError(w.t, backend.Close())
		require.NoError(w.t, client.Close())
	})
	p.GET("/", w.rule(p.limiter), w.hall.handle)
	return p
}

// enter sends a request and returns its status, or 200 if it is in progress.
func (w *cluster) enter(p *process) int {
	visit := w.crowd.send(p, "/")
	if visit.response == nil {
		return 200
	}
	return visit.response.Code
}

// inShared runs a test of processes that share a limit on requests in progress.
func inShared(t *testing.T, limit any, test func(t *testing.T, w *cluster), options ...ratelimiter.Option) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t, limit, options...)
		test(t, w)
		w.hall.letOut(int(w.hall.inside.Load()))
		w.crowd.all.Wait()
	})
}
