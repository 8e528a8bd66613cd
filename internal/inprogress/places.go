// Package inprogress counts the requests in progress. Each of them holds a place of its
// counter until it ends, and others may wait for a place in the order of their arrival.
//
// All requests of the process are counted here, so a place in the process needs no
// clock and never expires. Where processes share a limit, a place is also a lease in
// the backend that they share: a unit of a sliding log, which is renewed while the
// request runs and given back when it ends. See lease.go.
package inprogress

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/internal/queue"
)

// RetryAfter is what a denied request is told: nobody knows when a request ends, so it
// is the shortest time that a Retry-After header can say.
const RetryAfter = time.Second

// Counters are the places of a rate limiter. The zero value counts in this process
// alone. It must not be copied, and is safe for use by many goroutines.
type Counters struct {
	shared       backends.Backend        // nil where this process is all there is
	localLimit   func(limit int64) int64 // see Share; nil for none
	queues       queue.Queues            // of requests that wait for a place
	mu           sync.Mutex              // guards all that follows, also in counters and places
	known        map[counterID]*counter  // those in use
	total        int                     // places that are taken
	closed       bool                    // nobody is let in any more
	closeBackend func() error            // what Close has left to the last place
	renewal      struct {                // when leases are renewed next
		timer    *time.Timer
		at       time.Time // zero while no renewal is planned
		renewing bool
	}
}

// counterID is what has places of its own.
type counterID struct {
	key, scope string
	lease      time.Duration
	shadow     bool
}

// counter are the places of one limit on a key and scope. It is forgotten when nobody
// uses it.
type counter struct {
	id    counterID
	taken int64 // places that requests of this process hold, or ask the backend for
	leases
}

// Place is what a request in progress holds.
type Place struct {
	counters *Counters
	counter  *counter
	lease    lease
}

// Share lets the places be leases in a backend too, which processes share. The backend
// must bound how long it takes, and give receipts for sliding logs. While it fails, each
// process counts by itself, up to what alone makes of a limit; if alone is nil, Take
// fails. Share must be called before the first Take.
func (cs *Counters) Share(backend backends.Backend, localLimit func(limit int64) int64) {
	cs.shared, cs.localLimit = backend, localLimit
}

// Take takes a place, if the quota has one free within the time, and writes the verdict. It
// returns nil without an error where there is none, and for a quota whose cost is 0,
// which is that of a request with a place of the same counter and waits for nothing.
//
// The period of the quota is the lease, its algorithm the sliding log, and its cost 1 or
// 0. waited is how long the request has waited in a queue, without the questions. The
// error is that of the backend or of the context, or backends.ErrClosed.
func (cs *Counters) Take(ctx context.Context, quota *backends.Quota, verdict *backends.Verdict, longest time.Duration) (place *Place, waited time.Duration, err error) {
	p := &Place{counters: cs, lease: lease{quota: *quota}}
	var allowed bool
	switch {
	case longest > 0 && 0 < quota.Cost && quota.Cost <= quota.Limit:
		allowed, waited, err = cs.wait(ctx, p, *quota, verdict, longest)
	case !cs.queues.IsEmpty([]backends.Quota{*quota}): // nobody overtakes those who wait
		*verdict = denial(quota, cs.Taken(quota))
	default:
		allowed, err = cs.try(ctx, p, verdict)
	}
	if !allowed || err != nil || quota.Cost == 0 {
		return nil, waited, err
	}
	return p, waited, nil
}

// try asks for a place at once: here first, where all requests of this process are
// known, and then in the backend.
func (cs *Counters) try(ctx context.Context, p *Place, v *backends.Verdict) (allowed bool, err error) {
	if allowed, err = cs.reserve(p, v); !allowed || cs.shared == nil {
		return allowed, err
	}
	if err = cs.lease(ctx, p, v); err == nil && v.Allowed {
		return true, nil
	}
	cs.free(p)
	return false, err
}

// reserve takes a place of this process.
func (cs *Counters) reserve(p *Place, v *backends.Verdict) (allowed bool, err error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.closed {
		return false, backends.ErrClosed
	}
	quota := &p.lease.quota
	id := idOf(quota)
	c := cs.known[id]
	if taken := c.inUse(); taken+quota.Cost > quota.Limit {
		*v = denial(quota, taken)
		return false, nil
	}
	if c == nil {
		c = cs.add(id)
	}
	c.taken += quota.Cost
	cs.total += int(quota.Cost)
	p.counter = c
	*v = backends.Verdict{Allowed: true, Remaining: quota.Limit - c.taken}
	return true, nil
}

func denial(quota *backends.Quota, taken int64) backends.Verdict {
	v := backends.Verdict{Remaining: max(0, quota.Limit-taken), RetryAfter: RetryAfter}
	if quota.Cost > quota.Limit {
		v.RetryAfter = -1
	}
	return v
}

// GiveBack gives the place back, and lets the first who waits ask for it. It must be
// called once. That of a nil place does nothing.
func (p *Place) GiveBack() {
	if p == nil {
		return
	}
	cs := p.counters
	if cs.shared != nil {
		cs.endLease(p)
	}
	cs.free(p)
	cs.queues.Free(p.counter.id.key, p.counter.id.scope)
	if cs.shared != nil {
		_ = cs.finish() // the error of a backend that is closed late is nobody's
	}
}

// free gives back a place of this process.
func (cs *Counters) free(p *Place) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c, cost := p.counter, p.lease.quota.Cost
	c.taken -= cost
	cs.total -= int(cost)
	cs.forget(c)
}

// Taken is how many places of a quota requests of this process hold.
func (cs *Counters) Taken(quota *backends.Quota) int64 {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.known[idOf(quota)].inUse()
}

// Waiting is how many requests wait for a place.
func (cs *Counters) Waiting() int { return cs.queues.Waiting() }

// Close lets nobody in any more, and sends all who wait away. Requests in progress keep
// their places, and their leases are renewed: then, which closes the backend, is called
// when the last of them has ended. Where there are none, or no backend, it is called at
// once, and its error returned.
func (cs *Counters) Close(closeBackend func() error) error {
	cs.mu.Lock()
	cs.closed = true
	cs.queues.Close()
	if cs.shared == nil {
		cs.mu.Unlock()
		return closeBackend()
	}
	cs.closeBackend = closeBackend
	cs.mu.Unlock()
	return cs.finish()
}

// finish closes the backend when Close was called and the last place is given back.
func (cs *Counters) finish() error {
	cs.mu.Lock()
	closeBackend := cs.closeBackend
	if closeBackend == nil || cs.total > 0 {
		cs.mu.Unlock()
		return nil
	}
	cs.closeBackend = nil
	cs.stopRenewing()
	cs.mu.Unlock()
	return closeBackend()
}

func idOf(quota *backends.Quota) counterID {
	return counterID{quota.Key, quota.Scope, quota.Per, quota.Shadow}
}

// add makes a counter that is used from now on.
func (cs *Counters) add(id counterID) *counter {
	if cs.known == nil {
		cs.known = map[counterID]*counter{}
	}
	c := &counter{id: id}
	cs.known[id] = c
	return c
}

// forget forgets a counter that nobody uses.
func (cs *Counters) forget(c *counter) {
	if c.taken == 0 && len(c.held) == 0 {
		delete(cs.known, c.id)
	}
}

// inUse is how many places are taken of a counter, which may be nil.
func (c *counter) inUse() int64 {
	if c == nil {
		return 0
	}
	return c.taken
}

var errNoReceipt = errors.New("the backend gives no receipts for the sliding log, without which requests in progress cannot be counted in it")
