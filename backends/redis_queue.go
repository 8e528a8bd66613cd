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

// call is a Take, or the part of one that is on one node, on its way to Redis.
// It has copies of everything: whoever asked may have left when the answer comes.
type call struct {
	quotas   []Quota
	subjects [][]int // the quotas of each key and scope
	// trial asks what the answer would be, and charges nothing.
	trial bool
	// more is how many units to lease beside what is asked for.
	more int64
	// resets is how many there had been when it was asked; see leases.
	resets   uint64
	deadline time.Time // zero for none
	gone     bool      // nobody waits for it any more; guarded by the queue
	changes  []uint32  // of each subject, before it was sent; see denials

	done chan struct{} // closed when the answer is here
	// The answer:
	verdicts []Verdict
	err      error
	states   []numbers // as a denial has left them, one for each quota; nil when granted
	at       moment    // when these were so
	// What was leased, and the verdict after the last of it.
	leased     int64
	lastLeased Verdict
}

// newCall keeps the quotas, which must not be those of whoever asks.
func newCall(ctx context.Context, quotas []Quota, trial bool) *call {
	for i := range quotas {
		quotas[i].prepared = nil // which would tell equal quotas apart
	}
	c := &call{
		quotas: quotas, subjects: subjectsOf(quotas), trial: trial,
		done: make(chan struct{}), verdicts: make([]Verdict, len(quotas)),
	}
	c.deadline, _ = ctx.Deadline()
	return c
}

// queue lets concurrent calls share round trips: what comes while all flights are
// under way goes with the next one. Nobody waits for others to come.
type queue struct {
	// send makes one round trip, and answers each of the calls.
	send func(context.Context, []*call)
	// patient is set where a round trip may outlast its context.
	patient bool

	mu      sync.Mutex
	waiting []*call
	flights int
}

// do waits for the answer to a call, or for the end of the context. A call that
// has not been sent by then never is.
func (q *queue) do(ctx context.Context, c *call) error {
	q.mu.Lock()
	free := q.flights < maxFlights
	if free {
		q.flights++
	}
	if free && !q.patient {
		q.mu.Unlock()
		return q.alone(ctx, c)
	}
	q.waiting = append(q.waiting, c)
	q.mu.Unlock()
	if free {
		go q.fly()
	}
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
		q.mu.Lock()
		c.gone = true
		q.mu.Unlock()
		return ctx.Err()
	}
}

// alone makes the round trip of one call, which is quickest without a goroutine
// of its own. Those who have come meanwhile get one.
func (q *queue) alone(ctx context.Context, c *call) error {
	q.trip(ctx, []*call{c})
	q.mu.Lock()
	more := len(q.waiting) > 0
	if !more {
		q.flights--
	}
	q.mu.Unlock()
	if more {
		go q.fly()
	}
	return c.err
}

// trip makes a round trip. A panic in it, of a hook of the application's client,
// must neither keep the place of a flight nor end the process.
func (q *queue) trip(ctx context.Context, batch []*call) {
	defer func() {
		if panicked := recover(); panicked != nil {
			for _, c := range batch {
				c.err = fmt.Errorf("the Redis client has panicked: %v", panicked)
			}
		}
	}()
	q.send(ctx, batch)
}

// fly makes round trips until nobody waits.
func (q *queue) fly() {
	for batch := q.next(); batch != nil; batch = q.next() {
		ctx, cancel := flightContext(batch)
		q.trip(ctx, batch)
		cancel()
		for _, c := range batch {
			close(c.done)
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
		if len(batch) > 0 && c.joins(batch[len(batch)-1]) {
			more = 0 // one decision for both
		}
		if size > 0 && size+more > maxBatch {
			break
		}
		taken++
		if !c.gone {
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

// flightContext lasts as long as anybody on the flight waits. It is not that of a
// request, whose end must not spoil the flight for the others.
func flightContext(batch []*call) (context.Context, context.CancelFunc) {
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
