// Package otel exports the metrics of a rate limiter to OpenTelemetry: decisions by route,
// limit and outcome, the latency and outages of the backend, and the use of memory. It
// depends only on the OpenTelemetry API.
//
//	metrics, err := rlotel.New(limiter, nil)
package otel

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/metrics"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Scope is the name of the meter.
const Scope = "github.com/gin-ratelimiter/ratelimiter/metrics/otel"

// Metrics are the instruments of a rate limiter. All methods are safe for concurrent use.
type Metrics struct {
	tally        *metrics.Tally
	decisions    metric.Int64ObservableCounter
	values       []metric.Float64Observable // in the order of Tally.Values
	more         []attribute.KeyValue
	labelled     metric.MeasurementOption // more, as an option
	registration metric.Registration
}

// New starts counting the decisions of a limiter, until Close. It may be called before
// InitApp and while requests are being served. Call it only once per limiter.
//
// A nil provider means the global one, even if that is set later. The attributes are added
// to every measurement. If a process has two limiters, use an attribute to distinguish
// them. New returns an error if the provider does or if the limiter is nil; nothing is
// counted then.
func New(limiter *ratelimiter.RateLimiter, provider metric.MeterProvider, attributes ...attribute.KeyValue) (*Metrics, error) {
	if limiter == nil {
		return nil, errors.New("the limiter is nil; pass the *ratelimiter.RateLimiter to measure")
	}
	if provider == nil {
		provider = otel.GetMeterProvider()
	}
	m := &Metrics{more: slices.Clone(attributes)}
	m.labelled = m.labels()
	meter := provider.Meter(Scope)
	latency, err := m.latency(meter)
	if err != nil {
		return nil, failed(err)
	}
	m.tally = metrics.New(limiter, latency)
	if err := m.register(meter); err != nil {
		m.tally.Close()
		return nil, failed(err)
	}
	return m, nil
}

func failed(err error) error { return fmt.Errorf("rate limiter metrics: %w", err) }

// Close stops counting and reporting.
func (m *Metrics) Close() error {
	m.tally.Close()
	return m.registration.Unregister()
}

// latency creates the instrument that records each request.
func (m *Metrics) latency(meter metric.Meter) (func(time.Duration, bool), error) {
	d := metrics.BackendDuration
	duration, err := meter.Float64Histogram(d.Name, metric.WithUnit(d.Unit), metric.WithDescription(d.Help),
		metric.WithExplicitBucketBoundaries(metrics.Buckets()...))
	// Created once, so that requests do not allocate them.
	outcome := func(name string) []metric.RecordOption {
		return []metric.RecordOption{m.labels(attribute.String(metrics.OutcomeLabel, name))}
	}
	answered, unanswered := outcome(metrics.Answered), outcome(metrics.Unanswered)
	ctx := context.Background()
	return func(took time.Duration, ok bool) {
		if ok {
			duration.Record(ctx, took.Seconds(), answered...)
		} else {
			duration.Record(ctx, took.Seconds(), unanswered...)
		}
	}, err
}

// register creates the instruments that are read during collection.
func (m *Metrics) register(meter metric.Meter) error {
	d := metrics.Decisions
	decisions, err := meter.Int64ObservableCounter(d.Name, metric.WithUnit(d.Unit), metric.WithDescription(d.Help))
	m.decisions = decisions
	all := []metric.Observable{decisions}
	for _, value := range m.tally.Values() {
		instrument, failure := observable(meter, value.Definition)
		err = errors.Join(err, failure)
		m.values = append(m.values, instrument)
		all = append(all, instrument)
	}
	if err != nil {
		return err
	}
	m.registration, err = meter.RegisterCallback(m.observe, all...)
	return err
}

func observable(meter metric.Meter, d metrics.Definition) (metric.Float64Observable, error) {
	unit, help := metric.WithUnit(d.Unit), metric.WithDescription(d.Help)
	switch d.Kind {
	case metrics.Counter:
		return meter.Float64ObservableCounter(d.Name, unit, help)
	case metrics.UpDown:
		return meter.Float64ObservableUpDownCounter(d.Name, unit, help)
	default:
		return meter.Float64ObservableGauge(d.Name, unit, help)
	}
}

func (m *Metrics) observe(_ context.Context, o metric.Observer) error {
	for count := range m.tally.Counts() {
		o.ObserveInt64(m.decisions, int64(count.Decisions), m.labels(
			attribute.String(metrics.RouteLabel, count.Route),
			attribute.String(metrics.LimitLabel, count.Limit),
			attribute.String(metrics.OutcomeLabel, count.Outcome.String()),
		))
	}
	for i, value := range m.tally.Values() {
		o.ObserveFloat64(m.values[i], value.Value, m.labelled)
	}
	return nil
}

func (m *Metrics) labels(attributes ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(append(attributes, m.more...)...))
}
