package logging_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/logging"
	"github.com/stretchr/testify/require"
)

// withoutBackend returns an event that was decided in memory.
func withoutBackend(outcome ratelimiter.Outcome, place int) ratelimiter.Event {
	e := about(outcome, "192.0.2.7")
	e.Fallback, e.Err, e.LimitIndex = true, errors.New("dial tcp: connection refused\nat once"), place
	return e
}

const (
	unavailable = `level=WARN msg="rate limit: backend unavailable, limiting in memory" route="GET /search" error="dial tcp: connection refused\nat once"`
	available   = `level=INFO msg="rate limit: backend available again" since=`
)

func TestAnOutageIsReportedAtItsBeginningAndEnd(t *testing.T) {
	virtual(func(t *testing.T) {
		log, out := open(t)
		advance(time.Second)
		for range 20 {
			log.Observe(withoutBackend(ratelimiter.Allowed, 0))
			log.Observe(withoutBackend(ratelimiter.Allowed, 1)) // second limit of the same request
			advance(time.Second)
		}
		require.Equal(t, []string{unavailable}, out.lines())
		advance(2 * time.Second)
		log.Observe(about(ratelimiter.Allowed, "192.0.2.7"))
		require.Empty(t, out.lines(), "the outage may go on")
		advance(time.Minute)
		require.Equal(t, []string{available + "00:00:01 lasted=22s decisions=20"}, out.lines())
		log.Observe(withoutBackend(ratelimiter.Allowed, 0))
		require.Equal(t, []string{unavailable}, out.lines(), "the next outage")
	})(t)
}

func TestOnlyAnAnswerOfTheBackendEndsAnOutage(t *testing.T) {
	for name, event := range map[string]ratelimiter.Event{
		"a denial, which may be cached":                   about(ratelimiter.Rejected, "192.0.2.7"),
		"a denial by a shadow limit, which may be cached": about(ratelimiter.Shadowed, "192.0.2.7"),
		"a skipped request":                               about(ratelimiter.Skipped, ""),
		"a decision in memory":                            withoutBackend(ratelimiter.Allowed, 0),
		"an answer to an earlier call": func() ratelimiter.Event {
			e := about(ratelimiter.Allowed, "192.0.2.7")
			e.BackendLatency = time.Minute
			return e
		}(),
	} {
		t.Run(name, virtual(func(t *testing.T) {
			log, out := open(t)
			log.Observe(withoutBackend(ratelimiter.Allowed, 0))
			advance(time.Second)
			log.Observe(event)
			advance(time.Hour)
			require.NotContains(t, strings.Join(out.lines(), "\n"), "backend available")
		}))
	}
}

func TestABackendThatFailsNowAndThenIsASingleOutage(t *testing.T) {
	virtual(func(t *testing.T) {
		log, out := open(t)
		for range 1000 {
			log.Observe(withoutBackend(ratelimiter.Allowed, 0))
			advance(time.Second)
			log.Observe(about(ratelimiter.Allowed, "192.0.2.7"))
			advance(time.Second)
		}
		require.Equal(t, []string{unavailable}, out.lines())
		advance(time.Minute)
		require.Equal(t, []string{available + "00:00:00 lasted=33m19s decisions=1000"}, out.lines())
	})(t)
}

func TestARejectionInMemoryIsARejectionAndAnOutage(t *testing.T) {
	log, out := open(t)
	log.Observe(withoutBackend(ratelimiter.Rejected, 0))
	lines := out.lines()
	require.Len(t, lines, 2)
	require.Contains(t, lines[0], "client rejected")
	require.Equal(t, unavailable, lines[1])
}

func TestAFailureWithoutAFallbackIsAnError(t *testing.T) {
	virtual(func(t *testing.T) {
		log, out := open(t)
		e := about(ratelimiter.BackendError, "192.0.2.7")
		e.Err = errors.New(strings.Repeat("ä", 10_000))
		log.Observe(e)
		lines := out.lines()
		require.Len(t, lines, 1)
		require.True(t, strings.HasPrefix(lines[0], `level=ERROR msg="rate limit: backend unavailable" route="GET /search" error=äää`))
		require.Less(t, len(lines[0]), 700)
		advance(time.Second)
		log.Observe(about(ratelimiter.Allowed, "192.0.2.7"))
		require.NoError(t, log.Close())
		require.Equal(t, []string{available + "00:00:00 lasted=1s decisions=1"}, out.lines(), "without waiting")
	})(t)
}

// unreliable is a backend that answers or fails.
type unreliable struct {
	backends.Backend
	broken atomic.Bool
}

func (f *unreliable) Take(ctx context.Context, quotas []backends.Quota, verdicts []backends.Verdict) error {
	if f.broken.Load() {
		return errors.New("failing")
	}
	return f.Backend.Take(ctx, quotas, verdicts)
}

func TestTheLogOfAnApplicationDuringAnOutage(t *testing.T) {
	virtual(func(t *testing.T) {
		memory, err := backends.NewMemory(nil)
		require.NoError(t, err)
		backend := &unreliable{Backend: memory}
		engine := gin.New()
		log, out := open(t)
		limiter, err := ratelimiter.New(engine, ratelimiter.Config{"RATELIMITER_BACKEND": backend, "RATELIMITER_OBSERVER": log})
		require.NoError(t, err)
		defer func() { require.NoError(t, limiter.Close()) }()
		engine.GET("/", limiter.RateLimit(2, time.Second), func(c *gin.Context) { c.Status(http.StatusOK) })
		for second := range 60 {
			backend.broken.Store(second >= 20 && second < 30)
			for range 3 {
				engine.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
			}
			advance(time.Second)
		}
		advance(time.Minute)
		lines := out.lines()
		require.Len(t, lines, 4)
		require.Contains(t, lines[0], "client rejected")
		require.Contains(t, lines[1], `level=WARN msg="rate limit: backend unavailable, limiting in memory" route="GET /" error=failing`)
		require.Contains(t, lines[2], "backend available again")
		require.Contains(t, lines[2], "since=00:00:20 lasted=11s decisions=33")
		require.Contains(t, lines[3], "client no longer rejected")
	})(t)
}

func TestTheLevelOfALoggerIsRespected(t *testing.T) {
	p := &output{}
	log := logging.New(p.logger(slog.LevelError))
	log.Observe(withoutBackend(ratelimiter.Rejected, 0))
	require.NoError(t, log.Close())
	require.Empty(t, p.lines())
}
