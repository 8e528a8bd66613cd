package ratelimiter

import (
	"context"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
)

// A ban that grows needs to know what bans a client has had. A rejection is then counted in
// a question of its own, behind the one that rejects: that one tells how long the next ban
// is to last.

// grows reports whether the ban is longer for a client that comes back.
func (b *ban) grows() bool { return len(b.durations) > 1 }

// memory is a limit of one unit, which is used up while a ban of a stage is remembered: for
// its duration and as long again. It is a shadow, so that it rejects nobody, and its
// period ends in 999 µs, so that no limit of the application shares its counter.
func (b *ban) memory(of *backends.Quota, stage int, cost int64) backends.Quota {
	return backends.Quota{
		Key: of.Key, Scope: of.Scope, Algorithm: TokenBucket, Limit: 1,
		Per:  min(2*b.durations[stage], backends.MaxPer) - time.Microsecond,
		Cost: cost, Shadow: true, Tentative: true,
	}
}

// addMemories asks which bans a client has had lately. They stand behind the ban.
func (g *guarded) addMemories(b *ban, of *backends.Quota) {
	last := &g.guards[len(g.guards)-1]
	for stage := range b.durations {
		g.add(b.memory(of, stage, 0))
	}
	last.memories = len(b.durations)
}

// noteStage notes how long the next ban of the client is to last, from what is remembered of
// those before: the one behind the longest, and the last again and again.
func (g *guard) noteStage(answers []backends.Verdict, about []asked) {
	var stage int32
	for n := range g.memories {
		if answers[g.at+1+n].Remaining == 0 {
			stage = int32(min(n+1, g.memories-1))
		}
	}
	for i := range about {
		if g.covers(i) {
			about[i].stage = stage
		}
	}
}

// rememberBan begins to remember a ban anew. Concurrent requests may all do so. Where it
// fails the next ban is no longer than this one, which is lenient but harms nobody.
func (q *request) rememberBan(ctx context.Context, of *backends.Quota, stage int) {
	renewed := []backends.Quota{q.ban.memory(of, stage, -1), q.ban.memory(of, stage, 1)}
	_ = q.settings.decider.Take(ctx, renewed, make([]backends.Verdict, len(renewed)))
}
