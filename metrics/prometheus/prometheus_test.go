package prometheus_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/metrics"
	rlprometheus "github.com/gin-ratelimiter/ratelimiter/metrics/prometheus"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
)

func init() { gin.SetMode(gin.TestMode) }

func ok(c *gin.Context) { c.Status(http.StatusOK) }

func application(t testing.TB, config ratelimiter.Config) (*gin.Engine, *ratelimiter.RateLimiter) {
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, limiter.Close()) })
	return engine, limiter
}

func get(engine *gin.Engine, path string, header http.Header) {
	request := httptest.NewRequest(http.MethodGet, path, nil)
	request.Header = header
	engine.ServeHTTP(httptest.NewRecorder(), request)
}

func scrape(gatherer prometheus.Gatherer) string {
	w := httptest.NewRecorder()
	promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Body.String()
}

// broken is a backend that always fails.
type broken struct{}

func (broken) Take(context.Context, []backends.Quota, []backends.Verdict) error {
	return errors.New("unavailable")
}
func (broken) Reset(context.Context, string, string) error { return nil }
func (broken) Close() error                                { return nil }

func TestMetricsFollowTheNamingConventions(t *testing.T) {
	engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_BACKEND": broken{}})
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(rlprometheus.New(limiter)))
	engine.GET("/", limiter.RateLimit(1, time.Hour), ok)
	for range 7 {
		get(engine, "/", nil)
	}
	faults, err := testutil.GatherAndLint(registry)
	require.NoError(t, err)
	require.Empty(t, faults)

	families, err := registry.Gather()
	require.NoError(t, err)
	var names []string
	for _, family := range families {
		names = append(names, family.GetName()+" "+family.GetType().String())
	}
	require.Equal(t, []string{
		"ratelimiter_backend_downtime_seconds_total COUNTER",
		"ratelimiter_backend_duration_seconds HISTOGRAM",
		"ratelimiter_backend_failures_total COUNTER",
		"ratelimiter_backend_timeout_seconds GAUGE",
		"ratelimiter_breaker_open GAUGE",
		"ratelimiter_cached_denials_total COUNTER",
		"ratelimiter_decisions_total COUNTER",
		"ratelimiter_fallback_decisions_total COUNTER",
		"ratelimiter_memory_evictions_total COUNTER",
		"ratelimiter_memory_keys GAUGE",
		"ratelimiter_observer_panics_total COUNTER",
		"ratelimiter_waiting GAUGE",
	}, names)
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	for _, named := range names {
		parts := strings.Fields(named)
		require.Contains(t, string(readme), fmt.Sprintf("| `%s` | %s |", parts[0], strings.ToLower(parts[1])))
	}

	exposed := scrape(registry)
	for _, line := range []string{
		`ratelimiter_decisions_total{limit="per-hour",outcome="allowed",route="GET /"} 1`,
		`ratelimiter_decisions_total{limit="per-hour",outcome="rejected",route="GET /"} 6`,
		`ratelimiter_backend_duration_seconds_count{outcome="error"} 5`,
		`ratelimiter_backend_duration_seconds_count{outcome="ok"} 0`,
		`ratelimiter_fallback_decisions_total 7`,
		`ratelimiter_backend_failures_total 5`,
		`ratelimiter_backend_timeout_seconds 0.1`,
		`ratelimiter_breaker_open 1`,
		`ratelimiter_memory_keys 1`,
	} {
		require.Contains(t, exposed, line+"\n")
	}
}

func TestNothingOfAClientIsExposed(t *testing.T) {
	engine, limiter := application(t, nil)
	registry := prometheus.NewRegistry()
	registry.MustRegister(rlprometheus.New(limiter))
	engine.GET("/accounts/:id", limiter.RateLimit(2, time.Minute,
		ratelimiter.WithKey(ratelimiter.ByParam("id")), ratelimiter.WithScope(ratelimiter.ByHeader("X-API-Key")),
		ratelimiter.WithLimit(3, time.Hour)), ok)
	for i := range 200 {
		get(engine, fmt.Sprintf("/accounts/ann-%d", i%7), http.Header{"X-Api-Key": {fmt.Sprintf("s3cret-%d", i%50)}})
	}
	exposed := scrape(registry)
	require.Contains(t, exposed, "GET /accounts/:id")
	for _, secret := range []string{"ann-", "s3cret", "192.0.2"} {
		require.NotContains(t, exposed, secret)
	}
}

func TestTheNumberOfSeriesIsBounded(t *testing.T) {
	engine, limiter := application(t, nil)
	collector := rlprometheus.New(limiter)
	for i := range 2 * metrics.MaxPairs {
		path := fmt.Sprintf("/%d", i)
		engine.GET(path, limiter.RateLimit(1, time.Minute), ok)
		get(engine, path, nil)
	}
	require.Equal(t, 2*(metrics.MaxPairs+1), testutil.CollectAndCount(collector, "ratelimiter_decisions_total"))
}

func TestRoutesThatAreNotUTF8AreScraped(t *testing.T) {
	engine, limiter := application(t, nil)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(rlprometheus.New(limiter))
	engine.GET("/\xff", limiter.RateLimit(1, time.Minute), ok)
	get(engine, "/%FF", nil)
	require.Contains(t, scrape(registry), `outcome="allowed",route="\"GET /\\xff\""} 1`)
}

func TestMetricsOfANilLimiterAreRejected(t *testing.T) {
	registry := prometheus.NewRegistry()
	none := rlprometheus.New(nil)
	require.ErrorContains(t, registry.Register(none), "the limiter is nil")
	none.Close()
	collected := make(chan prometheus.Metric)
	none.Collect(collected) // would block if it sent any
}

func TestALabelDistinguishesTwoLimiters(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	for _, name := range []string{"api", "pages"} {
		engine, limiter := application(t, nil)
		labelled := prometheus.WrapRegistererWith(prometheus.Labels{"limiter": name}, registry)
		require.NoError(t, labelled.Register(rlprometheus.New(limiter)))
		engine.GET("/", limiter.RateLimit(1, time.Minute), ok)
		get(engine, "/", nil)
	}
	require.Contains(t, scrape(registry), `ratelimiter_memory_keys{limiter="api"} 1`)
	require.Contains(t, scrape(registry), `ratelimiter_memory_keys{limiter="pages"} 1`)
}

func TestMetricsCanBeRegisteredBeforeInitAppAndUnregistered(t *testing.T) {
	var limiter ratelimiter.RateLimiter
	registry := prometheus.NewRegistry()
	collector := rlprometheus.New(&limiter)
	registry.MustRegister(collector)
	require.Contains(t, scrape(registry), "ratelimiter_memory_keys 0")

	engine := gin.New()
	require.NoError(t, limiter.InitApp(engine, nil))
	engine.GET("/", limiter.RateLimit(9, time.Minute), ok)
	get(engine, "/", nil)
	collector.Close()
	get(engine, "/", nil)
	require.Contains(t, scrape(registry), `ratelimiter_decisions_total{limit="per-minute",outcome="allowed",route="GET /"} 1`)
	require.True(t, registry.Unregister(collector))
	require.Empty(t, scrape(registry))
}

func TestConcurrentScrapesAndRequests(t *testing.T) {
	engine, limiter := application(t, nil)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(rlprometheus.New(limiter))
	for i := range 50 {
		engine.GET(fmt.Sprintf("/%d", i), limiter.RateLimit(1000, time.Minute), ok)
	}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for i := range 50 {
				get(engine, fmt.Sprintf("/%d", i), nil)
				_, err := registry.Gather()
				require.NoError(t, err)
			}
		})
	}
	group.Wait()
	require.Equal(t, 200.0, sum(t, registry, "ratelimiter_decisions_total"))
}

func sum(t *testing.T, registry *prometheus.Registry, name string) (total float64) {
	families, err := registry.Gather()
	require.NoError(t, err)
	for _, family := range families {
		if family.GetName() == name {
			for _, metric := range family.GetMetric() {
				total += metric.GetCounter().GetValue()
			}
		}
	}
	return total
}

// nowhere is a response writer that does nothing.
type nowhere struct{ header http.Header }

func (w *nowhere) Header() http.Header         { return w.header }
func (w *nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (w *nowhere) WriteHeader(int)             {}

func TestCountingARequestDoesNotAllocate(t *testing.T) {
	measure := func(observe bool) float64 {
		w := &nowhere{http.Header{}}
		c, engine := gin.CreateTestContext(w)
		limiter, err := ratelimiter.New(engine, nil)
		require.NoError(t, err)
		if observe {
			rlprometheus.New(limiter)
		}
		engine.GET("/users/:id", limiter.RateLimit(1<<40, time.Minute, ratelimiter.WithLimit(1<<40, time.Hour)), func(*gin.Context) {})
		c.Request = httptest.NewRequest(http.MethodGet, "/users/7", nil)
		return testing.AllocsPerRun(1000, func() {
			clear(w.header)
			engine.HandleContext(c)
		})
	}
	require.Equal(t, measure(false), measure(true))
}

// BenchmarkRequest measures the cost of the metrics for a Gin request with one limit in
// memory, alone and on all processors at once.
func BenchmarkRequest(b *testing.B) {
	for _, observe := range []bool{false, true} {
		name := "not observed"
		if observe {
			name = "observed"
		}
		engine, limiter := application(b, nil)
		if observe {
			rlprometheus.New(limiter)
		}
		engine.GET("/users/:id", limiter.RateLimit(1<<40, time.Minute), func(*gin.Context) {})
		serve := func(peer string) func() {
			w := &nowhere{http.Header{}}
			request := httptest.NewRequest(http.MethodGet, "/users/7", nil)
			request.RemoteAddr = peer
			return func() {
				clear(w.header)
				engine.ServeHTTP(w, request)
			}
		}
		b.Run("one/"+name, func(b *testing.B) {
			b.ReportAllocs()
			one := serve("192.0.2.1:1")
			for b.Loop() {
				one()
			}
		})
		b.Run("all/"+name, func(b *testing.B) {
			var mu sync.Mutex
			peers := 0
			b.RunParallel(func(pb *testing.PB) {
				mu.Lock()
				peers++
				one := serve(fmt.Sprintf("192.0.2.%d:1", peers))
				mu.Unlock()
				for pb.Next() {
					one()
				}
			})
		})
	}
}

// BenchmarkScrape measures a scrape of the largest possible number of series.
func BenchmarkScrape(b *testing.B) {
	engine, limiter := application(b, nil)
	registry := prometheus.NewRegistry()
	registry.MustRegister(rlprometheus.New(limiter))
	for i := range metrics.MaxPairs {
		path := fmt.Sprintf("/%d", i)
		engine.GET(path, limiter.RateLimit(1, time.Minute), ok)
		get(engine, path, nil)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := registry.Gather(); err != nil {
			b.Fatal(err)
		}
	}
}
