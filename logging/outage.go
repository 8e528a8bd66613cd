package logging

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
)

// recoveryPeriod is how long the backend must not fail to count as available, so that a
// backend which fails now and then does not fill the log.
const recoveryPeriod = 10 * time.Second

// outage is an outage of the backend, from its first failure.
type outage struct {
	on atomic.Bool // changed while mu is held

	mu          sync.Mutex
	since, last time.Time // times of the first and last failure
	answered    time.Time // first answer after the last failure; zero if none
	decisions   uint64    // made without the backend
}

// noteFailure records a decision made without the backend, and reports whether an outage
// begins with it.
func (o *outage) noteFailure(e *ratelimiter.Event, now time.Time) (begins bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.on.Load() {
		begins = true
		o.on.Store(true)
		o.since, o.last, o.decisions = now, now, 0
	}
	if now.After(o.last) {
		o.last = now
	}
	o.answered = time.Time{}
	if e.LimitIndex == 0 { // one call per request, whatever the number of limits
		o.decisions++
	}
	return begins
}

// noteAnswer records the answer to a call made at a time, and returns when the outage may
// be over. It ignores answers to calls made before the last failure.
func (o *outage) noteAnswer(asked, now time.Time) (over time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.on.Load() || !o.answered.IsZero() || !asked.After(o.last) {
		return over
	}
	o.answered = now
	return o.last.Add(recoveryPeriod)
}

// endedOutage is an outage that is over.
type endedOutage struct {
	since     time.Time
	lasted    time.Duration
	decisions uint64
}

// end ends an outage that is over. When closing, it ends any outage after which the backend
// has answered. next is when the outage may be over, zero if unknown.
func (o *outage) end(now time.Time, closing bool) (over *endedOutage, next time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.on.Load() || o.answered.IsZero() {
		return nil, next
	}
	if next = o.last.Add(recoveryPeriod); next.After(now) && !closing {
		return nil, next
	}
	o.on.Store(false)
	return &endedOutage{o.since, o.answered.Sub(o.since), o.decisions}, time.Time{}
}
