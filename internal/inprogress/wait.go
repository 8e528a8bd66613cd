package inprogress

import (
	"context"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/internal/queue"
)

// Slots released by other processes are found by trying again, first after firstPause and
// then after twice the previous pause, up to longestPause.
const (
	firstPause   = 50 * time.Millisecond
	longestPause = time.Second
)

// wait takes a slot when the turn of the request comes, unless that takes longer than
// longest.
func (cs *Counters) wait(ctx context.Context, s *Slot, quota backends.Quota, v *backends.Verdict, longest time.Duration) (allowed bool, waited time.Duration, err error) {
	again := longest // in this process, Free wakes the queue
	if cs.shared != nil {
		again = firstPause
	}
	waited, rejected, err := cs.queues.Wait(ctx, queue.Request{Quotas: []backends.Quota{quota}, Longest: longest, Open: true}, func(context.Context) (queue.Answer, error) {
		allowed, err = cs.try(ctx, s, v)
		if err == nil && allowed && ctx.Err() != nil {
			s.Free()
			allowed, err = false, ctx.Err()
		}
		answer := queue.Answer{Allowed: allowed, RetryAfter: again, Verdicts: []backends.Verdict{*v}}
		if cs.shared != nil {
			again = min(2*again, longestPause)
		}
		return answer, err
	})
	if rejected != nil {
		*v = denial(&quota, cs.Taken(&quota))
	}
	return allowed, waited, err
}
