package ratelimiter

import (
	"context"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
)

// The length of a growing ban depends on the previous bans of the client. The call that
// rejects a request returns them, so the rejection is counted in a second call.

// grows reports whether repeated bans get longer.
func (b *ban) grows() bool { return len(b.durations) > 1 }

// memory returns a quota of one unit that is used up while a ban is remembered: for its
// duration and the same time again. It is a shadow quota, so it rejects nothing, and its
// period ends in 999 µs, so no limit of the application shares its counter.
func (b *ban) memory(of *backends.Quota, stage int, cost int64) backends.Quota {
	return backends.Quota{
		Key: of.Key, Scope: of.Scope, Algorithm: TokenBucket, Limit: 1,
		Per:  min(2*b.durations[stage], backends.MaxPer) - time.Microsecond,
		Cost: cost, Shadow: true, Tentative: true,
	}
}

// addMemories queries the recent bans of a client. Their quotas follow that of the ban.
func (g *guarded) addMemories(b *ban, of *backends.Quota) {
	last := &g.guards[len(g.guards)-1]
	for stage := range b.durations {
		g.add(b.memory(of, stage, 0))
	}
	last.memories = len(b.durations)
}

// noteStage determines the duration of the client's next ban: the one after the longest
// ban that is still remembered, or the last one again.
func (g *guard) noteStage(answers []backends.Verdict, limits []limitState) {
	var stage int32
	for n := range g.memories {
		if answers[g.at+1+n].Remaining == 0 {
			stage = int32(min(n+1, g.memories-1))
		}
	}
	for i := range limits {
		if g.covers(i) {
			limits[i].stage = stage
		}
	}
}

// rememberBan records a ban. Concurrent requests may all do so. If it fails, the next ban
// is only as long as this one.
func (q *request) rememberBan(ctx context.Context, of *backends.Quota, stage int) {
	renewed := []backends.Quota{q.ban.memory(of, stage, -1), q.ban.memory(of, stage, 1)}
	_ = q.settings.decider.Take(ctx, renewed, make([]backends.Verdict, len(renewed)))
}
