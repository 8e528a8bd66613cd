// Package prometheus lets Prometheus read what a rate limiter does: decisions by
// route, limit and outcome, the latency of the backend, its outages, and the
// memory.
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

// Metrics is a prometheus.Collector of one rate limiter. Its methods are safe for
// use by many goroutines at once.
type Metrics struct {
	tally     *metrics.Tally
	decisions *prometheus.Desc
	values    []*prometheus.Desc // of Tally.Values
	duration  *prometheus.HistogramVec
}

// New counts every decision of the limiter from now on, until Close. It may be
// called before InitApp and while requests are being served. What it returns is
// to be registered, and counts each decision once: call it once for a limiter.
// Of a nil limiter, the error comes when it is registered.
//
// Two limiters in one process need a label to tell them apart:
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
	// Made once, so that an event looks nothing up.
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

// Close counts no more. What was counted can still be read, until the metrics are
// unregistered.
func (m *Metrics) Close() {
	if m.tally != nil {
		m.tally.Close()
	}
}

// Describe is what a prometheus.Registry asks when the metrics are registered.
func (m *Metrics) Describe(descs chan<- *prometheus.Desc) {
	if m.tally == nil {
		descs <- prometheus.NewInvalidDesc(errors.New("the metrics need a *ratelimiter.RateLimiter, not nil; declare it before them"))
		return
	}
	descs <- m.decisions
	m.duration.Describe(descs)
	for _, desc := range m.values {
		descs <- desc
	}
}

// Collect is what a prometheus.Registry asks when it is scraped.
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

// name writes the name of a metric as Prometheus has it, with its unit and, of a
// counter, "total" behind.
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
