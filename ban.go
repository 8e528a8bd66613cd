package ratelimiter

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
)

// ban is who is banned, and for how long; see WithBan.
type ban struct {
	after     int64
	per       time.Duration
	durations []time.Duration // of the first ban, and of those of a client that comes back
}

// WithBan bans a client that was rejected after times within per: it is rejected for
// duration, whatever is left of the limits and even if it slows down. after is 1 or more, and
// the durations are from backends.MinPer to backends.MaxPer.
//
// With longer the ban grows for a client that comes back: the second ban lasts the first of
// longer, the third the second, and all further ones the last. A ban is remembered for as
// long again after its end (all in all 366 days at most); a client that is not banned again by
// then begins with duration. Each of longer must be longer than the one before. So
// WithBan(20, time.Hour, time.Hour, 24*time.Hour, 7*24*time.Hour) bans for an hour, for a day
// if the client is banned again within the next hour, and for a week if it is once more
// within a day of that.
//
// It applies to the key and scope of the RateLimit, and to rejections there: a limit that
// WithLimit adds with a key or scope of its own, such as one that all clients share, bans
// nobody. A banned client takes nothing from any limit, and what is rejected during a ban
// does not prolong it. Reset lifts the ban and forgets those before. Info.Banned reports it,
// and Retry-After its end. See RateLimiter.Ban for bans by hand.
//
// The backend counts rejections, in the question that rejects; with WithWait or longer in one
// behind it. While the backend is away and each process limits by itself, it also bans by
// itself. A memory backend that is full forgets the rejections of the clients that have the
// fewest, to count those of newcomers. It forgets no ban, and bans nobody for what another has
// done; but where it is full of clients that were banned, it may take a newcomer for one that
// comes back. Where after is more than 128, a rejection counts up to 1/128 of per longer.
//
// It panics on limits that reject nobody (WithShadow, WithOverLimit(nil)).
func WithBan(after int, per, duration time.Duration, longer ...time.Duration) Option {
	durations := append([]time.Duration{duration}, longer...)
	call := fmt.Sprintf("ratelimiter: WithBan(%d, %v, %v)", after, per, duration)
	if after < 1 || int64(after) > backends.MaxLimit {
		panic(fmt.Sprintf("%s: the number of rejections must be from 1 to %d", call, backends.MaxLimit))
	}
	mustPeriod(call, "period", per)
	for i, d := range durations {
		mustPeriod(call, "duration", d)
		if i > 0 && d <= durations[i-1] {
			panic(fmt.Sprintf("%s: the bans of a client that comes back must be longer each time, and %v follows %v", call, d, durations[i-1]))
		}
	}
	return whole("WithBan", func(r *rule) { r.ban = &ban{int64(after), per, durations} })
}

// checkBan marks the limits whose rejections lead to the ban.
func (r *rule) checkBan() {
	if r.ban == nil {
		return
	}
	if r.neverReject || r.limits[0].shadow {
		panic("ratelimiter: WithBan needs limits that reject; leave out WithShadow and WithObserveOnly, or WithBan")
	}
	for i := range r.limits {
		if l := &r.limits[i]; !l.ownKey && !l.shadow {
			l.ban = r.ban
		}
	}
}

// quota asks about the ban on the key and scope of a limit. A cost of 0 looks at it,
// of 1 counts a rejection, which may lead to the ban of a stage, from 0.
func (b *ban) quota(of *backends.Quota, cost int64, stage int) backends.Quota {
	return backends.Quota{Key: of.Key, Scope: of.Scope, Limit: b.after, Per: b.per, Ban: b.durations[stage], Cost: cost}
}

// guard is a ban that is asked about together with the limits that it guards.
type guard struct {
	at       int              // where its quota is in the question
	covers   func(i int) bool // whether limit i is under the ban
	memories int              // how many quotas behind it tell of earlier bans
}

// guarded is a question about quotas and the bans that guard them.
type guarded struct {
	all    []backends.Quota // the quotas first
	guards []guard
	notice int // where the notice of bans by hand is asked for, 0 where it is not
}

// takeWithBans asks the backend about quotas, together with the bans that guard them,
// and makes the verdicts those of a banned client where there is a ban. A rejection counts
// for the bans as often as cost says. Quotas beyond those that about describes are
// under no ban.
func (s *settings) takeWithBans(ctx context.Context, quotas []backends.Quota, about []asked, verdicts []backends.Verdict, cost int64) error {
	mayBan := false
	for i := range about {
		about[i].banned = false // an earlier ban may be over
		mayBan = mayBan || about[i].limitRule.ban != nil
	}
	byHand, due := s.bans.known(), s.breaker != nil && s.bans.isDue()
	if !mayBan && !byHand && !due {
		return s.decider.Take(ctx, quotas, verdicts)
	}
	g := guarded{all: quotas}
	g.addBans(quotas, about, cost)
	if byHand {
		g.addBansByHand(s, quotas, about)
	}
	if due {
		g.notice = g.add(s.notice(0))
	}
	return s.takeGuarded(ctx, &g, about, verdicts[:len(quotas)])
}

// takeGuarded asks the backend about quotas and bans.
func (s *settings) takeGuarded(ctx context.Context, g *guarded, about []asked, verdicts []backends.Verdict) error {
	answers := make([]backends.Verdict, len(g.all))
	if err := s.decider.Take(ctx, g.all, answers); err != nil {
		return err
	}
	copy(verdicts, answers)
	for _, guard := range g.guards {
		applyBan(&answers[guard.at], about, verdicts, guard.covers)
		if guard.memories > 0 {
			guard.noteStage(answers, about)
		}
	}
	if g.notice > 0 {
		s.bans.read(&answers[g.notice])
	}
	return nil
}

// add asks for one more quota, and returns its place.
func (g *guarded) add(quota backends.Quota) (at int) {
	g.all = append(slices.Clip(g.all), quota)
	return len(g.all) - 1
}

// addBans asks about the bans of WithBan.
func (g *guarded) addBans(quotas []backends.Quota, about []asked, cost int64) {
	for i := range about {
		b := about[i].limitRule.ban
		if b == nil || g.covered(i) {
			continue
		}
		if b.grows() {
			cost = 0
		}
		g.guards = append(g.guards, guard{at: g.add(b.quota(&quotas[i], cost, 0)), covers: sameBan(quotas, about, i)})
		if b.grows() {
			g.addMemories(b, &quotas[i])
		}
	}
}

// addBansByHand asks about the bans of RateLimiter.Ban.
func (g *guarded) addBansByHand(s *settings, quotas []backends.Quota, about []asked) {
	byHand := guarded{all: g.all}
	for i := range about {
		if quotas[i].Shadow || byHand.covered(i) {
			continue
		}
		key, scope := about[i].key, quotas[i].Scope
		byHand.guards = append(byHand.guards, guard{
			at:     byHand.add(s.banByHand(key, scope)),
			covers: func(j int) bool { return about[j].key == key && quotas[j].Scope == scope && !quotas[j].Shadow },
		})
	}
	g.all, g.guards = byHand.all, append(g.guards, byHand.guards...)
}

// covered reports whether a limit is under a ban that is asked about already.
func (g *guarded) covered(i int) bool {
	return slices.ContainsFunc(g.guards, func(one guard) bool { return one.covers(i) })
}

// sameBan reports of a limit whether it is under the ban of limit i, on one key and scope.
func sameBan(quotas []backends.Quota, about []asked, i int) func(j int) bool {
	return func(j int) bool {
		return about[i].limitRule.ban == about[j].limitRule.ban && quotas[i].Key == quotas[j].Key && quotas[i].Scope == quotas[j].Scope
	}
}

// applyBan makes the verdicts on all limits under a ban what they are to a banned
// client, if the client is banned.
func applyBan(answer *backends.Verdict, about []asked, verdicts []backends.Verdict, covers func(i int) bool) {
	if answer.Allowed {
		return
	}
	for i := range about {
		if !covers(i) {
			continue
		}
		about[i].banned = true
		v := &verdicts[i]
		if v.RetryAfter >= 0 {
			v.RetryAfter = max(v.RetryAfter, answer.RetryAfter)
		}
		v.Allowed, v.Remaining, v.ResetAfter = false, 0, max(v.ResetAfter, answer.ResetAfter)
	}
}

// isBanned reports whether the client was found to be banned.
func (s *several) isBanned() bool {
	return slices.ContainsFunc(s.asked, func(a asked) bool { return a.banned })
}

// recordRejection counts a rejection that was not to count before it was known whether the
// request would wait, or how long the ban is to last. It asks for nothing else, and where
// that fails the request is rejected all the same. It does not end with the request: a client
// that leaves at once is banned too.
func (q *request) recordRejection(ctx context.Context) {
	for i := range q.several.verdicts {
		a, quota := &q.several.asked[i], q.several.quotas[i]
		if a.limitRule.ban == nil || a.banned || q.several.verdicts[i].Allowed {
			continue
		}
		ctx := context.WithoutCancel(ctx)
		quota.Limit, quota.Burst, quota.Cost, quota.Tentative = 0, 0, 1, true
		stage := int(a.stage)
		strike := q.ban.quota(&quota, 1, stage)
		answers := make([]backends.Verdict, 2)
		if err := q.settings.decider.Take(ctx, []backends.Quota{quota, strike}, answers); err == nil {
			applyBan(&answers[1], q.several.asked, q.several.verdicts, sameBan(q.several.quotas, q.several.asked, i))
		}
		if a.banned && q.ban.grows() {
			q.rememberBan(ctx, &quota, stage)
		}
		return // a rule has one ban
	}
}
