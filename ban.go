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
	after         int64
	per, duration time.Duration
}

// WithBan refuses whoever was refused after times within per for the whole of
// duration, even if they slow down. Both are backends.MinPer to backends.MaxPer,
// after is 1 or more.
//
// It is about the key and scope of the RateLimit, and what is refused there: a
// limit that WithLimit adds with a key or scope of its own, as one that all clients
// share, bans nobody. Whoever is banned takes nothing from any limit, and what is
// refused meanwhile does not make the ban longer. Reset lifts it. Info.Banned tells
// of it, and Retry-After of its end.
//
// Refusals are counted by the backend, in the question that refuses; with WithWait in
// one of their own. While the backend is away and each process limits by itself, it
// also bans by itself. A memory backend that is full forgets the refusals of those who
// have the fewest, to count those of newcomers. It forgets no ban, and bans nobody for
// what another has done. Where after is more than 128, a refusal counts up to 1/128 of
// per longer.
//
// It panics on limits that refuse nobody (WithShadow, WithOverLimit(nil)).
func WithBan(after int, per, duration time.Duration) Option {
	call := fmt.Sprintf("ratelimiter: WithBan(%d, %v, %v)", after, per, duration)
	if after < 1 || int64(after) > backends.MaxLimit {
		panic(fmt.Sprintf("%s: the number of refusals must be from 1 to %d", call, backends.MaxLimit))
	}
	mustPeriod(call, "period", per)
	mustPeriod(call, "duration", duration)
	return whole("WithBan", func(r *rule) { r.ban = &ban{int64(after), per, duration} })
}

// checkBan marks the limits whose rejections lead to the ban.
func (r *rule) checkBan() {
	if r.ban == nil {
		return
	}
	if r.neverRefuse || r.limits[0].shadow {
		panic("ratelimiter: WithBan needs limits that refuse; leave out WithShadow and WithObserveOnly, or WithBan")
	}
	for i := range r.limits {
		if l := &r.limits[i]; !l.ownKey && !l.shadow {
			l.ban = r.ban
		}
	}
}

// quota asks about the ban on the key and scope of a limit. A cost of 0 looks at it,
// of 1 counts a rejection.
func (b *ban) quota(of *backends.Quota, cost int64) backends.Quota {
	return backends.Quota{Key: of.Key, Scope: of.Scope, Limit: b.after, Per: b.per, Ban: b.duration, Cost: cost}
}

// takeWithBans asks the backend about quotas, together with the bans that guard them,
// and makes the verdicts those of a banned client where there is a ban. A rejection counts
// for the bans as often as cost says. Quotas beyond those that about describes are
// under no ban.
func (s *settings) takeWithBans(ctx context.Context, quotas []backends.Quota, about []asked, verdicts []backends.Verdict, cost int64) error {
	var guarded []int // the first quota of each ban
	all := quotas
	for i := range about {
		about[i].banned = false // an earlier ban may be over
		b := about[i].limitRule.ban
		if b == nil || slices.ContainsFunc(guarded, func(first int) bool { return sameBan(quotas, about, first, i) }) {
			continue
		}
		guarded = append(guarded, i)
		all = append(slices.Clip(all), b.quota(&quotas[i], cost))
	}
	if guarded == nil {
		return s.decider.Take(ctx, quotas, verdicts)
	}
	answers := make([]backends.Verdict, len(all))
	if err := s.decider.Take(ctx, all, answers); err != nil {
		return err
	}
	copy(verdicts, answers[:len(quotas)])
	for n, first := range guarded {
		applyBan(&answers[len(quotas)+n], quotas, about, verdicts, first)
	}
	return nil
}

// sameBan reports whether two quotas are under one ban, on one key and scope.
func sameBan(quotas []backends.Quota, about []asked, i, j int) bool {
	return about[i].limitRule.ban == about[j].limitRule.ban && quotas[i].Key == quotas[j].Key && quotas[i].Scope == quotas[j].Scope
}

// applyBan makes the verdicts on all quotas under a ban what they are to a banned
// client, if the client is banned.
func applyBan(answer *backends.Verdict, quotas []backends.Quota, about []asked, verdicts []backends.Verdict, first int) {
	if answer.Allowed {
		return
	}
	for i := range about {
		if !sameBan(quotas, about, first, i) {
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

// recordRejection counts a rejection that was not to count before it was known
// whether the request would wait. It asks for nothing else, and where that fails the
// request is rejected all the same.
func (q *request) recordRejection(ctx context.Context) {
	for i := range q.several.verdicts {
		a, quota := &q.several.asked[i], q.several.quotas[i]
		if a.limitRule.ban == nil || a.banned || q.several.verdicts[i].Allowed {
			continue
		}
		quota.Limit, quota.Burst, quota.Cost, quota.Tentative = 0, 0, 1, true
		answers := make([]backends.Verdict, 2)
		if err := q.settings.decider.Take(ctx, []backends.Quota{quota, q.ban.quota(&quota, 1)}, answers); err == nil {
			applyBan(&answers[1], q.several.quotas, q.several.asked, q.several.verdicts, i)
		}
		return // a rule has one ban
	}
}
