package stream

import (
	"context"

	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/traffic"
)

// A line that a wrong clock has dated far ahead would make all lines behind it
// late. So a leap is believed only if those lines do not speak against it.

const (
	witnesses  = 15                  // lines that are asked whether a leap is real
	lookPieces = 4                   // how many pieces are read ahead to ask them
	farLeap    = 31 * 86400 * micros // too far for a last line, which has no witnesses
)

// dropStrays takes out of the batch of a log what is dated ahead of the requests
// behind it, by more than a reach in µs, and tells how many there were.
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

// isStray tells whether most of the requests that follow would be late if a leap
// to now were believed.
func (s *source) isStray(ctx context.Context, following []traffic.Event, now, reach int64) bool {
	asked, against := 0, 0
	ask := func(events []traffic.Event) {
		for i := 0; i < len(events) && asked < witnesses; i++ {
			asked++
			if events[i].Time < now-reach {
				against++
			}
		}
	}
	ask(following)
	for i := 0; asked < witnesses && i < lookPieces; i++ {
		if i == len(s.next) && !s.takeNext(ctx) {
			break
		}
		ask(s.next[i].batch.Events)
	}
	if asked == 0 {
		return s.newest > 0 && now > s.newest+farLeap
	}
	return 2*against > asked
}
