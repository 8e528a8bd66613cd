// Package queue holds requests that are over a limit until their turn comes. Requests
// that ask for the same counters wait in one queue, in order of arrival. It knows no
// HTTP: the caller asks the backend, and is told when.
package queue

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
)

const (
	maxInQueue = 1000
	maxWaiting = 10_000 // in all queues
)

// Queues are the requests that wait, those of one rate limiter. The zero value is
// ready. It must not be copied, and is safe for use by many goroutines at once.
type Queues struct {
	waiting atomic.Int64 // in all queues; changes under mu
	mu      sync.Mutex
	queues  map[uint64]*queue
	closed  bool
}

// Request is a request that may wait.
type Request struct {
	// Quotas are what it asks for, one or more. They must not change before Wait returns.
	Quotas []backends.Quota

	// Longest is the longest wait, counted from the call of Wait. A context that ends
	// earlier shortens it.
	Longest time.Duration

	// Grace is how much longer a request is held that could have had its turn in time,
	// while those before it are still being let through.
	Grace time.Duration

	// Open tells that nobody knows when units come back, as those that requests in progress
	// hold. RetryAfter is then only when to ask again: the request waits until its
	// deadline, asks once more, and is rejected then, and not before.
	Open bool
}

// Answer is what the backend says of a request.
type Answer struct {
	// Allowed tells that the request was charged, and may pass.
	Allowed bool

	// RetryAfter is how long until it will be allowed, as far as is known now. It is
	// negative if waiting does not help.
	RetryAfter time.Duration

	// Limit says which of the quotas it waits for.
	Limit int

	// Verdicts are those on the quotas. They matter if it is allowed: what remains lets
	// others pass.
	Verdicts []backends.Verdict
}

// Wait asks the backend about a request, and again when its turn comes, until it is
// allowed or known not to have its turn in time. It returns how long the request has
// stood in a queue, and what has ended that:
//
//   - Without an estimate and an error, the last answer of ask stands. The request was
//     allowed, or denied for longer than it may wait.
//   - With an estimate, the request is rejected because of those before it. It was
//     charged nothing. The backend may not have been asked; the estimate tells when
//     its turn would be.
//   - backends.ErrClosed: Close was called.
//   - The error of the context: the request has ended.
//   - Any other error is that of ask.
//
// ask is called in the goroutine of Wait, never twice at once. Later calls are given a
// context that does not end with the request, so that what they charge is known. If the
// request has ended meanwhile, ask has to refund that, and to return an error.
func (qs *Queues) Wait(ctx context.Context, r Request, query func(context.Context) (Answer, error)) (waited time.Duration, rejected *Estimate, err error) {
	w := waiter{quotas: r.Quotas, open: r.Open, arrived: time.Now()}
	w.deadline = w.arrived.Add(r.Longest)
	if ends, ok := ctx.Deadline(); ok && ends.Before(w.deadline) {
		w.deadline = ends
	}
	var first turn
	if qs.IsEmpty(r.Quotas) {
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

// wait stands in a queue. It is apart from Wait so that a request that need not wait
// allocates nothing.
func (qs *Queues) wait(ctx context.Context, w waiter, first turn, grace time.Duration, query func(context.Context) (Answer, error)) (waited time.Duration, rejected *Estimate, err error) {
	w.wake = make(chan struct{}, 1)
	qs.join(&w, first)
	var room []backends.Verdict // what remains, once it has passed
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

// causeOf is the end of a request if it has ended: what failed then failed for that.
func causeOf(ctx context.Context, err error) error {
	if ended := ctx.Err(); ended != nil {
		return ended
	}
	return err
}

// pause waits until it is over, the waiter is woken or its request ends. It returns
// how long that was.
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

// turn is when a request will be allowed, and which of its quotas it waits for. The
// zero turn is not known.
type turn struct {
	at    time.Time
	limit int
	never bool
}

func (a Answer) turn() turn {
	if a.RetryAfter < 0 {
		return turn{limit: a.Limit, never: true}
	}
	// A backend that does not know when is not asked without a break.
	wait := a.RetryAfter
	if wait == 0 {
		wait = retrySoon
	}
	return turn{limit: a.Limit, at: time.Now().Add(wait)}
}

// misses reports whether a request that was denied until its turn ends its wait now.
func (w *waiter) endsWait(t turn) bool {
	if w.open {
		return t.never || !time.Now().Before(w.deadline)
	}
	return t.never || t.at.After(w.deadline)
}

// soon is when to ask again where nothing better is known.
const retrySoon = time.Millisecond

// IsEmpty reports whether no request waits for quotas.
func (qs *Queues) IsEmpty(quotas []backends.Quota) bool {
	if qs.waiting.Load() == 0 {
		return true
	}
	id := idOf(quotas)
	qs.mu.Lock()
	defer qs.mu.Unlock()
	return qs.queues[id] == nil
}

// Waiting is how many requests wait in all queues.
func (qs *Queues) Waiting() int { return int(qs.waiting.Load()) }

// Len is how many queues there are. One that nobody waits in any more is gone.
func (qs *Queues) Len() int {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	return len(qs.queues)
}
