package ratelimiter_test

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/internal/redistest"
	"github.com/stretchr/testify/require"
)

// month is a period that no test outlasts.
const month = 720 * time.Hour

// service is an application under load, observed from outside.
type service struct {
	policy  string
	engine  *gin.Engine
	limiter *ratelimiter.RateLimiter
	witness *witness

	served, slow atomic.Int64
	longest      atomic.Int64
	admitted     atomic.Int64 // requests for the scarce resource
	excused      atomic.Int64 // those of them that were allowed without a decision
	unavailable  atomic.Int64
	rejected     atomic.Int64

	ended chan struct{}
	group sync.WaitGroup
	once  sync.Once
}

const serviceTimeout = 100 * time.Millisecond

func newService(t *testing.T, policy string, timeout time.Duration, options map[string]any) *service {
	shared, err := backends.NewRedis(options)
	require.NoError(t, err)
	s := &service{policy: policy, witness: &witness{Backend: shared}, ended: make(chan struct{})}
	s.engine, s.limiter = application(t, ratelimiter.Config{
		"RATELIMITER_BACKEND": s.witness, "RATELIMITER_ON_ERROR": policy,
		"RATELIMITER_TIMEOUT": timeout, "RATELIMITER_KEY_PREFIX": policy,
	})
	t.Cleanup(func() { s.stop(); require.NoError(t, shared.Close()) })
	s.engine.GET("/scarce", s.limiter.RateLimit(scarce, month, named("scarce")), ok)
	s.engine.GET("/plenty", s.limiter.RateLimit(plenty, month, named("plenty")), ok)
	return s
}

func named(key string) ratelimiter.Option {
	return ratelimiter.WithKey(func(*gin.Context) string { return key })
}

// load sends requests until it is stopped: some to the scarce resource and more to the
// plentiful one, because rejections are possible even if nothing can be written.
func (s *service) load(t *testing.T) {
	for _, path := range []string{"/scarce", "/plenty", "/plenty", "/plenty", "/plenty", "/plenty"} {
		s.group.Go(func() {
			ticker := time.NewTicker(10 * time.Millisecond)
			defer ticker.Stop()
			for {
				select {
				case <-s.ended:
					return
				case <-ticker.C:
					s.request(t, path)
				}
			}
		})
	}
}

func (s *service) stop() {
	s.once.Do(func() { close(s.ended) })
	s.group.Wait()
}

func (s *service) request(t *testing.T, path string) {
	start := time.Now()
	response := get(s.engine, path)
	s.took(time.Since(start))
	switch {
	case response.Code == http.StatusOK && path == "/scarce":
		s.admitted.Add(1)
		if s.policy == "allow" && header(response, "X-RateLimit-Limit") == "" {
			s.excused.Add(1)
		}
	case response.Code == http.StatusOK:
	case response.Code == http.StatusTooManyRequests && path == "/scarce":
		s.rejected.Add(1)
	case response.Code == http.StatusServiceUnavailable && s.policy == "deny" && header(response, "Retry-After") == "1":
		s.unavailable.Add(1)
	default:
		t.Errorf("policy %s answered %d to %s", s.policy, response.Code, path)
	}
}

func (s *service) took(d time.Duration) {
	s.served.Add(1)
	if d > serviceTimeout {
		s.slow.Add(1)
	}
	for {
		longest := s.longest.Load()
		if int64(d) <= longest || s.longest.CompareAndSwap(longest, int64(d)) {
			return
		}
	}
}

func (s *service) worst() time.Duration { return time.Duration(s.longest.Load()) }

func (s *service) usedUp() bool { return s.rejected.Load() > 0 }

// over returns how many units were allowed beyond the limit.
func (s *service) over() int64 { return max(0, s.admitted.Load()-scarce) }

// check compares the allowed requests with the maximum: the limit in Redis, once more if
// Redis loses its data, and once more for the memory of the process if that is the
// fallback.
func (s *service) check(t *testing.T, f fault) {
	t.Helper()
	require.Less(t, s.worst(), longestWait)
	allowed := int64(scarce)
	if f.forgets {
		allowed += scarce
	}
	if s.policy == "fallback" && !f.harmless {
		allowed += scarce
	}
	require.LessOrEqual(t, s.admitted.Load()-s.excused.Load(), allowed, "%s: units admitted", s.policy)
	if f.lasting && s.policy == "deny" {
		require.Positive(t, s.unavailable.Load())
	}
	failed := s.witness.failed.Load()
	if f.harmless {
		require.Zero(t, failed, "%s: decisions not made", s.policy)
	}
	charged, granted := s.charged(t), s.witness.granted.Load()
	require.LessOrEqual(t, charged, granted+failed, "%s: something was charged twice", s.policy)
	if !f.forgets {
		require.GreaterOrEqual(t, charged, granted, "%s: something was not charged", s.policy)
	}
}

// charged reads the units that Redis has charged for the plentiful resource. It retries,
// because a pooled connection may be broken.
func (s *service) charged(t *testing.T) int64 {
	peek := backends.Quota{Key: s.policy + "/key/plenty", Scope: "192.0.2.1", Limit: plenty, Per: month}
	verdicts := make([]backends.Verdict, 1)
	redistest.Eventually(t, "Redis returns the charged units", func(ctx context.Context) bool {
		ctx, cancel := context.WithTimeout(ctx, serviceTimeout)
		defer cancel()
		return s.witness.Backend.Take(ctx, []backends.Quota{peek}, verdicts) == nil
	})
	return plenty - verdicts[0].Remaining
}

// witness records the calls to a backend and its answers.
type witness struct {
	backends.Backend
	granted, failed atomic.Int64 // of the plentiful resource
	inARow          atomic.Int64 // granted since the last failure
	probesFailed    atomic.Int64
}

func (w *witness) Take(ctx context.Context, quotas []backends.Quota, verdicts []backends.Verdict) error {
	err := w.Backend.Take(ctx, quotas, verdicts)
	plentiful := quotas[0].Limit == plenty && quotas[0].Per == month
	switch {
	case plentiful && err != nil:
		w.failed.Add(1)
		w.inARow.Store(0)
	case plentiful && verdicts[0].Allowed:
		w.granted.Add(1)
		w.inARow.Add(1)
	case quotas[0].Scope == "probe" && err != nil:
		w.probesFailed.Add(1)
	}
	return err
}
