// Package metrics counts what a rate limiter decides: by route, limit and
// outcome, in memory that is bounded, and without a name of any client.
//
// The modules metrics/prometheus and metrics/otel export what it counts. Who
// uses another system, such as expvar or statsd, reads a Tally.
package metrics

import (
	"iter"
	"maps"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/gin-ratelimiter/ratelimiter"
)

// MaxPairs is how many pairs of a route and a limit are told apart. All pairs
// that come after them are counted together, as route Other and limit Other. It
// bounds a Tally to about 300 kB, besides the names, which are the application's.
const MaxPairs = 1024

// Other is the route and the limit of what came after the first MaxPairs pairs.
const Other = "other"

// Tally counts the decisions of a rate limiter. Its methods are safe for use by
// many goroutines at once.
type Tally struct {
	limiter *ratelimiter.RateLimiter
	latency func(took time.Duration, answered bool)
	remove  func()

	// rows is replaced, never changed, so that an event takes no lock.
	rows      atomic.Pointer[map[pair]*row]
	mu        sync.Mutex // held while rows is replaced
	other     row
	fallbacks atomic.Uint64
}

type pair struct{ route, limit string }

// row is as long as a line of the cache, so that no two share one.
type row struct{ decisions [8]atomic.Uint64 }

// outcomes is how many of the decisions of a row are in use.
const outcomes = ratelimiter.Banned + 1

// New counts every decision of the limiter from now on, until Close. It may be
// called before InitApp and while requests are being served.
//
// If latency is not nil, it is told how long each question to the backend took,
// in the request, and whether the backend answered it.
func New(limiter *ratelimiter.RateLimiter, latency func(took time.Duration, answered bool)) *Tally {
	t := &Tally{limiter: limiter, latency: latency}
	t.rows.Store(&map[pair]*row{})
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
	if o.latency != nil && e.Place == 0 && e.Took > 0 {
		o.latency(e.Took, !e.Fallback && e.Outcome != ratelimiter.BackendError)
	}
}

func (t *Tally) row(route, limit string) *row {
	rows := *t.rows.Load()
	if known := rows[pair{route, limit}]; known != nil {
		return known
	}
	if len(rows) >= MaxPairs {
		return &t.other
	}
	return t.add(pair{route, limit})
}

func (t *Tally) add(p pair) *row {
	t.mu.Lock()
	defer t.mu.Unlock()
	rows := *t.rows.Load()
	switch {
	case rows[p] != nil: // added by another goroutine meanwhile
		return rows[p]
	case len(rows) >= MaxPairs:
		return &t.other
	}
	rows = maps.Clone(rows)
	rows[p] = &row{}
	t.rows.Store(&rows)
	return rows[p]
}

// Count is how many decisions about a limit of a route had an outcome. The names
// are valid UTF-8.
type Count struct {
	Route, Limit string
	Outcome      ratelimiter.Outcome
	Decisions    uint64
}

// Counts are all decisions so far, in no order. Of outcomes that a limit never
// had, only Allowed and Refused are told, as 0: so that who computes a rate sees
// the first one too.
func (t *Tally) Counts() iter.Seq[Count] {
	return func(yield func(Count) bool) {
		rows := *t.rows.Load()
		for p, row := range rows {
			if !row.each(printable(p.route), printable(p.limit), yield) {
				return
			}
		}
		if len(rows) >= MaxPairs {
			t.other.each(Other, Other, yield)
		}
	}
}

func (r *row) each(route, limit string, yield func(Count) bool) bool {
	for outcome := range outcomes {
		n := r.decisions[outcome].Load()
		if n == 0 && outcome != ratelimiter.Allowed && outcome != ratelimiter.Refused {
			continue
		}
		if !yield(Count{route, limit, outcome, n}) {
			return false
		}
	}
	return true
}

// printable spares exporters a name that they would refuse, as a path of a route
// may be any bytes.
func printable(name string) string {
	if utf8.ValidString(name) {
		return name
	}
	return strconv.Quote(name)
}
