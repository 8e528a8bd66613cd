package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/metrics"
	"github.com/stretchr/testify/require"
)

func init() { gin.SetMode(gin.TestMode) }

func ok(c *gin.Context) { c.Status(http.StatusOK) }

func get(engine *gin.Engine, path, peer string) {
	request := httptest.NewRequest(http.MethodGet, path, nil)
	request.RemoteAddr = peer
	engine.ServeHTTP(httptest.NewRecorder(), request)
}

func application(t testing.TB, config ratelimiter.Config) (*gin.Engine, *ratelimiter.RateLimiter) {
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, limiter.Close()) })
	return engine, limiter
}

// counts returns the counts of a tally that are not 0, by name.
func counts(tally *metrics.Tally) map[string]uint64 {
	all := map[string]uint64{}
	for c := range tally.Counts() {
		if c.Decisions > 0 {
			all[c.Route+" "+c.Limit+" "+c.Outcome.String()] = c.Decisions
		}
	}
	return all
}

func values(tally *metrics.Tally) map[string]float64 {
	all := map[string]float64{}
	for _, value := range tally.Values() {
		all[value.Name] = value.Value
	}
	return all
}

func TestDecisionsAreCountedByRouteLimitAndOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no minute ends
		engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_APPLICATION_LIMITS": "100/minute"})
		tally := metrics.New(limiter, nil)
		skip := func(c *gin.Context) bool { return c.Query("skip") != "" }
		engine.GET("/users/:id", limiter.RateLimit(1, time.Minute, ratelimiter.WithSkip(skip),
			ratelimiter.WithLimit(0, time.Hour, ratelimiter.WithShadow(), ratelimiter.WithName("trial"))), ok)
		for _, path := range []string{"/users/1", "/users/2", "/users/3?skip=1", "/nowhere"} {
			get(engine, path, "192.0.2.1:1")
		}
		require.Equal(t, map[string]uint64{
			"GET /users/:id application-per-minute allowed": 3,
			"GET /users/:id per-minute allowed":             1,
			"GET /users/:id per-minute rejected":            1,
			"GET /users/:id per-minute skipped":             1,
			"GET /users/:id trial shadowed":                 2,
			"GET /users/:id trial skipped":                  1,
			"unmatched application-per-minute allowed":      1,
		}, counts(tally))

		tally.Close()
		before := counts(tally)
		get(engine, "/users/1", "192.0.2.1:1")
		require.Equal(t, before, counts(tally), "the counts stay, and nothing is added")
	})
}

func TestTheFirstRejectionIsAnIncreaseFromZero(t *testing.T) {
	engine, limiter := application(t, nil)
	tally := metrics.New(limiter, nil)
	engine.GET("/", limiter.RateLimit(1, time.Minute), ok)
	get(engine, "/", "192.0.2.1:1")
	var counted []metrics.Count
	for count := range tally.Counts() {
		counted = append(counted, count)
	}
	require.Equal(t, []metrics.Count{
		{"GET /", "per-minute", ratelimiter.Allowed, 1},
		{"GET /", "per-minute", ratelimiter.Rejected, 0},
	}, counted)
}

func TestAFloodOfRoutesIsCountedInBoundedMemory(t *testing.T) {
	const routes = metrics.MaxPairs + 500
	engine, limiter := application(t, nil)
	for i := range routes {
		engine.GET(fmt.Sprintf("/%d", i), limiter.RateLimit(1000, time.Minute), ok)
	}
	for i := range routes { // memory of the router and the limiter does not count
		get(engine, fmt.Sprintf("/%d", i), "192.0.2.1:1")
	}
	before := heap()
	tally := metrics.New(limiter, nil)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for i := range routes {
				get(engine, fmt.Sprintf("/%d", i), "192.0.2.1:1")
			}
		})
	}
	group.Wait()
	require.Less(t, heap()-before, int64(300_000))

	var all uint64
	counted := counts(tally)
	for _, n := range counted {
		all += n
	}
	require.Len(t, counted, metrics.MaxPairs+1)
	require.EqualValues(t, 4*500, counted["other other allowed"])
	require.EqualValues(t, 4*routes, all, "nothing is lost")
}

func TestCountsKeepTheirOrder(t *testing.T) {
	engine, limiter := application(t, nil)
	tally := metrics.New(limiter, nil)
	var want, counted []string
	for i := range 100 {
		path := fmt.Sprintf("/%d", i)
		engine.GET(path, limiter.RateLimit(1, time.Minute), ok)
		get(engine, path, "192.0.2.1:1")
		want = append(want, "GET "+path)
	}
	for count := range tally.Counts() {
		if count.Outcome == ratelimiter.Allowed {
			counted = append(counted, count.Route)
		}
	}
	require.Equal(t, want, counted)
	for range tally.Counts() {
		break // a caller may stop early
	}
}

func heap() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

func TestANameThatIsNotUTF8IsQuoted(t *testing.T) {
	engine, limiter := application(t, nil)
	tally := metrics.New(limiter, nil)
	engine.GET("/\xff", limiter.RateLimit(1, time.Minute), ok)
	get(engine, "/%FF", "192.0.2.1:1")
	require.Equal(t, map[string]uint64{`"GET /\xff" per-minute allowed`: 1}, counts(tally))
}

func TestEveryOutcomeIsCountedSeparately(t *testing.T) {
	require.True(t, strings.HasPrefix((ratelimiter.Banned+1).String(), "Outcome("), "a tally does not count the newest outcome")
}

// broken is a backend that always fails.
type broken struct{}

func (broken) Take(context.Context, []backends.Quota, []backends.Verdict) error {
	return errors.New("unavailable")
}
func (broken) Reset(context.Context, string, string) error { return nil }
func (broken) Close() error                                { return nil }

func TestTheLatencyIsReportedOncePerCall(t *testing.T) {
	for name, test := range map[string]struct {
		config ratelimiter.Config
		want   []bool
	}{
		"answered":                {nil, []bool{true, true}},
		"decided in this process": {ratelimiter.Config{"RATELIMITER_BACKEND": broken{}}, []bool{false, false}},
		"not answered, allowed":   {ratelimiter.Config{"RATELIMITER_BACKEND": broken{}, "RATELIMITER_ON_ERROR": "allow"}, []bool{false, false}},
	} {
		t.Run(name, func(t *testing.T) {
			engine, limiter := application(t, test.config)
			var told []bool
			metrics.New(limiter, func(took time.Duration, answered bool) {
				require.Positive(t, took)
				told = append(told, answered)
			})
			skip := func(c *gin.Context) bool { return c.Query("skip") != "" }
			engine.GET("/", limiter.RateLimit(1, time.Minute, ratelimiter.WithSkip(skip), ratelimiter.WithLimit(5, time.Hour)), ok)
			for _, path := range []string{"/", "/", "/?skip=1"} {
				get(engine, path, "192.0.2.1:1")
			}
			require.Equal(t, test.want, told)
		})
	}
}

func TestCallsBlockedByAnOpenBreakerHaveNoLatency(t *testing.T) {
	for _, policy := range []string{"fallback", "allow", "deny"} {
		engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_BACKEND": broken{}, "RATELIMITER_ON_ERROR": policy})
		var asked int
		metrics.New(limiter, func(time.Duration, bool) { asked++ })
		engine.GET("/", limiter.RateLimit(100, time.Minute), ok)
		for range 20 {
			get(engine, "/", "192.0.2.1:1")
		}
		require.EqualValues(t, limiter.Health().Failures, asked, policy)
	}
}

func TestValuesReportTheBackendAndTheMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no probe is due
		var limiter ratelimiter.RateLimiter
		tally := metrics.New(&limiter, nil)
		for name, value := range values(tally) {
			require.Zero(t, value, name)
		}
		engine := gin.New()
		require.NoError(t, limiter.InitApp(engine, ratelimiter.Config{"RATELIMITER_BACKEND": broken{}, "RATELIMITER_TIMEOUT": "250ms"}))
		t.Cleanup(func() { require.NoError(t, limiter.Close()) })
		limiter.AddObserver(panicking{})
		engine.GET("/", limiter.RateLimit(5, time.Minute), ok)
		for i := range 7 {
			get(engine, "/", fmt.Sprintf("192.0.2.%d:1", i))
		}
		<-time.After(time.Millisecond)
		latencies := values(tally)
		require.Positive(t, latencies["ratelimiter.backend.downtime"])
		delete(latencies, "ratelimiter.backend.downtime")
		require.Equal(t, map[string]float64{
			"ratelimiter.fallback.decisions": 7,
			"ratelimiter.backend.failures":   5,
			"ratelimiter.backend.timeout":    0.25,
			"ratelimiter.breaker.open":       1,
			"ratelimiter.cached_denials":     0,
			"ratelimiter.memory.keys":        7,
			"ratelimiter.memory.evictions":   0,
			"ratelimiter.observer.panics":    7,
			"ratelimiter.waiting":            0,
		}, latencies)
	})
}

func TestValuesReportEvictions(t *testing.T) {
	engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_BACKEND_OPTIONS": map[string]any{"max_keys": 1}})
	tally := metrics.New(limiter, nil)
	engine.GET("/", limiter.RateLimit(5, time.Minute), ok)
	for i := range 100 {
		get(engine, "/", fmt.Sprintf("192.0.2.%d:1", i))
	}
	require.Positive(t, values(tally)["ratelimiter.memory.evictions"])
}

type panicking struct{}

func (panicking) Observe(ratelimiter.Event) { panic("a bug") }

func TestCountingDoesNotAllocate(t *testing.T) {
	run := func(observe bool) float64 {
		request := httptest.NewRequest(http.MethodGet, "/users/7", nil)
		w := httptest.NewRecorder()
		c, engine := gin.CreateTestContext(w)
		limiter, err := ratelimiter.New(engine, nil)
		require.NoError(t, err)
		if observe {
			metrics.New(limiter, func(time.Duration, bool) {})
		}
		engine.GET("/users/:id", limiter.RateLimit(1<<40, time.Minute, ratelimiter.WithLimit(1<<40, time.Hour)), func(*gin.Context) {})
		c.Request = request
		return testing.AllocsPerRun(1000, func() { engine.HandleContext(c) })
	}
	require.Equal(t, run(false), run(true))
}
