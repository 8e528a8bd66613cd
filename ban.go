package ratelimiter

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
)

// ban is the configuration of WithBan.
type ban struct {
	after     int64
	per       time.Duration
	durations []time.Duration // of the first ban, the second and so on
}

// WithBan bans a client for duration once it has had the given number of rejections (at
// least 1) within per. per and the durations are from backends.MinPer to backends.MaxPer.
// A banned client is rejected whatever remains of its limits, and even if it slows down.
//
// With longer, repeated bans get longer: the second ban lasts the first value of longer,
// the third the second, and all further ones the last. Each value must be greater than
// the one before. After its end, a ban is remembered for as long as it lasted, but at
// most 366 days from its start; the next ban after that lasts duration again. For
// example, WithBan(20, time.Hour, time.Hour, 24*time.Hour, 7*24*time.Hour) bans for an
// hour. If another ban follows within an hour after the end of the first, it lasts a day,
// and if one follows within a day after that, it lasts a week.
//
// A ban applies to the key and scope of the RateLimit, and only rejections of limits with
// that key and scope count. A limit that WithLimit adds with its own key or scope, such
// as a limit for all clients, therefore never causes a ban. Requests during a ban are not
// charged and do not extend it. Reset lifts a ban and clears its history. Info.Banned
// reports a ban, and Retry-After is its end. To ban a client manually, see
// RateLimiter.Ban.
//
// The backend counts rejections in the call that rejects the request; with WithWait or
// longer, a second call is needed. While the backend is unavailable and each process
// falls back on its own memory, each process also bans separately. A full memory backend
// evicts the counted rejections of the clients with the fewest, but never a ban. If it is
// full of bans, it may treat a new client like one that was banned before. If rejections
// is more than 128, a rejection counts for up to 1/128 of per longer.
//
// WithBan panics if an argument is out of range. RateLimit panics if WithBan is combined
// with limits that never reject (WithShadow, WithOverLimit(nil)).
func WithBan(rejections int, per, duration time.Duration, longer ...time.Duration) Option {
	durations := append([]time.Duration{duration}, longer...)
	call := fmt.Sprintf("ratelimiter: WithBan(%d, %v, %v)", rejections, per, duration)
	if rejections < 1 || int64(rejections) > backends.MaxLimit {
		panic(fmt.Sprintf("%s: the number of rejections must be from 1 to %d", call, backends.MaxLimit))
	}
	mustPeriod(call, "period", per)
	for i, d := range durations {
		mustPeriod(call, "duration", d)
		if i > 0 && d <= durations[i-1] {
			panic(fmt.Sprintf("%s: each repeated ban must be longer than the one before, but %v follows %v", call, d, durations[i-1]))
		}
	}
	return rateLimitOption("WithBan", func(r *rule) { r.ban = &ban{int64(rejections), per, durations} })
}

// checkBan marks the limits whose rejections count towards the ban.
func (r *rule) checkBan() {
	if r.ban == nil {
		return
	}
	if r.neverReject || r.limits[0].shadow {
		panic("ratelimiter: WithBan needs limits that reject; remove WithShadow and WithObserveOnly, or remove WithBan")
	}
	for i := range r.limits {
		if l := &r.limits[i]; !l.ownKey && !l.shadow {
			l.ban = r.ban
		}
	}
}

// quota returns the quota of the ban on the key and scope of a limit. A cost of 0 queries
// the ban; a cost of 1 counts a rejection, which may start a ban with the duration of a
// stage, from 0.
func (b *ban) quota(of *backends.Quota, cost int64, stage int) backends.Quota {
	return backends.Quota{Key: of.Key, Scope: of.Scope, Limit: b.after, Per: b.per, Ban: b.durations[stage], Cost: cost}
}

// guard is a ban that is queried together with the limits that it applies to.
type guard struct {
	at       int              // the index of its quota
	covers   func(i int) bool // whether the ban applies to limit i
	memories int              // the number of following quotas that remember earlier bans
}

// guarded is a call to the backend with quotas and the bans that apply to them.
type guarded struct {
	all    []backends.Quota // the quotas first
	guards []guard
	notice int // the index of the notice of manual bans; 0 for none
}

// takeWithBans charges quotas together with the bans that apply to them. If the client is
// banned, it changes the verdicts accordingly. cost is how often a rejection counts
// towards a ban. No ban applies to quotas without an entry in limits.
func (s *settings) takeWithBans(ctx context.Context, quotas []backends.Quota, limits []limitState, verdicts []backends.Verdict, cost int64) error {
	mayBan := false
	for i := range limits {
		limits[i].banned = false // a previous call may have found a ban that is over
		mayBan = mayBan || limits[i].limitRule.ban != nil
	}
	byHand, due := s.bans.known(), s.breaker != nil && s.bans.isDue()
	if !mayBan && !byHand && !due {
		return s.decider.Take(ctx, quotas, verdicts)
	}
	g := guarded{all: quotas}
	g.addBans(quotas, limits, cost)
	if byHand {
		g.addBansByHand(s, quotas, limits)
	}
	if due {
		g.notice = g.add(s.notice(0))
	}
	return s.takeGuarded(ctx, &g, limits, verdicts[:len(quotas)])
}

// takeGuarded calls the backend with quotas and bans.
func (s *settings) takeGuarded(ctx context.Context, g *guarded, limits []limitState, verdicts []backends.Verdict) error {
	answers := make([]backends.Verdict, len(g.all))
	if err := s.decider.Take(ctx, g.all, answers); err != nil {
		return err
	}
	copy(verdicts, answers)
	for _, guard := range g.guards {
		applyBan(&answers[guard.at], limits, verdicts, guard.covers)
		if guard.memories > 0 {
			guard.noteStage(answers, limits)
		}
	}
	if g.notice > 0 {
		s.bans.read(&answers[g.notice])
	}
	return nil
}

// add appends a quota and returns its index.
func (g *guarded) add(quota backends.Quota) (at int) {
	g.all = append(slices.Clip(g.all), quota)
	return len(g.all) - 1
}

// addBans adds the bans of WithBan.
func (g *guarded) addBans(quotas []backends.Quota, limits []limitState, cost int64) {
	for i := range limits {
		b := limits[i].limitRule.ban
		if b == nil || g.covered(i) {
			continue
		}
		if b.grows() {
			cost = 0
		}
		g.guards = append(g.guards, guard{at: g.add(b.quota(&quotas[i], cost, 0)), covers: sameBan(quotas, limits, i)})
		if b.grows() {
			g.addMemories(b, &quotas[i])
		}
	}
}

// addBansByHand adds the bans of RateLimiter.Ban.
func (g *guarded) addBansByHand(s *settings, quotas []backends.Quota, limits []limitState) {
	byHand := guarded{all: g.all}
	for i := range limits {
		if quotas[i].Shadow || byHand.covered(i) {
			continue
		}
		key, scope := limits[i].key, quotas[i].Scope
		byHand.guards = append(byHand.guards, guard{
			at:     byHand.add(s.banByHand(key, scope)),
			covers: func(j int) bool { return limits[j].key == key && quotas[j].Scope == scope && !quotas[j].Shadow },
		})
	}
	g.all, g.guards = byHand.all, append(g.guards, byHand.guards...)
}

// covered reports whether a ban that applies to a limit has already been added.
func (g *guarded) covered(i int) bool {
	return slices.ContainsFunc(g.guards, func(one guard) bool { return one.covers(i) })
}

// sameBan returns a function that reports whether a limit is under the same ban as limit
// i, with the same key and scope.
func sameBan(quotas []backends.Quota, limits []limitState, i int) func(j int) bool {
	return func(j int) bool {
		return limits[i].limitRule.ban == limits[j].limitRule.ban && quotas[i].Key == quotas[j].Key && quotas[i].Scope == quotas[j].Scope
	}
}

// applyBan changes the verdicts of all limits that a ban applies to, if the client is
// banned.
func applyBan(answer *backends.Verdict, limits []limitState, verdicts []backends.Verdict, covers func(i int) bool) {
	if answer.Allowed {
		return
	}
	for i := range limits {
		if !covers(i) {
			continue
		}
		limits[i].banned = true
		v := &verdicts[i]
		if v.RetryAfter >= 0 {
			v.RetryAfter = max(v.RetryAfter, answer.RetryAfter)
		}
		v.Allowed, v.Remaining, v.ResetAfter = false, 0, max(v.ResetAfter, answer.ResetAfter)
	}
}

// isBanned reports whether the client is banned from any of the limits.
func (s *decision) isBanned() bool {
	return slices.ContainsFunc(s.limits, func(a limitState) bool { return a.banned })
}

// recordRejection counts a rejection in a separate call, because it was not known before
// whether the request would wait or how long the ban would last. It charges nothing else.
// If it fails, the request is still rejected. It does not end with the request, so a
// client cannot avoid a ban by disconnecting.
func (q *request) recordRejection(ctx context.Context) {
	for i := range q.decision.verdicts {
		a, quota := &q.decision.limits[i], q.decision.quotas[i]
		if a.limitRule.ban == nil || a.banned || q.decision.verdicts[i].Allowed {
			continue
		}
		ctx := context.WithoutCancel(ctx)
		quota.Limit, quota.Burst, quota.Cost, quota.Tentative = 0, 0, 1, true
		stage := int(a.stage)
		strike := q.ban.quota(&quota, 1, stage)
		answers := make([]backends.Verdict, 2)
		if err := q.settings.decider.Take(ctx, []backends.Quota{quota, strike}, answers); err == nil {
			applyBan(&answers[1], q.decision.limits, q.decision.verdicts, sameBan(q.decision.quotas, q.decision.limits, i))
		}
		if a.banned && q.ban.grows() {
			q.rememberBan(ctx, &quota, stage)
		}
		return // a rule has one ban
	}
}
