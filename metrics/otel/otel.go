// Package otel lets OpenTelemetry read what a rate limiter does: decisions by
// route, limit and outcome, the latency of the backend, its outages, and the
// memory. It needs the API of OpenTelemetry alone.
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

// Metrics are the instruments of one rate limiter. Its methods are safe for use by
// many goroutines at once.
type Metrics struct {
	tally        *metrics.Tally
	decisions    metric.Int64ObservableCounter
	values       []metric.Float64Observable // of Tally.Values
	more         []attribute.KeyValue
	labelled     metric.MeasurementOption // more, as an option
	registration metric.Registration
}

// New counts every decision of the limiter from now on, until Close. It may be
// called before InitApp and while requests are being served. It counts each
// decision once: call it once for a limiter.
//
// A nil provider means the global one, also if that is set later. Attributes are
// added to every measurement; two limiters in one process need one to tell them
// apart. An error comes from the provider, or from a nil limiter, and nothing is
// counted then.
func New(limiter *ratelimiter.RateLimiter, provider metric.MeterProvider, attributes ...attribute.KeyValue) (*Metrics, error) {
	if limiter == nil {
		return nil, errors.New("the metrics need a *ratelimiter.RateLimiter, not nil; declare it before them")
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

func failed(err error) error { return fmt.Errorf("the metrics of the rate limiter: %w", err) }

// Close counts no more, and reports nothing.
func (m *Metrics) Close() error {
	m.tally.Close()
	return m.registration.Unregister()
}

// latency makes the one instrument that is told of each request.
func (m *Metrics) latency(meter metric.Meter) (func(time.Duration, bool), error) {
	d := metrics.BackendDuration
	duration, err := meter.Float64Histogram(d.Name, metric.WithUnit(d.Unit), metric.WithDescription(d.Help),
		metric.WithExplicitBucketBoundaries(metrics.Buckets()...))
	// Made once, so that a request allocates none.
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

// register makes the instruments that are read when somebody looks.
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
