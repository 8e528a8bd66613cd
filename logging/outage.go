package logging

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
)

// settled is how long a backend must not have failed to be called well again, so
// that one which fails now and then does not fill the log.
const recoveryPeriod = 10 * time.Second

// outage is one of the backend, from its first failure on.
type outage struct {
	on atomic.Bool // changed under mu

	mu          sync.Mutex
	since, last time.Time // of the failures
	answered    time.Time // first answer after the last failure; zero if none
	decisions   uint64    // made without the backend
}

// failed notes that a decision was made without the backend, and tells whether an
// outage has begun with it.
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
	if e.LimitIndex == 0 { // one question, whatever the number of limits
		o.decisions++
	}
	return begins
}

// answers notes an answer to a question asked at a time, and tells when the outage
// may be over. Answers to questions from before the last failure mean nothing.
func (o *outage) noteAnswer(asked, now time.Time) (over time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.on.Load() || !o.answered.IsZero() || !asked.After(o.last) {
		return over
	}
	o.answered = now
	return o.last.Add(recoveryPeriod)
}

// ended is an outage that is over.
type endedOutage struct {
	since     time.Time
	lasted    time.Duration
	decisions uint64
}

// end ends an outage whose time has come, or at the close any that the backend has
// answered after. next is when that may be, zero if it is not known.
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
