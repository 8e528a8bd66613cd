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

// guard marks the limits whose refusals lead to the ban.
func (r *rule) guard() {
	if r.ban == nil {
		return
	}
	if r.never || r.limits[0].shadow {
		panic("ratelimiter: WithBan needs limits that refuse; leave out WithShadow and WithOverLimit(nil), or WithBan")
	}
	for i := range r.limits {
		if l := &r.limits[i]; !l.elsewhere && !l.shadow {
			l.ban = r.ban
		}
	}
}

// quota asks for the ban on the key and scope of a limit. A cost of 0 looks at it,
// of 1 counts a refusal.
func (b *ban) quota(of *backends.Quota, cost int64) backends.Quota {
	return backends.Quota{Key: of.Key, Scope: of.Scope, Limit: b.after, Per: b.per, Ban: b.duration, Cost: cost}
}

// take puts a question about the quotas of a decision to the backend, with those of
// the bans that guard them behind, and lets the verdicts be those of banned clients.
// A refusal counts for the bans as often as strike says. What quotas hold beyond those
// of the decision is under no ban.
func (d *decision) take(ctx context.Context, quotas []backends.Quota, verdicts []backends.Verdict, strike int64) error {
	var guarded []int // the first quota of each ban
	asked := quotas
	for i := range d.verdicts {
		d.about[i].banned = false // that may be over
		b := d.about[i].limit.ban
		if b == nil || slices.ContainsFunc(guarded, func(first int) bool { return d.sameBan(quotas, first, i) }) {
			continue
		}
		guarded = append(guarded, i)
		asked = append(slices.Clip(asked), b.quota(&quotas[i], strike))
	}
	if guarded == nil {
		return d.settings.decider.Take(ctx, quotas, verdicts)
	}
	answers := make([]backends.Verdict, len(asked))
	if err := d.settings.decider.Take(ctx, asked, answers); err != nil {
		return err
	}
	copy(verdicts, answers[:len(quotas)])
	for n, first := range guarded {
		d.heed(&answers[len(quotas)+n], quotas, verdicts, first)
	}
	return nil
}

// sameBan tells whether two quotas are under one ban, of one key and scope.
func (d *decision) sameBan(quotas []backends.Quota, i, j int) bool {
	return d.about[i].limit.ban == d.about[j].limit.ban && quotas[i].Key == quotas[j].Key && quotas[i].Scope == quotas[j].Scope
}

// heed lets the verdicts on all quotas under a ban be what they are to a client
// that is banned, if it is.
func (d *decision) heed(answer *backends.Verdict, quotas []backends.Quota, verdicts []backends.Verdict, first int) {
	if answer.Allowed {
		return
	}
	for i := range d.verdicts {
		if !d.sameBan(quotas, first, i) {
			continue
		}
		d.about[i].banned = true
		v := &verdicts[i]
		if v.RetryAfter >= 0 {
			v.RetryAfter = max(v.RetryAfter, answer.RetryAfter)
		}
		v.Allowed, v.Remaining, v.ResetAfter = false, 0, max(v.ResetAfter, answer.ResetAfter)
	}
}

// strike counts a refusal that was not to count before it was known whether the
// request would wait. It asks for nothing else, and where that fails the request is
// refused all the same.
func (d *decision) strike(ctx context.Context) {
	for i := range d.verdicts {
		a, q := &d.about[i], d.quotas[i]
		if a.limit.ban == nil || a.banned || d.verdicts[i].Allowed {
			continue
		}
		q.Limit, q.Burst, q.Cost, q.Tentative = 0, 0, 1, true
		answers := make([]backends.Verdict, 2)
		if err := d.settings.decider.Take(ctx, []backends.Quota{q, a.limit.ban.quota(&q, 1)}, answers); err == nil {
			d.heed(&answers[1], d.quotas, d.verdicts, i)
		}
		return // one ban is all that a rule has
	}
}
