package inprogress

import (
	"context"
	"slices"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
)

const (
	maxInLine  = 1000
	maxWaiting = 10_000 // in all lines

	// Places that other processes give back are noticed by asking again, first after
	// firstPause and then after twice the time, up to longestPause.
	firstPause   = 50 * time.Millisecond
	longestPause = time.Second
)

// waiter is a request that waits for a place.
type waiter struct {
	arrived time.Time
	wake    chan struct{} // a place may be free
}

func (w *waiter) call() {
	select {
	case w.wake <- struct{}{}:
	default: // it is told already
	}
}

// callFirst lets the first who waits ask. The call is not lost where that one is being
// denied just now.
func (c *counter) callFirst() {
	if len(c.line) > 0 {
		c.line[0].call()
	}
}

// wait stands in line until there is a place, or too much time has passed.
func (cs *Counters) wait(ctx context.Context, p *Place, v *backends.Verdict, arrived time.Time, longest time.Duration) (allowed bool, waited time.Duration, err error) {
	w := &waiter{arrived: arrived, wake: make(chan struct{}, 1)}
	c := cs.join(w, &p.lease.quota)
	if c == nil {
		return false, 0, nil
	}
	defer cs.leave(c, w)
	deadline := arrived.Add(longest)
	if ends, ok := ctx.Deadline(); ok && ends.Before(deadline) {
		deadline = ends
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for pause := firstPause; ; {
		began := time.Now()
		select {
		case <-timer.C:
		case <-w.wake:
			pause = firstPause
		case <-ctx.Done():
			return false, waited + time.Since(began), ctx.Err()
		}
		waited += time.Since(began)
		allowed, err = cs.try(ctx, p, w, v)
		switch {
		case allowed && ctx.Err() != nil:
			p.GiveBack()
			return false, waited, ctx.Err()
		case allowed, err != nil:
			return allowed, waited, err
		}
		left := time.Until(deadline)
		if left <= 0 {
			return false, waited, nil
		}
		if cs.shared != nil {
			left, pause = min(left, pause), min(2*pause, longestPause)
		}
		timer.Reset(left)
	}
}

// join puts a waiter where it belongs by its arrival, as answers of the backend overtake
// each other. It returns nil where too many wait.
func (cs *Counters) join(w *waiter, quota *backends.Quota) *counter {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := cs.known[idOf(quota)]
	if cs.queued >= maxWaiting || c != nil && len(c.line) >= maxInLine {
		return nil
	}
	if c == nil {
		c = cs.add(idOf(quota))
	}
	at := len(c.line)
	for at > 0 && c.line[at-1].arrived.After(w.arrived) {
		at--
	}
	c.line = slices.Insert(c.line, at, w)
	cs.queued++
	return c
}

// leave takes a waiter out of the line, and lets the next one ask.
func (cs *Counters) leave(c *counter, w *waiter) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	at := slices.Index(c.line, w)
	c.line = slices.Delete(c.line, at, at+1)
	cs.queued--
	c.callFirst()
	cs.forget(c)
}
