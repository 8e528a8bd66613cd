package backends

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"
)

const (
	// maxFlights is how many round trips of a queue may be in progress at once. With only
	// one, two callers would block each other.
	maxFlights = 2
	// maxBatch is the most quotas per round trip, because other clients of the server have
	// to wait meanwhile.
	maxBatch = 128
)

// queue lets concurrent calls share round trips ("flights"). Calls that arrive while all
// flights are in progress share the next one. No call waits for others to arrive.
type queue struct {
	// send makes a round trip and answers the calls.
	send func(context.Context, []*call)
	// ignoresContext is set if a round trip may outlast its context.
	ignoresContext bool

	wakeWorker chan struct{} // received by an idle worker; see startFlight
	closed     chan struct{} // closed when idle workers should end

	mu      sync.Mutex
	waiting []*call
	flights int
}

func newQueue(send func(context.Context, []*call), ignoresContext bool) *queue {
	return &queue{send: send, ignoresContext: ignoresContext, wakeWorker: make(chan struct{}), closed: make(chan struct{})}
}

// wait returns when a call is answered or the context ends. If the call has not been sent
// by then, it never is.
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

// sendAlone makes the round trip of a single call in the goroutine of its caller, which is
// fastest. Calls that arrive in the meantime are left to a worker.
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

// workerIdle is how long an idle worker waits for the next flight. Starting a new goroutine
// is slow, because it has to grow its stack.
const workerIdle = time.Second

// startFlight passes a flight to an idle worker, or starts one.
func (q *queue) startFlight() {
	select {
	case q.wakeWorker <- struct{}{}:
	default: // no idle worker
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

// sendBatch makes a round trip. A panic, such as one in a hook of the application's client,
// must neither leak the flight nor end the process.
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

// sendWaiting makes round trips until no call is waiting.
func (q *queue) sendWaiting() {
	for batch := q.next(); batch != nil; batch = q.next() {
		ctx, cancel := flightContext(batch)
		q.sendBatch(ctx, batch)
		cancel()
		for _, c := range batch {
			c.done <- struct{}{}
		}
		if len(batch) > 1 {
			runtime.Gosched() // lets the answered callers run and call again
		}
	}
}

// next removes the calls of the next flight from the queue. If there are none, it returns
// nil and ends the flight.
func (q *queue) next() (batch []*call) {
	q.mu.Lock()
	defer q.mu.Unlock()
	size, taken := 0, 0
	for _, c := range q.waiting {
		more := len(c.quotas)
		if len(batch) > 0 && c.mergesWith(batch[len(batch)-1]) {
			more = 0 // shares the decision of the previous call
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

// flightContext returns a context that lasts until the last deadline of the batch. A single
// call uses its own context; a shared flight must not end with one of its requests.
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
