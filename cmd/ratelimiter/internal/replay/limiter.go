// Package replay runs limits over the history of a log with the algorithms of the library, on
// the clock of the log.
package replay

import (
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/internal/window"
)

// Algorithms are the names of the library's algorithms, its default first.
var Algorithms = []string{"sliding-window", "fixed-window", "sliding-log", "token-bucket"}

// counter is the state of one limit for one client. A denied charge and a charge of 0 do not
// change it.
type counter interface {
	take(now int64, c *window.Charge) window.Verdict
}

type (
	sliding struct{ window.Sliding }
	fixed   struct{ window.Fixed }
	log     struct{ window.Log }
	bucket  struct{ window.Bucket }
)

func (s *sliding) take(now int64, c *window.Charge) (v window.Verdict) {
	s.Sliding, v = s.Take(now, c)
	return v
}

func (s *fixed) take(now int64, c *window.Charge) (v window.Verdict) {
	s.Fixed, v = s.Take(now, c)
	return v
}

func (s *log) take(now int64, c *window.Charge) (v window.Verdict) {
	s.Log, v = s.Take(now, c)
	return v
}

func (s *bucket) take(now int64, c *window.Charge) (v window.Verdict) {
	s.Bucket, v = s.Take(now, c)
	return v
}

func newCounter(algorithm string) counter {
	switch algorithm {
	case "fixed-window":
		return &fixed{}
	case "sliding-log":
		return &log{}
	case "token-bucket":
		return &bucket{}
	}
	return &sliding{}
}

// Limiter holds all limits of one client, with one algorithm. There is at least one limit.
type Limiter struct {
	charges  []window.Charge
	counters []counter
}

// NewLimiter makes an unused limiter.
func NewLimiter(algorithm string, limits []ratelimiter.Limit) *Limiter {
	l := &Limiter{}
	for _, limit := range limits {
		per := (limit.Per + time.Microsecond - 1) / time.Microsecond
		l.charges = append(l.charges, window.Charge{Limit: limit.Limit, Per: int64(per), Cost: 1})
		l.counters = append(l.counters, newCounter(algorithm))
	}
	return l
}

// Take charges a unit to every limit, or to none if any is used up. wait is then the time in
// microseconds until all have room, negative for never.
func (l *Limiter) Take(now int64) (allowed bool, wait int64) {
	last := len(l.counters) - 1
	allowed = true
	for i := range last {
		if !l.hasRoom(i, now) {
			allowed, wait = false, longer(wait, l.counters[i].take(now, &l.charges[i]).RetryAfter)
		}
	}
	// If the others have room, peeking at the last is unnecessary.
	if allowed || !l.hasRoom(last, now) {
		v := l.counters[last].take(now, &l.charges[last])
		allowed, wait = allowed && v.Allowed(), longer(wait, v.RetryAfter)
	}
	if allowed {
		for i, counter := range l.counters[:last] {
			counter.take(now, &l.charges[i])
		}
	}
	return allowed, wait
}

func (l *Limiter) hasRoom(i int, now int64) bool {
	peek := l.charges[i]
	peek.Cost = 0
	return l.counters[i].take(now, &peek).Remaining >= 1
}

// longer is the longer of two waits. A negative wait is endless.
func longer(a, b int64) int64 {
	if a < 0 || b < 0 {
		return -1
	}
	return max(a, b)
}
