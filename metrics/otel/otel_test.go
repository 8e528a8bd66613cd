package otel_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/metrics"
	rlotel "github.com/gin-ratelimiter/ratelimiter/metrics/otel"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
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

// read returns everything that a reader collects: a line for each series, and the
// definition of each metric.
func read(t *testing.T, reader sdk.Reader) (series, definitions []string) {
	var all metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &all))
	for _, scope := range all.ScopeMetrics {
		require.Equal(t, rlotel.Scope, scope.Scope.Name)
		for _, one := range scope.Metrics {
			require.NotEmpty(t, one.Description)
			kind, points := points(one)
			definitions = append(definitions, fmt.Sprintf("%s %s %s", one.Name, one.Unit, kind))
			series = append(series, points...)
		}
	}
	slices.Sort(series)
	slices.Sort(definitions)
	return series, definitions
}

func points(one metricdata.Metrics) (kind string, series []string) {
	line := func(attributes attribute.Set, value any) {
		series = append(series, fmt.Sprintf("%s{%s} %v", one.Name, attributes.Encoded(attribute.DefaultEncoder()), value))
	}
	sum := func(monotonic bool) string {
		if monotonic {
			return "counter"
		}
		return "updowncounter"
	}
	switch data := one.Data.(type) {
	case metricdata.Sum[int64]:
		for _, point := range data.DataPoints {
			line(point.Attributes, point.Value)
		}
		return sum(data.IsMonotonic), series
	case metricdata.Sum[float64]:
		for _, point := range data.DataPoints {
			line(point.Attributes, point.Value)
		}
		return sum(data.IsMonotonic), series
	case metricdata.Gauge[float64]:
		for _, point := range data.DataPoints {
			line(point.Attributes, point.Value)
		}
		return "gauge", series
	case metricdata.Histogram[float64]:
		for _, point := range data.DataPoints {
			line(point.Attributes, point.Count)
		}
		return "histogram", series
	}
	return fmt.Sprintf("%T", one.Data), nil
}

// broken is a backend that always fails.
type broken struct{}

func (broken) Take(context.Context, []backends.Quota, []backends.Verdict) error {
	return errors.New("unavailable")
}
func (broken) Reset(context.Context, string, string) error { return nil }
func (broken) Close() error                                { return nil }

func observed(t *testing.T, limiter *ratelimiter.RateLimiter) (*rlotel.Metrics, sdk.Reader) {
	reader := sdk.NewManualReader()
	metrics, err := rlotel.New(limiter, sdk.NewMeterProvider(sdk.WithReader(reader)))
	require.NoError(t, err)
	return metrics, reader
}

func TestMetricsFollowTheNamingConventions(t *testing.T) {
	engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_BACKEND": broken{}})
	_, reader := observed(t, limiter)
	engine.GET("/", limiter.RateLimit(1, time.Hour), ok)
	for range 7 {
		get(engine, "/", nil)
	}
	series, definitions := read(t, reader)
	require.Equal(t, []string{
		"ratelimiter.backend.downtime s counter",
		"ratelimiter.backend.duration s histogram",
		"ratelimiter.backend.failures {failure} counter",
		"ratelimiter.backend.timeout s gauge",
		"ratelimiter.breaker.open {breaker} updowncounter",
		"ratelimiter.cached_denials {denial} counter",
		"ratelimiter.decisions {decision} counter",
		"ratelimiter.fallback.decisions {decision} counter",
		"ratelimiter.memory.evictions {eviction} counter",
		"ratelimiter.memory.keys {key} updowncounter",
		"ratelimiter.observer.panics {panic} counter",
		"ratelimiter.waiting {request} updowncounter",
	}, definitions)
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	for _, definition := range definitions {
		parts := strings.Fields(definition)
		require.Contains(t, string(readme), fmt.Sprintf("| `%s` | %s | `%s` |", parts[0], parts[2], parts[1]))
	}
	for _, line := range []string{
		"ratelimiter.decisions{limit=per-hour,outcome=allowed,route=GET /} 1",
		"ratelimiter.decisions{limit=per-hour,outcome=rejected,route=GET /} 6",
		"ratelimiter.backend.duration{outcome=error} 5",
		"ratelimiter.fallback.decisions{} 7",
		"ratelimiter.backend.failures{} 5",
		"ratelimiter.backend.timeout{} 0.1",
		"ratelimiter.breaker.open{} 1",
		"ratelimiter.memory.keys{} 1",
	} {
		require.Contains(t, series, line)
	}
}

func TestNothingOfAClientIsExported(t *testing.T) {
	engine, limiter := application(t, nil)
	_, reader := observed(t, limiter)
	engine.GET("/accounts/:id", limiter.RateLimit(2, time.Minute,
		ratelimiter.WithKey(ratelimiter.ByParam("id")), ratelimiter.WithScope(ratelimiter.ByHeader("X-API-Key")),
		ratelimiter.WithLimit(3, time.Hour)), ok)
	for i := range 200 {
		get(engine, fmt.Sprintf("/accounts/ann-%d", i%7), http.Header{"X-Api-Key": {fmt.Sprintf("s3cret-%d", i%50)}})
	}
	series, _ := read(t, reader)
	exported := strings.Join(series, "\n")
	require.Contains(t, exported, "GET /accounts/:id")
	for _, secret := range []string{"ann-", "s3cret", "192.0.2"} {
		require.NotContains(t, exported, secret)
	}
}

func TestAFloodOfRoutesStaysWithinTheCardinalityLimitOfTheSDK(t *testing.T) {
	engine, limiter := application(t, nil)
	_, reader := observed(t, limiter)
	for i := range 2 * metrics.MaxPairs {
		path := fmt.Sprintf("/%d", i)
		engine.GET(path, limiter.RateLimit(1, time.Minute), ok)
		get(engine, path, nil)
	}
	var before []string
	for range 2 {
		var shown []string
		total := 0
		series, _ := read(t, reader)
		for _, line := range series {
			if strings.HasPrefix(line, "ratelimiter.decisions{") {
				count, err := strconv.Atoi(line[strings.LastIndexByte(line, ' ')+1:])
				require.NoError(t, err)
				total += count
				shown = append(shown, line)
			}
		}
		require.Equal(t, 2*metrics.MaxPairs, total)
		require.LessOrEqual(t, len(shown), 2*(metrics.MaxPairs+1))
		if before != nil {
			require.Equal(t, before, shown, "each collection shows the same series")
		}
		before = shown
	}
}

func TestAnAttributeDistinguishesTwoLimiters(t *testing.T) {
	reader := sdk.NewManualReader()
	provider := sdk.NewMeterProvider(sdk.WithReader(reader))
	for _, name := range []string{"api", "pages"} {
		engine, limiter := application(t, nil)
		_, err := rlotel.New(limiter, provider, attribute.String("limiter", name))
		require.NoError(t, err)
		engine.GET("/", limiter.RateLimit(1, time.Minute), ok)
		get(engine, "/", nil)
	}
	series, _ := read(t, reader)
	for _, name := range []string{"api", "pages"} {
		require.Contains(t, series, "ratelimiter.memory.keys{limiter="+name+"} 1")
		require.Contains(t, series, "ratelimiter.backend.duration{limiter="+name+",outcome=ok} 1")
		require.Contains(t, series, "ratelimiter.decisions{limit=per-minute,limiter="+name+",outcome=allowed,route=GET /} 1")
	}
}

func TestTheGlobalProviderMayBeSetLater(t *testing.T) {
	before := otel.GetMeterProvider()
	t.Cleanup(func() { otel.SetMeterProvider(before) })
	engine, limiter := application(t, nil)
	metrics, err := rlotel.New(limiter, nil)
	require.NoError(t, err)
	engine.GET("/", limiter.RateLimit(9, time.Minute), ok)
	get(engine, "/", nil)
	reader := sdk.NewManualReader()
	otel.SetMeterProvider(sdk.NewMeterProvider(sdk.WithReader(reader)))
	get(engine, "/", nil)
	series, _ := read(t, reader)
	require.Contains(t, series, "ratelimiter.decisions{limit=per-minute,outcome=allowed,route=GET /} 2")
	require.NoError(t, metrics.Close())
}

func TestClosedMetricsReportNothing(t *testing.T) {
	var limiter ratelimiter.RateLimiter
	metrics, reader := observed(t, &limiter)
	series, _ := read(t, reader)
	require.Contains(t, series, "ratelimiter.memory.keys{} 0", "before InitApp")
	require.NoError(t, metrics.Close())
	require.NoError(t, metrics.Close())
	engine := gin.New()
	require.NoError(t, limiter.InitApp(engine, nil))
	engine.GET("/", limiter.RateLimit(9, time.Minute), ok)
	get(engine, "/", nil)
	series, _ = read(t, reader)
	require.Empty(t, series)
	require.Zero(t, limiter.Config()["RATELIMITER_OBSERVER"])
}

// rejecting fails to create one kind of instrument.
type rejecting struct {
	noop.MeterProvider
	meter metric.Meter
}

func (r rejecting) Meter(string, ...metric.MeterOption) metric.Meter { return r.meter }

type noHistograms struct{ noop.Meter }

func (noHistograms) Float64Histogram(string, ...metric.Float64HistogramOption) (metric.Float64Histogram, error) {
	return nil, errors.New("no histograms")
}

type noGauges struct{ noop.Meter }

func (noGauges) Float64ObservableGauge(string, ...metric.Float64ObservableGaugeOption) (metric.Float64ObservableGauge, error) {
	return nil, errors.New("no gauges")
}

type noCallbacks struct{ noop.Meter }

func (noCallbacks) RegisterCallback(metric.Callback, ...metric.Observable) (metric.Registration, error) {
	return nil, errors.New("no callbacks")
}

func TestAnErrorOfTheProviderIsReturnedAndNothingIsObserved(t *testing.T) {
	for want, meter := range map[string]metric.Meter{
		"no histograms": noHistograms{}, "no gauges": noGauges{}, "no callbacks": noCallbacks{},
	} {
		_, limiter := application(t, nil)
		_, err := rlotel.New(limiter, rejecting{meter: meter})
		require.ErrorContains(t, err, want)
		require.Zero(t, limiter.Config()["RATELIMITER_OBSERVER"])
	}
	_, err := rlotel.New(nil, noop.NewMeterProvider())
	require.ErrorContains(t, err, "the limiter is nil")
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
			observed(t, limiter)
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
// memory.
func BenchmarkRequest(b *testing.B) {
	for _, name := range []string{"not observed", "observed"} {
		engine, limiter := application(b, nil)
		if name == "observed" {
			_, err := rlotel.New(limiter, sdk.NewMeterProvider(sdk.WithReader(sdk.NewManualReader())))
			require.NoError(b, err)
		}
		engine.GET("/users/:id", limiter.RateLimit(1<<40, time.Minute), func(*gin.Context) {})
		w := &nowhere{http.Header{}}
		request := httptest.NewRequest(http.MethodGet, "/users/7", nil)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				engine.ServeHTTP(w, request)
			}
		})
	}
}
