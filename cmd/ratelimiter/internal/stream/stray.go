package stream

import (
	"context"

	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/traffic"
)

// A line that a wrong clock has dated far ahead would make all following lines late. A leap in
// time is therefore accepted only if the following lines confirm it.

const (
	witnesses  = 15                  // following lines that confirm or refute a leap
	lookPieces = 4                   // pieces that are read ahead for them
	farLeap    = 31 * 86400 * micros // too far for a last line, which has no following lines
)

// dropStrays removes requests from a batch that are dated ahead of the following requests by
// more than a reach in µs. It returns their number.
func (s *source) dropStrays(ctx context.Context, reach int64) (dropped int) {
	events := s.batch.batch.Events
	kept := events[:0]
	for i := range events {
		now := events[i].Time
		if now > s.newest+reach {
			if s.isStray(ctx, events[i+1:], now, reach) {
				dropped++
				continue
			}
			s.newest = now
		}
		s.newest = max(s.newest, now)
		if dropped > 0 {
			kept = append(kept, events[i])
		} else {
			kept = events[:i+1]
		}
	}
	s.batch.batch.Events = kept
	return dropped
}

// isStray reports whether most of the following requests would be late after a leap to now.
func (s *source) isStray(ctx context.Context, following []traffic.Event, now, reach int64) bool {
	seen, against := 0, 0
	look := func(events []traffic.Event) {
		for i := 0; i < len(events) && seen < witnesses; i++ {
			seen++
			if events[i].Time < now-reach {
				against++
			}
		}
	}
	look(following)
	for i := 0; seen < witnesses && i < lookPieces; i++ {
		if i == len(s.next) && !s.takeNext(ctx) {
			break
		}
		look(s.next[i].batch.Events)
	}
	if seen == 0 {
		return s.newest > 0 && now > s.newest+farLeap
	}
	return 2*against > seen
}
