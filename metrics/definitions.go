package metrics

import "time"

// Kind is the kind of a metric.
type Kind uint8

const (
	// Counter only grows.
	Counter Kind = iota
	// UpDown can grow and shrink. Its sum over processes is meaningful.
	UpDown
	// Gauge can grow and shrink. Its sum over processes has no meaning.
	Gauge
	// Histogram counts values by size.
	Histogram
)

// Definition describes a metric. Names follow the conventions of OpenTelemetry.
type Definition struct {
	Name string
	Unit string // in UCUM: "s", or in braces what is counted
	Help string // one sentence
	Kind Kind
}

// The labels of metrics. None of them identifies a client.
const (
	RouteLabel   = "route"
	LimitLabel   = "limit"
	OutcomeLabel = "outcome"
)

// Decisions is the metric of Tally.Counts. Its labels are RouteLabel, LimitLabel and
// OutcomeLabel.
var Decisions = Definition{
	"ratelimiter.decisions", "{decision}", "Decisions on the limits of a route, by outcome.", Counter,
}

// BackendDuration is the metric of the latency that New reports. Its label is OutcomeLabel,
// with the value Answered or Unanswered.
var BackendDuration = Definition{
	"ratelimiter.backend.duration", "s", "Duration of calls to the backend, one for all limits of a RateLimit.", Histogram,
}

// Answered and Unanswered are the outcomes of BackendDuration. Calls blocked by an open
// circuit breaker are not included.
const (
	Answered   = "ok"
	Unanswered = "error"
)

// Buckets returns the upper bounds of the buckets of BackendDuration, in seconds. They
// range from a memory backend to a timeout that is far too long, and are densest below the
// default timeout of 100 ms.
func Buckets() []float64 {
	return []float64{
		0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.005,
		0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 1,
	}
}

// Value is the current value of a metric without labels.
type Value struct {
	Definition
	Value float64
}

// Values returns all metrics without labels, always in the same order. It is as expensive
// as RateLimiter.Stats.
func (t *Tally) Values() []Value {
	stats := t.limiter.Stats()
	open := 0.0
	if stats.Health.Open {
		open = 1
	}
	return []Value{
		{Definition{
			"ratelimiter.fallback.decisions", "{decision}",
			"Decisions that this process made on its own because the backend failed.", Counter,
		}, float64(t.fallbacks.Load())},
		{Definition{
			"ratelimiter.backend.failures", "{failure}",
			"Failed calls to the backend, without those blocked by an open circuit breaker.", Counter,
		}, float64(stats.Health.Failures)},
		{Definition{
			"ratelimiter.backend.downtime", "s",
			"Total time that the circuit breaker was open because the backend failed repeatedly.", Counter,
		}, stats.Health.Down.Seconds()},
		{Definition{
			"ratelimiter.backend.timeout", "s",
			"Configured timeout of calls to the backend.", Gauge,
		}, t.timeout().Seconds()},
		{Definition{
			"ratelimiter.breaker.open", "{breaker}",
			"1 while the circuit breaker is open because the backend failed repeatedly, otherwise 0.", UpDown,
		}, open},
		{Definition{
			"ratelimiter.cached_denials", "{denial}",
			"Requests denied from the cache of this process, without a call to the backend.", Counter,
		}, float64(stats.CachedDenials)},
		{Definition{
			"ratelimiter.waiting", "{request}",
			"Requests waiting for their turn.", UpDown,
		}, float64(stats.Waiting)},
		{Definition{
			"ratelimiter.memory.keys", "{key}",
			"Limits of clients stored in the memory of this process.", UpDown,
		}, float64(stats.Memory.Keys)},
		{Definition{
			"ratelimiter.memory.evictions", "{eviction}",
			"Clients evicted from memory before their full limit was available again.", Counter,
		}, float64(stats.Memory.Evictions)},
		{Definition{
			"ratelimiter.observer.panics", "{panic}",
			"Panics of observers, each of which lost an event.", Counter,
		}, float64(stats.ObserverPanics)},
	}
}

// timeout returns the configured timeout, or 0 before InitApp.
func (t *Tally) timeout() time.Duration {
	text, _ := t.limiter.Config()["RATELIMITER_TIMEOUT"].(string)
	timeout, _ := time.ParseDuration(text) // the text comes from Duration.String
	return timeout
}
