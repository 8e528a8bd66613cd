// Package inprogress limits the number of requests in progress. Each request holds a slot
// of its counter until it ends, and others may wait for a slot in order of arrival.
//
// Every request of the process is counted here, so a slot in the process needs no clock
// and never expires. If processes share a limit, a slot is also a lease in the shared
// backend: a unit of a sliding log that is renewed while the request runs and refunded when
// it ends. See lease.go.
package inprogress

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/internal/queue"
)

// RetryAfter is the RetryAfter of a denied request. Nobody knows when a request ends, so it
// is the shortest time that a Retry-After header can express.
const RetryAfter = time.Second

// Counters holds the slots of a rate limiter. The zero value counts in this process only.
// It must not be copied. All methods are safe for concurrent use.
type Counters struct {
	shared       backends.Backend        // nil if no limit is shared
	localLimit   func(limit int64) int64 // see Share; may be nil
	queues       queue.Queues            // requests that wait for a slot
	mu           sync.Mutex              // guards the fields below, and those of counters and slots
	known        map[counterID]*counter  // counters in use
	total        int                     // number of slots taken
	closed       bool                    // no more requests are admitted
	closeBackend func() error            // set by Close, called with the last slot
	renewal      struct {                // the next renewal of leases
		timer    *time.Timer
		at       time.Time // zero if none is scheduled
		renewing bool
	}
}

// counterID identifies a counter.
type counterID struct {
	key, scope string
	lease      time.Duration
	shadow     bool
}

// counter counts the slots of one limit on a key and scope. It exists only while it is in
// use.
type counter struct {
	id    counterID
	taken int64 // slots that requests of this process hold or are taking from the backend
	leases
}

// Slot is the slot that a request in progress holds.
type Slot struct {
	counters *Counters
	counter  *counter
	lease    lease
}

// Share lets slots be leases in a backend that processes share. The backend must limit how
// long its calls take, and must return receipts for sliding logs. If the backend fails,
// each process counts on its own, up to localLimit of the limit; if localLimit is nil, Take
// fails. Share must be called before the first Take.
func (cs *Counters) Share(backend backends.Backend, localLimit func(limit int64) int64) {
	cs.shared, cs.localLimit = backend, localLimit
}

// Take takes a slot if the quota has a free one, waiting for at most longest, and writes
// the verdict. It returns a nil Slot without an error if there is none. It also does so
// for a quota with cost 0, which a request uses if it already holds a slot of the same
// counter. A quota with cost 0 never waits, and passes requests that wait.
//
// The period of the quota is the length of the lease, its algorithm is the sliding log, and
// its cost is 1 or 0. waited is how long the request was in a queue, excluding calls to the
// backend. The error is that of the backend or the context, or backends.ErrClosed.
func (cs *Counters) Take(ctx context.Context, quota *backends.Quota, verdict *backends.Verdict, longest time.Duration) (slot *Slot, waited time.Duration, err error) {
	s := &Slot{counters: cs, lease: lease{quota: *quota}}
	var allowed bool
	switch {
	case quota.Cost == 0, quota.Cost > quota.Limit: // waiting does not help
		allowed, err = cs.try(ctx, s, verdict)
	case longest > 0:
		allowed, waited, err = cs.wait(ctx, s, *quota, verdict, longest)
	case !cs.queues.IsEmpty([]backends.Quota{*quota}): // no request overtakes those that wait
		*verdict = denial(quota, cs.Taken(quota))
	default:
		allowed, err = cs.try(ctx, s, verdict)
	}
	if !allowed || err != nil || quota.Cost == 0 {
		return nil, waited, err
	}
	return s, waited, nil
}

// try takes a slot without waiting: first here, where all requests of this process are
// known, then from the backend.
func (cs *Counters) try(ctx context.Context, s *Slot, v *backends.Verdict) (allowed bool, err error) {
	if allowed, err = cs.reserve(s, v); !allowed || cs.shared == nil {
		return allowed, err
	}
	if err = cs.lease(ctx, s, v); err == nil && v.Allowed {
		return true, nil
	}
	cs.free(s)
	return false, err
}

// reserve takes a slot of this process.
func (cs *Counters) reserve(s *Slot, v *backends.Verdict) (allowed bool, err error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.closed {
		return false, backends.ErrClosed
	}
	quota := &s.lease.quota
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
	s.counter = c
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

// Free releases the slot, and lets the first waiting request try to take it. It must be
// called exactly once. It does nothing on a nil Slot.
func (s *Slot) Free() {
	if s == nil {
		return
	}
	cs := s.counters
	if cs.shared != nil {
		cs.endLease(s)
	}
	cs.free(s)
	cs.queues.Free(s.counter.id.key, s.counter.id.scope)
	if cs.shared != nil {
		_ = cs.finish() // no caller is left for an error of the backend
	}
}

// free releases a slot of this process.
func (cs *Counters) free(s *Slot) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c, cost := s.counter, s.lease.quota.Cost
	c.taken -= cost
	cs.total -= int(cost)
	cs.forget(c)
}

// Taken returns how many slots of a quota are held by requests of this process.
func (cs *Counters) Taken(quota *backends.Quota) int64 {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.known[idOf(quota)].inUse()
}

// Waiting returns the number of requests that wait for a slot.
func (cs *Counters) Waiting() int { return cs.queues.Waiting() }

// Close stops admitting requests and rejects those that wait. Requests in progress keep
// their slots and renew their leases. When the last of them has ended, closeBackend is
// called. If there are none, or no backend is shared, it is called at once and its error is
// returned.
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

// finish closes the backend if Close was called and no slot is taken.
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

// add creates a counter.
func (cs *Counters) add(id counterID) *counter {
	if cs.known == nil {
		cs.known = map[counterID]*counter{}
	}
	c := &counter{id: id}
	cs.known[id] = c
	return c
}

// forget removes a counter that is not in use.
func (cs *Counters) forget(c *counter) {
	if c.taken == 0 && len(c.held) == 0 {
		delete(cs.known, c.id)
	}
}

// inUse returns the number of slots taken. The counter may be nil.
func (c *counter) inUse() int64 {
	if c == nil {
		return 0
	}
	return c.taken
}

var errNoReceipt = errors.New("the backend returns no receipts for the sliding log, which limits on requests in progress require")
