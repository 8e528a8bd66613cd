// Package prometheus exports the metrics of a rate limiter to Prometheus: decisions by
// route, limit and outcome, the latency and outages of the backend, and the use of memory.
//
//	metrics := rlprometheus.New(limiter)
//	prometheus.MustRegister(metrics)
package prometheus

import (
	"errors"
	"strings"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/metrics"
	"github.com/prometheus/client_golang/prometheus"
)

// Metrics is a prometheus.Collector for a rate limiter. All methods are safe for concurrent
// use.
type Metrics struct {
	tally     *metrics.Tally
	decisions *prometheus.Desc
	values    []*prometheus.Desc // in the order of Tally.Values
	duration  *prometheus.HistogramVec
}

// New starts counting the decisions of a limiter, until Close, and returns a collector to
// register. It may be called before InitApp and while requests are being served. Call it
// only once per limiter. With a nil limiter, registration fails.
//
// If a process has two limiters, use a label to distinguish them:
//
//	prometheus.WrapRegistererWith(prometheus.Labels{"limiter": "api"}, registry).MustRegister(metrics)
func New(limiter *ratelimiter.RateLimiter) *Metrics {
	if limiter == nil {
		return &Metrics{}
	}
	m := &Metrics{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: name(metrics.BackendDuration), Help: metrics.BackendDuration.Help, Buckets: metrics.Buckets(),
		}, []string{metrics.OutcomeLabel}),
		decisions: desc(metrics.Decisions, metrics.RouteLabel, metrics.LimitLabel, metrics.OutcomeLabel),
	}
	// Looked up once, so that events need not.
	answered, unanswered := m.duration.WithLabelValues(metrics.Answered), m.duration.WithLabelValues(metrics.Unanswered)
	m.tally = metrics.New(limiter, func(took time.Duration, ok bool) {
		if ok {
			answered.Observe(took.Seconds())
		} else {
			unanswered.Observe(took.Seconds())
		}
	})
	for _, value := range m.tally.Values() {
		m.values = append(m.values, desc(value.Definition))
	}
	return m
}

// Close stops counting. The counts remain available until the collector is unregistered.
func (m *Metrics) Close() {
	if m.tally != nil {
		m.tally.Close()
	}
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(descs chan<- *prometheus.Desc) {
	if m.tally == nil {
		descs <- prometheus.NewInvalidDesc(errors.New("the limiter is nil; pass the *ratelimiter.RateLimiter to measure"))
		return
	}
	descs <- m.decisions
	m.duration.Describe(descs)
	for _, desc := range m.values {
		descs <- desc
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(collected chan<- prometheus.Metric) {
	if m.tally == nil {
		return
	}
	for count := range m.tally.Counts() {
		collected <- prometheus.MustNewConstMetric(m.decisions, prometheus.CounterValue, float64(count.Decisions),
			count.Route, count.Limit, count.Outcome.String())
	}
	m.duration.Collect(collected)
	for i, value := range m.tally.Values() {
		kind := prometheus.GaugeValue
		if value.Kind == metrics.Counter {
			kind = prometheus.CounterValue
		}
		collected <- prometheus.MustNewConstMetric(m.values[i], kind, value.Value)
	}
}

func desc(d metrics.Definition, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name(d), d.Help, labels, nil)
}

// name converts the name of a metric to the conventions of Prometheus: it appends the unit,
// and "total" for a counter.
func name(d metrics.Definition) string {
	text := strings.ReplaceAll(d.Name, ".", "_")
	if d.Unit == "s" {
		text += "_seconds"
	}
	if d.Kind == metrics.Counter {
		text += "_total"
	}
	return text
}
