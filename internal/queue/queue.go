// Package queue holds requests that are over a limit until their turn comes. Requests for
// the same counters wait in one queue, in order of arrival. The package is independent of
// HTTP: the caller supplies the function that calls the backend.
package queue

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
)

const (
	maxInQueue = 1000
	maxWaiting = 10_000 // in all queues
)

// Queues holds the waiting requests of a rate limiter. The zero value is ready for use. It
// must not be copied. All methods are safe for concurrent use.
type Queues struct {
	waiting atomic.Int64  // in all queues; changes while mu is held
	freed   atomic.Uint64 // number of calls of Free and FreeAll
	mu      sync.Mutex
	queues  map[uint64]*queue
	closed  bool
}

// Request is a request that may wait.
type Request struct {
	// Quotas are the quotas of the request, at least one. They must not change before Wait
	// returns.
	Quotas []backends.Quota

	// Longest is the longest wait, counted from the call of Wait. An earlier deadline of
	// the context shortens it.
	Longest time.Duration

	// Grace is how much longer a request may stay if its turn has come in time but requests
	// before it are still passing.
	Grace time.Duration

	// Open means that nobody knows when units come back, such as those held by requests in
	// progress. RetryAfter is then only when to call the backend again. The request waits
	// until its deadline, makes one more call, and is not rejected earlier.
	Open bool
}

// Answer is the answer of the backend to a request.
type Answer struct {
	// Allowed reports whether the request was charged and may pass.
	Allowed bool

	// RetryAfter is how long until the request will be allowed, as far as is known. It is
	// negative if waiting does not help.
	RetryAfter time.Duration

	// Limit is the index of the quota that the request waits for.
	Limit int

	// Verdicts are the verdicts on the quotas. If the request is allowed, their remaining
	// units let others pass.
	Verdicts []backends.Verdict
}

// Wait calls query for a request, and again when its turn comes, until it is allowed or
// cannot have its turn in time. A request that costs nothing but units of shadow quotas, such
// as one that an earlier limit has charged, passes those that wait. Wait returns how long the
// request was in a queue, and how the wait ended:
//
//   - No estimate and no error: the last answer of query decides. The request was
//     allowed, or denied for longer than it may wait.
//   - An estimate: the request is rejected because of the requests before it, and was
//     not charged. The backend may not have been called; the estimate computes when
//     the turn of the request would have come.
//   - backends.ErrClosed: Close was called.
//   - The error of the context: the request has ended.
//   - Any other error is that of query.
//
// query runs in the goroutine of Wait, one call at a time. Except for the first call, its
// context does not end with the request, so that it is always known what was charged. If
// the request has ended during the call, query must refund the charge and return an error.
func (qs *Queues) Wait(ctx context.Context, r Request, query func(context.Context) (Answer, error)) (waited time.Duration, rejected *Estimate, err error) {
	w := waiter{quotas: r.Quotas, open: r.Open, arrived: time.Now()}
	w.deadline = w.arrived.Add(r.Longest)
	if ends, ok := ctx.Deadline(); ok && ends.Before(w.deadline) {
		w.deadline = ends
	}
	var first turn
	if qs.IsEmpty(r.Quotas) || !slices.ContainsFunc(r.Quotas, mayWait) {
		w.freed = qs.freed.Load()
		answer, err := query(ctx)
		if err != nil {
			return 0, nil, causeOf(ctx, err)
		}
		if first = answer.turn(); answer.Allowed || w.endsWait(first) {
			return 0, nil, nil
		}
	}
	return qs.wait(ctx, w, first, r.Grace, query)
}

// wait waits in a queue. It is separate from Wait so that a request that need not wait
// allocates nothing.
func (qs *Queues) wait(ctx context.Context, w waiter, first turn, grace time.Duration, query func(context.Context) (Answer, error)) (waited time.Duration, rejected *Estimate, err error) {
	w.wake = make(chan struct{}, 1)
	qs.join(&w, first)
	var room []backends.Verdict // verdicts of a request that has passed
	defer func() { qs.leave(&w, room) }()
	for {
		pause, err := qs.next(&w, grace)
		switch {
		case errors.Is(err, errRejected):
			return waited, w.rejected, nil
		case err != nil:
			return waited, nil, err
		case pause > 0:
			waited += w.pause(ctx, pause)
		default:
			answer, err := query(context.WithoutCancel(ctx))
			if err != nil {
				return waited, nil, causeOf(ctx, err)
			}
			if answer.Allowed {
				room = answer.Verdicts
				return waited, nil, nil
			}
			turn := answer.turn()
			if w.endsWait(turn) {
				return waited, nil, nil
			}
			qs.postpone(&w, turn)
		}
		if err := ctx.Err(); err != nil {
			return waited, nil, err
		}
	}
}

// mayWait reports whether a quota may make a request wait. A shadow quota denies nothing.
func mayWait(q backends.Quota) bool { return q.Cost != 0 && !q.Shadow }

// causeOf returns the error of the context if the request has ended, because that is why
// the call failed. Otherwise it returns err.
func causeOf(ctx context.Context, err error) error {
	if ended := ctx.Err(); ended != nil {
		return ended
	}
	return err
}

// pause returns after the given time, when the waiter is woken or when its request ends. It
// returns how long that took.
func (w *waiter) pause(ctx context.Context, pause time.Duration) time.Duration {
	began := time.Now()
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.wake:
	case <-ctx.Done():
	}
	return time.Since(began)
}

// turn is when a request will be allowed, and the quota it waits for. The zero value is
// unknown.
type turn struct {
	at    time.Time
	limit int
	never bool
	skip  time.Duration // how long after that the request calls the backend; see contention
}

func (a Answer) turn() turn {
	if a.RetryAfter < 0 {
		return turn{limit: a.Limit, never: true}
	}
	// Never call a backend in a busy loop if it does not know when.
	wait := a.RetryAfter
	if wait == 0 {
		wait = retrySoon
	}
	return turn{limit: a.Limit, at: time.Now().Add(wait)}
}

// endsWait reports whether a denied request stops waiting, given its next turn.
func (w *waiter) endsWait(t turn) bool {
	if w.open {
		return t.never || !time.Now().Before(w.deadline)
	}
	return t.never || t.at.After(w.deadline)
}

// retrySoon is when to call the backend again if nothing better is known.
const retrySoon = time.Millisecond

// IsEmpty reports whether no request is waiting for these quotas.
func (qs *Queues) IsEmpty(quotas []backends.Quota) bool {
	if qs.waiting.Load() == 0 {
		return true
	}
	id := idOf(quotas)
	qs.mu.Lock()
	defer qs.mu.Unlock()
	return qs.queues[id] == nil
}

// Waiting returns the number of waiting requests in all queues.
func (qs *Queues) Waiting() int { return int(qs.waiting.Load()) }

// Len returns the number of queues. Empty queues do not exist.
func (qs *Queues) Len() int {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	return len(qs.queues)
}
