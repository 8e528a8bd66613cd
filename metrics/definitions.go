package metrics

import "time"

// Kind is how the value of a metric moves.
type Kind uint8

const (
	// Counter only grows.
	Counter Kind = iota
	// UpDown goes up and down, and may be added up over processes.
	UpDown
	// Gauge goes up and down, and a sum over processes means nothing.
	Gauge
	// Histogram counts values by their size.
	Histogram
)

// Definition is a metric, named as the conventions of OpenTelemetry have it.
type Definition struct {
	Name string
	Unit string // in UCUM: "s", or what is counted, in braces
	Help string // a sentence
	Kind Kind
}

// The labels of metrics. There is none about clients.
const (
	RouteLabel   = "route"
	LimitLabel   = "limit"
	OutcomeLabel = "outcome"
)

// Decisions is the metric of Tally.Counts, with the labels RouteLabel, LimitLabel
// and OutcomeLabel.
var Decisions = Definition{
	"ratelimiter.decisions", "{decision}", "Decisions about a limit of a route, by their outcome.", Counter,
}

// BackendDuration is the metric of what New tells, with the label OutcomeLabel:
// Answered or Unanswered.
var BackendDuration = Definition{
	"ratelimiter.backend.duration", "s", "How long questions to the backend took, for all limits of a RateLimit together.", Histogram,
}

// Answered and Unanswered are the outcomes of BackendDuration. What an open breaker
// does not let through is no question to the backend.
const (
	Answered   = "ok"
	Unanswered = "error"
)

// Buckets are the upper bounds of BackendDuration in seconds: from a memory that
// is in the process to a time-out that is far too long, closest below the usual
// time-out of 100 ms.
func Buckets() []float64 {
	return []float64{
		0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.005,
		0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 1,
	}
}

// Value is a metric without labels, and its value now.
type Value struct {
	Definition
	Value float64
}

// Values are all metrics without labels, always the same in the same order. It
// costs what RateLimiter.Stats does.
func (t *Tally) Values() []Value {
	stats := t.limiter.Stats()
	open := 0.0
	if stats.Health.Open {
		open = 1
	}
	return []Value{
		{Definition{
			"ratelimiter.fallback.decisions", "{decision}",
			"Decisions that this process took by itself, because the backend had failed.", Counter,
		}, float64(t.fallbacks.Load())},
		{Definition{
			"ratelimiter.backend.failures", "{failure}",
			"Questions that the backend failed to answer, without those that were not asked.", Counter,
		}, float64(stats.Health.Failures)},
		{Definition{
			"ratelimiter.backend.downtime", "s",
			"How long the backend was not asked, because it had failed repeatedly.", Counter,
		}, stats.Health.Down.Seconds()},
		{Definition{
			"ratelimiter.backend.timeout", "s",
			"The longest wait for the backend, as configured.", Gauge,
		}, t.timeout().Seconds()},
		{Definition{
			"ratelimiter.breaker.open", "{breaker}",
			"1 while the backend is not asked, because it has failed repeatedly, and else 0.", UpDown,
		}, open},
		{Definition{
			"ratelimiter.cached_denials", "{denial}",
			"Questions that were denied without asking the backend.", Counter,
		}, float64(stats.CachedDenials)},
		{Definition{
			"ratelimiter.waiting", "{request}",
			"Requests that wait for their turn.", UpDown,
		}, float64(stats.Waiting)},
		{Definition{
			"ratelimiter.memory.keys", "{key}",
			"Limits of clients that are remembered in this process.", UpDown,
		}, float64(stats.Memory.Keys)},
		{Definition{
			"ratelimiter.memory.evictions", "{eviction}",
			"Newcomers that took the place of a client whose limit was not whole yet, for want of room.", Counter,
		}, float64(stats.Memory.Evictions)},
		{Definition{
			"ratelimiter.observer.panics", "{panic}",
			"Panics of observers, which lost what they were told.", Counter,
		}, float64(stats.ObserverPanics)},
	}
}

// timeout is 0 before InitApp.
func (t *Tally) timeout() time.Duration {
	text, _ := t.limiter.Config()["RATELIMITER_TIMEOUT"].(string)
	timeout, _ := time.ParseDuration(text) // written by Duration.String
	return timeout
}
