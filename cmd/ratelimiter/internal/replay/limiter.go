// Package replay runs limits over the history of a log through the algorithms
// that the library itself runs, on the clock of the log.
package replay

import (
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/internal/window"
)

// Algorithms are the names of the library's algorithms, its default first.
var Algorithms = []string{"sliding-window", "fixed-window", "sliding-log", "token-bucket"}

// counter is the state of one limit for one client.
type counter interface {
	// room is how many units could be charged now. It changes nothing.
	room(now int64, c window.Charge) int64
	// wait is how long until a unit that does not fit now will.
	wait(now int64, c window.Charge) int64
	charge(now int64, c window.Charge)
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

func peek(c window.Charge) window.Charge {
	c.Cost = 0
	return c
}

type sliding struct{ window.Sliding }

func (s *sliding) room(now int64, c window.Charge) int64 {
	_, v := s.Take(now, peek(c))
	return v.Remaining
}

func (s *sliding) wait(now int64, c window.Charge) int64 {
	_, v := s.Take(now, c)
	return v.RetryAfter
}
func (s *sliding) charge(now int64, c window.Charge) { s.Sliding, _ = s.Take(now, c) }

type fixed struct{ window.Fixed }

func (s *fixed) room(now int64, c window.Charge) int64 {
	_, v := s.Take(now, peek(c))
	return v.Remaining
}

func (s *fixed) wait(now int64, c window.Charge) int64 {
	_, v := s.Take(now, c)
	return v.RetryAfter
}
func (s *fixed) charge(now int64, c window.Charge) { s.Fixed, _ = s.Take(now, c) }

type log struct{ window.Log }

func (s *log) room(now int64, c window.Charge) int64 {
	_, v := s.Take(now, peek(c))
	return v.Remaining
}

func (s *log) wait(now int64, c window.Charge) int64 {
	_, v := s.Take(now, c)
	return v.RetryAfter
}
func (s *log) charge(now int64, c window.Charge) { s.Log, _ = s.Take(now, c) }

type bucket struct{ window.Bucket }

func (s *bucket) room(now int64, c window.Charge) int64 {
	_, v := s.Take(now, peek(c))
	return v.Remaining
}

func (s *bucket) wait(now int64, c window.Charge) int64 {
	_, v := s.Take(now, c)
	return v.RetryAfter
}
func (s *bucket) charge(now int64, c window.Charge) { s.Bucket, _ = s.Take(now, c) }

// Limiter is all limits of one client, counted by one algorithm.
type Limiter struct {
	charges  []window.Charge
	counters []counter
}

// NewLimiter makes a limiter that nothing was charged to.
func NewLimiter(algorithm string, limits []ratelimiter.Limit) *Limiter {
	l := &Limiter{}
	for _, limit := range limits {
		per := (limit.Per + time.Microsecond - 1) / time.Microsecond
		l.charges = append(l.charges, window.Charge{Limit: limit.Limit, Per: int64(per), Cost: 1})
		l.counters = append(l.counters, newCounter(algorithm))
	}
	return l
}

// Take charges a unit to every limit, or to none of them if any is used up. wait
// is then the microseconds until they all have room, negative for never.
func (l *Limiter) Take(now int64) (allowed bool, wait int64) {
	allowed = true
	for i, counter := range l.counters {
		if counter.room(now, l.charges[i]) >= 1 {
			continue
		}
		allowed = false
		after := counter.wait(now, l.charges[i])
		if after < 0 || wait < 0 {
			wait = -1
		} else {
			wait = max(wait, after)
		}
	}
	if allowed {
		for i, counter := range l.counters {
			counter.charge(now, l.charges[i])
		}
	}
	return allowed, wait
}
