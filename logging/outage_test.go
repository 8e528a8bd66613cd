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

// without is an event that was decided in memory.
func without(outcome ratelimiter.Outcome, place int) ratelimiter.Event {
	e := about(outcome, "192.0.2.7")
	e.Fallback, e.Err, e.LimitIndex = true, errors.New("dial tcp: connection refused\nat once"), place
	return e
}

const (
	fails   = `level=WARN msg="rate limit: backend fails, limiting in memory" route="GET /search" error="dial tcp: connection refused\nat once"`
	answers = `level=INFO msg="rate limit: backend answers again" since=`
)

func TestAnOutageIsToldOfWhenItBeginsAndWhenItIsOver(t *testing.T) {
	virtual(func(t *testing.T) {
		log, paper := open(t)
		pass(time.Second)
		for range 20 {
			log.Observe(without(ratelimiter.Allowed, 0))
			log.Observe(without(ratelimiter.Allowed, 1)) // the second limit of the same request
			pass(time.Second)
		}
		require.Equal(t, []string{fails}, paper.lines())
		pass(2 * time.Second)
		log.Observe(about(ratelimiter.Allowed, "192.0.2.7"))
		require.Empty(t, paper.lines(), "it may not be over")
		pass(time.Minute)
		require.Equal(t, []string{answers + "00:00:01 lasted=22s decisions=20"}, paper.lines())
		log.Observe(without(ratelimiter.Allowed, 0))
		require.Equal(t, []string{fails}, paper.lines(), "the next one")
	})(t)
}

func TestAnOutageIsNotOverBecauseOfWhatSaysNothingAboutTheBackend(t *testing.T) {
	for name, event := range map[string]ratelimiter.Event{
		"a denial, which may have been remembered": about(ratelimiter.Rejected, "192.0.2.7"),
		"a shadow, which may have been too":        about(ratelimiter.Shadowed, "192.0.2.7"),
		"a request that was skipped":               about(ratelimiter.Skipped, ""),
		"a decision in memory":                     without(ratelimiter.Allowed, 0),
		"an answer to a question from before": func() ratelimiter.Event {
			e := about(ratelimiter.Allowed, "192.0.2.7")
			e.BackendLatency = time.Minute
			return e
		}(),
	} {
		t.Run(name, virtual(func(t *testing.T) {
			log, paper := open(t)
			log.Observe(without(ratelimiter.Allowed, 0))
			pass(time.Second)
			log.Observe(event)
			pass(time.Hour)
			require.NotContains(t, strings.Join(paper.lines(), "\n"), "backend answers")
		}))
	}
}

func TestABackendThatFailsNowAndThenIsOneOutage(t *testing.T) {
	virtual(func(t *testing.T) {
		log, paper := open(t)
		for range 1000 {
			log.Observe(without(ratelimiter.Allowed, 0))
			pass(time.Second)
			log.Observe(about(ratelimiter.Allowed, "192.0.2.7"))
			pass(time.Second)
		}
		require.Equal(t, []string{fails}, paper.lines())
		pass(time.Minute)
		require.Equal(t, []string{answers + "00:00:00 lasted=33m19s decisions=1000"}, paper.lines())
	})(t)
}

func TestARejectionInMemoryIsBothARejectionAndAnOutage(t *testing.T) {
	log, paper := open(t)
	log.Observe(without(ratelimiter.Rejected, 0))
	lines := paper.lines()
	require.Len(t, lines, 2)
	require.Contains(t, lines[0], "client rejected")
	require.Equal(t, fails, lines[1])
}

func TestNoDecisionAtAllIsAnError(t *testing.T) {
	virtual(func(t *testing.T) {
		log, paper := open(t)
		e := about(ratelimiter.BackendError, "192.0.2.7")
		e.Err = errors.New(strings.Repeat("ä", 10_000))
		log.Observe(e)
		lines := paper.lines()
		require.Len(t, lines, 1)
		require.True(t, strings.HasPrefix(lines[0], `level=ERROR msg="rate limit: backend fails" route="GET /search" error=äää`))
		require.Less(t, len(lines[0]), 700)
		pass(time.Second)
		log.Observe(about(ratelimiter.Allowed, "192.0.2.7"))
		require.NoError(t, log.Close())
		require.Equal(t, []string{answers + "00:00:00 lasted=1s decisions=1"}, paper.lines(), "without waiting for more")
	})(t)
}

// fickle is a backend that answers or does not.
type fickle struct {
	backends.Backend
	broken atomic.Bool
}

func (f *fickle) Take(ctx context.Context, quotas []backends.Quota, verdicts []backends.Verdict) error {
	if f.broken.Load() {
		return errors.New("out of order")
	}
	return f.Backend.Take(ctx, quotas, verdicts)
}

func TestAnApplicationIsWatchedThroughAnOutage(t *testing.T) {
	virtual(func(t *testing.T) {
		memory, err := backends.NewMemory(nil)
		require.NoError(t, err)
		backend := &fickle{Backend: memory}
		engine := gin.New()
		log, paper := open(t)
		limiter, err := ratelimiter.New(engine, ratelimiter.Config{"RATELIMITER_BACKEND": backend, "RATELIMITER_OBSERVER": log})
		require.NoError(t, err)
		defer func() { require.NoError(t, limiter.Close()) }()
		engine.GET("/", limiter.RateLimit(2, time.Second), func(c *gin.Context) { c.Status(http.StatusOK) })
		for second := range 60 {
			backend.broken.Store(second >= 20 && second < 30)
			for range 3 {
				engine.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
			}
			pass(time.Second)
		}
		pass(time.Minute)
		lines := paper.lines()
		require.Len(t, lines, 4)
		require.Contains(t, lines[0], "client rejected")
		require.Contains(t, lines[1], `level=WARN msg="rate limit: backend fails, limiting in memory" route="GET /" error="out of order"`)
		require.Contains(t, lines[2], "backend answers again")
		require.Contains(t, lines[2], "since=00:00:20 lasted=11s decisions=33")
		require.Contains(t, lines[3], "client rejected no more")
	})(t)
}

func TestTheLevelOfALoggerIsRespected(t *testing.T) {
	p := &paper{}
	log := logging.New(p.logger(slog.LevelError))
	log.Observe(without(ratelimiter.Rejected, 0))
	require.NoError(t, log.Close())
	require.Empty(t, p.lines())
}
