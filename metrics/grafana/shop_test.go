package grafana_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	rlotel "github.com/gin-ratelimiter/ratelimiter/metrics/otel"
	rlprometheus "github.com/gin-ratelimiter/ratelimiter/metrics/prometheus"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/teststorage"
	"github.com/stretchr/testify/require"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
)

func init() { gin.SetMode(gin.TestMode) }

// exporter registers a collector for the metrics of a limiter.
type exporter func(t *testing.T, limiter *ratelimiter.RateLimiter, registry *prometheus.Registry)

func byPrometheus(t *testing.T, limiter *ratelimiter.RateLimiter, registry *prometheus.Registry) {
	require.NoError(t, registry.Register(rlprometheus.New(limiter)))
}

func byOpenTelemetry(t *testing.T, limiter *ratelimiter.RateLimiter, registry *prometheus.Registry) {
	reader, err := otelprometheus.New(otelprometheus.WithRegisterer(registry))
	require.NoError(t, err)
	_, err = rlotel.New(limiter, metric.NewMeterProvider(metric.WithReader(reader)))
	require.NoError(t, err)
}

// process is one process of an application, with a limiter and metrics of its own.
type process struct {
	instance string
	server   *httptest.Server
}

func start(t *testing.T, instance string, export exporter, config ratelimiter.Config) *process {
	var limiter ratelimiter.RateLimiter
	registry := prometheus.NewPedanticRegistry()
	export(t, &limiter, registry)
	engine := gin.New()
	require.NoError(t, limiter.InitApp(engine, config))
	skip := func(c *gin.Context) bool { return c.Query("skip") != "" }
	engine.GET("/v1.0/search/*all", limiter.RateLimit(3, time.Minute, ratelimiter.WithSkip(skip),
		ratelimiter.WithScope(ratelimiter.ByHeader("X-API-Key")),
		ratelimiter.WithLimit(2, time.Hour, ratelimiter.WithShadow(), ratelimiter.WithName("trial"))),
		func(c *gin.Context) { c.Status(http.StatusOK) })
	engine.GET("/login", limiter.RateLimit(1, time.Hour, ratelimiter.WithScope(ratelimiter.ByHeader("X-API-Key")),
		ratelimiter.WithBan(1, time.Hour, time.Hour)), func(c *gin.Context) { c.Status(http.StatusUnauthorized) })
	// The turn comes well within the longest wait, however slow the machine is.
	engine.GET("/report", limiter.RateLimit(1, 30*time.Minute, ratelimiter.WithAlgorithm(ratelimiter.TokenBucket),
		ratelimiter.WithWait(time.Hour)), func(c *gin.Context) { c.Status(http.StatusOK) })
	engine.GET("/metrics", gin.WrapH(promhttp.HandlerFor(registry, promhttp.HandlerOpts{})))
	server := httptest.NewServer(engine)
	t.Cleanup(func() {
		server.Close()
		require.NoError(t, limiter.Close())
	})
	p := &process{instance, server}
	if config["RATELIMITER_ON_ERROR"] != "deny" {
		p.queue(t, &limiter)
	}
	return p
}

// queue sends a request that waits for its turn until the test ends.
func (p *process) queue(t *testing.T, limiter *ratelimiter.RateLimiter) {
	p.get(t, "/report", "")
	ctx, leave := context.WithCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.server.URL+"/report", nil)
	require.NoError(t, err)
	left := make(chan struct{})
	go func() {
		defer close(left)
		if response, err := p.server.Client().Do(request); err == nil {
			_ = response.Body.Close() // if it was answered, the metrics will show it
		}
	}()
	t.Cleanup(func() { leave(); <-left })
	require.Eventually(t, func() bool { return limiter.Stats().Waiting == 1 }, time.Minute, time.Millisecond)
}

func (p *process) get(t *testing.T, path, key string) (body []byte, contentType string) {
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.server.URL+path, nil)
	require.NoError(t, err)
	request.Header.Set("X-API-Key", key)
	response, err := p.server.Client().Do(request)
	require.NoError(t, err)
	body, err = io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	return body, response.Header.Get("Content-Type")
}

// visit sends requests of a client over its limit, of new clients, and one that is skipped.
func (p *process) visit(t *testing.T, round int) {
	for range 6 {
		p.get(t, "/v1.0/search/", "greedy-key")
	}
	for i := range 20 {
		p.get(t, "/v1.0/search/", fmt.Sprintf("new-key-%d-%d", round, i))
	}
	p.get(t, "/v1.0/search/?skip=1", "greedy-key")
	for range 3 {
		p.get(t, "/login", fmt.Sprintf("guessing-key-%d", round))
	}
}

// scrape stores what a process exposes, like Prometheus does, with a given time.
func (p *process) scrape(t *testing.T, db *teststorage.TestStorage, at time.Time) {
	body, contentType := p.get(t, "/metrics", "")
	require.NotContains(t, string(body), "-key", "of clients")
	parser, err := textparse.New(body, contentType, nil, textparse.ParserOptions{})
	require.NoError(t, err)
	appender := db.AppenderV2(t.Context())
	for {
		entry, err := parser.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		if entry != textparse.EntrySeries {
			continue
		}
		var series labels.Labels
		parser.Labels(&series)
		_, _, value := parser.Series()
		all := labels.NewBuilder(series).Set("job", "shop").Set("instance", p.instance).Labels()
		_, err = appender.Append(0, all, 0, at.UnixMilli(), value, nil, nil, storage.AppendV2Options{})
		require.NoError(t, err)
	}
	require.NoError(t, appender.Commit())
}

// broken is a backend that always fails.
type broken struct{}

func (broken) Take(context.Context, []backends.Quota, []backends.Verdict) error {
	return errors.New("unavailable")
}
func (broken) Reset(context.Context, string, string) error { return nil }
func (broken) Close() error                                { return nil }

// panicking is an observer that panics.
type panicking struct{}

func (panicking) Observe(ratelimiter.Event) { panic("a bug") }

const (
	scrapeInterval = 15 * time.Second
	rounds         = 6
)

// opening is the time of the first scrape. The tests use times of their own.
var opening = time.Unix(1_800_000_000, 0)

// history returns the data of Prometheus about an application with three processes: one
// loses its Redis halfway, one has too little memory and an observer that panics, and one
// has a backend that never answers, with the policy "deny".
func history(t *testing.T, export exporter) (db *teststorage.TestStorage, end time.Time) {
	redis := miniredis.RunT(t)
	processes := []*process{
		start(t, "a", export, ratelimiter.Config{
			"RATELIMITER_BACKEND": "redis", "RATELIMITER_BACKEND_OPTIONS": map[string]any{"addr": redis.Addr()},
			"RATELIMITER_TIMEOUT": "10s", // a busy machine must not look like an outage
		}),
		start(t, "b", export, ratelimiter.Config{
			"RATELIMITER_BACKEND_OPTIONS": map[string]any{"max_keys": 1}, "RATELIMITER_OBSERVER": panicking{},
		}),
		start(t, "c", export, ratelimiter.Config{"RATELIMITER_BACKEND": broken{}, "RATELIMITER_ON_ERROR": "deny"}),
	}
	db = teststorage.New(t)
	for round := range rounds {
		if round == rounds/2 {
			redis.Close()
		}
		end = opening.Add(time.Duration(round) * scrapeInterval)
		for _, process := range processes {
			process.visit(t, round)
			process.scrape(t, db, end)
		}
	}
	return db, end
}
