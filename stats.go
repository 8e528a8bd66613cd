package ratelimiter

import "github.com/gin-ratelimiter/ratelimiter/backends"

// Stats is what a rate limiter has done since InitApp, in this process. Numbers
// only grow, but for Keys and Waiting.
type Stats struct {
	// Health is that of the backend; the zero Health where it is in the process.
	Health backends.Health

	// Memory is that of the memory backend, or of the memory that is fallen back
	// on; see backends.Stats.
	Memory backends.MemoryStats

	// LocalDenials counts the questions that were denied without asking Redis.
	LocalDenials uint64

	// Waiting is how many requests wait for their turn now; see WithWait.
	Waiting int

	// ObserverPanics counts what observers have panicked with.
	ObserverPanics uint64
}

// Stats tells what the rate limiter has done, as for metrics. It is the zero Stats
// before InitApp. It locks one part of the memory after the other, for a moment.
func (r *RateLimiter) Stats() Stats {
	s := r.settings.Load()
	if s == nil {
		return Stats{}
	}
	sum := Stats{Health: r.Health(), Waiting: int(s.lines.waiting.Load())}
	sum.LocalDenials, _ = backends.LocalDenials(s.backend)
	counting := s.backend
	if s.local != nil {
		counting = s.local
	}
	sum.Memory, _ = backends.Stats(counting)
	sum.ObserverPanics = s.observing.panics.Load()
	return sum
}
