// Package metrics counts the decisions of a rate limiter by route, limit and outcome, in
// bounded memory and without identifying clients.
//
// The modules metrics/prometheus and metrics/otel export the counts. Use a Tally directly
// to export them to another system, such as expvar or statsd.
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

// MaxPairs is the number of pairs of a route and a limit that are counted separately. All
// later pairs are counted together, as route Other and limit Other. This bounds the memory
// of a Tally to about 220 kB, plus the names.
const MaxPairs = 1024

// Other is the route and limit of all pairs after the first MaxPairs.
const Other = "other"

// Tally counts the decisions of a rate limiter. All methods are safe for concurrent use.
type Tally struct {
	limiter *ratelimiter.RateLimiter
	latency func(took time.Duration, answered bool)
	remove  func()

	// table is replaced, never modified, so that events need no lock.
	table     atomic.Pointer[table]
	mu        sync.Mutex // held while table is replaced
	other     row
	fallbacks atomic.Uint64
}

type table struct {
	rows  map[pair]*row
	order []pair // in order of their first decision
}

type pair struct{ route, limit string }

// row fills a cache line, so that no two rows share one.
type row struct{ decisions [8]atomic.Uint64 }

// outcomes is the number of outcomes that a row counts.
const outcomes = ratelimiter.Banned + 1

// New starts counting the decisions of a limiter, which must not be nil, until Close. It
// may be called before InitApp and while requests are being served.
//
// If latency is not nil, it is called in each request with the duration of the call to the
// backend, and whether the backend answered.
func New(limiter *ratelimiter.RateLimiter, latency func(took time.Duration, answered bool)) *Tally {
	t := &Tally{limiter: limiter, latency: latency}
	t.table.Store(&table{})
	t.remove = limiter.AddObserver(observer{t})
	return t
}

// Close stops counting. The counts remain available.
func (t *Tally) Close() { t.remove() }

// observer hides the method Observe from the users of a Tally: setting a Tally as
// RATELIMITER_OBSERVER would count every decision twice.
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
	case known.rows[p] != nil: // added by another goroutine
		return known.rows[p]
	case len(known.order) >= MaxPairs:
		return &t.other
	}
	added := &row{}
	rows := make(map[pair]*row, len(known.order)+1)
	maps.Copy(rows, known.rows)
	rows[p] = added
	t.table.Store(&table{rows, append(known.order, p)}) // readers only use the elements within their own length
	return added
}

// Count is how many decisions on a limit of a route had an outcome. The names are valid
// UTF-8.
type Count struct {
	Route, Limit string
	Outcome      ratelimiter.Outcome
	Decisions    uint64
}

// Counts returns all decisions so far. The pairs of route and limit are in order of their
// first decision, so an exporter with a limit of its own always omits the same ones.
// Outcomes that never occurred are left out, except for Allowed and Rejected, which are 0:
// so a rate includes the first decision, too.
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

// printable quotes a name that is not valid UTF-8, which exporters would reject. A route
// may contain any bytes.
func printable(name string) string {
	if utf8.ValidString(name) {
		return name
	}
	return strconv.Quote(name)
}
