// Package metrics counts what a rate limiter decides: by route, limit and
// outcome, in memory that is bounded, and without a name of any client.
//
// The modules metrics/prometheus and metrics/otel export what it counts. Who
// uses another system, such as expvar or statsd, reads a Tally.
package metrics

import (
	"errors"
	"iter"
	"maps"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/backends"
)

// MaxPairs is how many pairs of a route and a limit are told apart. All pairs
// that come after them are counted together, as route Other and limit Other. It
// bounds a Tally to about 220 kB, besides the names, which are the application's.
const MaxPairs = 1024

// Other is the route and the limit of what came after the first MaxPairs pairs.
const Other = "other"

// Tally counts the decisions of a rate limiter. Its methods are safe for use by
// many goroutines at once.
type Tally struct {
	limiter *ratelimiter.RateLimiter
	latency func(took time.Duration, answered bool)
	remove  func()

	// table is replaced, never changed, so that an event takes no lock.
	table     atomic.Pointer[table]
	mu        sync.Mutex // held while table is replaced
	other     row
	fallbacks atomic.Uint64
}

type table struct {
	rows  map[pair]*row
	order []pair // as they came
}

type pair struct{ route, limit string }

// row is as long as a line of the cache, so that no two share one.
type row struct{ decisions [8]atomic.Uint64 }

// outcomes is how many of the decisions of a row are in use.
const outcomes = ratelimiter.Banned + 1

// New counts every decision of the limiter, which must not be nil, from now on,
// until Close. It may be called before InitApp and while requests are being served.
//
// If latency is not nil, it is told how long each question that the backend was asked
// took, in the request, and whether it was answered.
func New(limiter *ratelimiter.RateLimiter, latency func(took time.Duration, answered bool)) *Tally {
	t := &Tally{limiter: limiter, latency: latency}
	t.table.Store(&table{})
	t.remove = limiter.AddObserver(observer{t})
	return t
}

// Close counts no more. What was counted can still be read.
func (t *Tally) Close() { t.remove() }

// observer keeps Observe out of what a Tally offers: who set it as
// RATELIMITER_OBSERVER too would count everything twice.
type observer struct{ *Tally }

func (o observer) Observe(e ratelimiter.Event) {
	if e.Outcome < outcomes {
		o.row(e.Route, e.Name).decisions[e.Outcome].Add(1)
	}
	if e.Fallback {
		o.fallbacks.Add(1)
	}
	if o.latency != nil && e.LimitIndex == 0 && e.BackendLatency > 0 && !errors.Is(e.Err, backends.ErrBreakerOpen) {
		o.latency(e.BackendLatency, !e.Fallback && e.Outcome != ratelimiter.BackendError)
	}
}

func (t *Tally) row(route, limit string) *row {
	known := t.table.Load()
	if row := known.rows[pair{route, limit}]; row != nil {
		return row
	}
	if len(known.order) >= MaxPairs {
		return &t.other
	}
	return t.add(pair{route, limit})
}

func (t *Tally) add(p pair) *row {
	t.mu.Lock()
	defer t.mu.Unlock()
	known := t.table.Load()
	switch {
	case known.rows[p] != nil: // added by another goroutine meanwhile
		return known.rows[p]
	case len(known.order) >= MaxPairs:
		return &t.other
	}
	added := &row{}
	rows := make(map[pair]*row, len(known.order)+1)
	maps.Copy(rows, known.rows)
	rows[p] = added
	t.table.Store(&table{rows, append(known.order, p)}) // readers look no further than their own length
	return added
}

// Count is how many decisions about a limit of a route had an outcome. The names
// are valid UTF-8.
type Count struct {
	Route, Limit string
	Outcome      ratelimiter.Outcome
	Decisions    uint64
}

// Counts are all decisions so far, in the order in which the pairs of route and
// limit came: where an exporter has a limit of its own, it always cuts off the
// same. Of outcomes that a limit never had, only Allowed and Rejected are told, as
// 0: so that who computes a rate sees the first one too.
func (t *Tally) Counts() iter.Seq[Count] {
	return func(yield func(Count) bool) {
		known := t.table.Load()
		for _, p := range known.order {
			if !known.rows[p].each(printable(p.route), printable(p.limit), yield) {
				return
			}
		}
		if len(known.order) >= MaxPairs {
			t.other.each(Other, Other, yield)
		}
	}
}

func (r *row) each(route, limit string, yield func(Count) bool) bool {
	for outcome := range outcomes {
		n := r.decisions[outcome].Load()
		if n == 0 && outcome != ratelimiter.Allowed && outcome != ratelimiter.Rejected {
			continue
		}
		if !yield(Count{route, limit, outcome, n}) {
			return false
		}
	}
	return true
}

// printable spares exporters a name that they would reject, as a path of a route
// may be any bytes.
func printable(name string) string {
	if utf8.ValidString(name) {
		return name
	}
	return strconv.Quote(name)
}
