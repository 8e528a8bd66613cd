package backends

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"
)

const (
	// maxFlights is how many round trips of a queue are under way at once. With
	// one, two callers would wait for each other.
	maxFlights = 2
	// maxBatch is how many quotas a round trip decides at most: other clients of
	// the server wait while it decides them.
	maxBatch = 128
)

// queue lets concurrent calls share round trips: what comes while all flights are
// under way goes with the next one. Nobody waits for others to come.
type queue struct {
	// send makes one round trip, and answers each of the calls.
	send func(context.Context, []*call)
	// patient is set where a round trip may outlast its context.
	ignoresContext bool

	wakeWorker chan struct{} // is taken by a pilot that waits; see depart
	closed     chan struct{} // closed when no pilot shall wait any more

	mu      sync.Mutex
	waiting []*call
	flights int
}

func newQueue(send func(context.Context, []*call), ignoresContext bool) *queue {
	return &queue{send: send, ignoresContext: ignoresContext, wakeWorker: make(chan struct{}), closed: make(chan struct{})}
}

// do waits for the answer to a call, or for the end of the context. A call that
// has not been sent by then never is.
func (q *queue) wait(ctx context.Context, c *call) error {
	q.mu.Lock()
	free := q.flights < maxFlights
	if free {
		q.flights++
	}
	if free && (!q.ignoresContext || ctx.Done() == nil) {
		q.mu.Unlock()
		return q.sendAlone(ctx, c)
	}
	q.waiting = append(q.waiting, c)
	q.mu.Unlock()
	if free {
		q.startFlight()
	}
	if ctx.Done() == nil {
		<-c.done
		return c.err
	}
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
		q.mu.Lock()
		c.abandoned = true
		q.mu.Unlock()
		return ctx.Err()
	}
}

// alone makes the round trip of one call, which is quickest without a goroutine
// of its own. Those who have come meanwhile get one.
func (q *queue) sendAlone(ctx context.Context, c *call) error {
	q.sendBatch(ctx, c.alone[:])
	q.mu.Lock()
	more := len(q.waiting) > 0
	if !more {
		q.flights--
	}
	q.mu.Unlock()
	if more {
		q.startFlight()
	}
	return c.err
}

// pilotPatience is how long a goroutine that makes flights waits for the next one.
// A new one would have to grow its stack first, which takes longer than the rest.
const workerIdle = time.Second

// depart lets a flight begin.
func (q *queue) startFlight() {
	select {
	case q.wakeWorker <- struct{}{}:
	default: // no pilot waits
		go q.work()
	}
}

func (q *queue) work() {
	idle := time.NewTimer(workerIdle)
	for {
		q.sendWaiting()
		idle.Reset(workerIdle)
		select {
		case <-q.wakeWorker:
		case <-idle.C:
			return
		case <-q.closed:
			return
		}
	}
}

// trip makes a round trip. A panic in it, of a hook of the application's client,
// must neither keep the place of a flight nor end the process.
func (q *queue) sendBatch(ctx context.Context, batch []*call) {
	defer func() {
		if panicked := recover(); panicked != nil {
			for _, c := range batch {
				c.err = fmt.Errorf("the Redis client panicked: %v", panicked)
			}
		}
	}()
	q.send(ctx, batch)
}

// fly makes round trips until nobody waits.
func (q *queue) sendWaiting() {
	for batch := q.next(); batch != nil; batch = q.next() {
		ctx, cancel := flightContext(batch)
		q.sendBatch(ctx, batch)
		cancel()
		for _, c := range batch {
			c.done <- struct{}{}
		}
		if len(batch) > 1 {
			runtime.Gosched() // so that those who were answered can ask again
		}
	}
}

// next takes the calls of the next flight, or ends this one if there are none.
func (q *queue) next() (batch []*call) {
	q.mu.Lock()
	defer q.mu.Unlock()
	size, taken := 0, 0
	for _, c := range q.waiting {
		more := len(c.quotas)
		if len(batch) > 0 && c.mergesWith(batch[len(batch)-1]) {
			more = 0 // one decision for both
		}
		if size > 0 && size+more > maxBatch {
			break
		}
		taken++
		if !c.abandoned {
			batch = append(batch, c)
			size += more
		}
	}
	q.waiting = append(q.waiting[:0], q.waiting[taken:]...)
	clear(q.waiting[len(q.waiting):cap(q.waiting)])
	if batch == nil {
		q.flights--
	}
	return batch
}

// flightContext lasts as long as anybody on the flight waits. It is that of a request
// only where there are no others, whose flight its end would spoil.
func flightContext(batch []*call) (context.Context, context.CancelFunc) {
	if len(batch) == 1 {
		return batch[0].ctx, func() {}
	}
	var last time.Time
	for _, c := range batch {
		if c.deadline.IsZero() {
			return context.Background(), func() {}
		}
		if c.deadline.After(last) {
			last = c.deadline
		}
	}
	return context.WithDeadline(context.Background(), last)
}
