package ratelimiter

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
)

// A manual ban is a ban of the backend (see backends.Quota.Ban) under its own stored key.
// Requests query it together with their limits, but only while a manual ban is known to
// exist. Other processes learn about it from a notice in the shared backend, which says
// when the last ban ends.

// bansByHand is what this process knows about manual bans. The zero value knows of none.
// It is safe for concurrent use.
type bansByHand struct {
	until atomic.Int64 // when the last ban ends, in Unix microseconds; 0 if none is known
	next  atomic.Int64 // when to read the notice again, in Unix microseconds
}

// noticeInterval is how often a process reads the notice of bans from other processes.
const noticeInterval = time.Second

const (
	banNamespace = "ban/"
	noticeKey    = "bans"
	noticeScope  = "notice"
)

// Ban rejects all requests of a scope on a key for a duration from now, whatever remains
// of its limits. duration is from backends.MinPer to backends.MaxPer. Key and scope are
// as for Reset and must not be empty. Another call replaces the ban, even by a shorter
// one, and Reset lifts it.
//
// The ban applies to every limit on that key and scope, including limits without WithBan
// and Take. If there are application limits, a ban from the key "application" applies to
// all routes. Requests that meet no such limit, for example because of WithSkip or an
// Unlimited limit, are allowed, and limits that never reject only record the ban. A
// rejected request is charged nothing. Info.Banned reports the ban, and Retry-After and
// Info.RetryAfter count down to its end.
//
// With a shared backend, the ban applies to this process at once, and to the other
// processes within a second if they serve requests. RateLimiters that share a memory backend do
// not learn about each other's bans. As long as no ban is known, requests need no extra
// work, except that one request per second checks for bans. A memory backend loses its
// bans when the process ends.
//
// Ban returns ErrNotInitialised before InitApp, backends.ErrClosed after Close, and an
// error if an argument is invalid or the backend fails. If the backend fails and
// RATELIMITER_ON_ERROR is "fallback", the ban still applies to this process while it
// falls back on its own memory. After other errors the new ban and a ban that it should
// replace may or may not be in force.
func (r *RateLimiter) Ban(ctx context.Context, key, scope string, duration time.Duration) error {
	s := r.settings.Load()
	if s == nil {
		return ErrNotInitialised
	}
	call := fmt.Sprintf("Ban from %q for %v", key, duration)
	if key == "" || scope == "" {
		return fmt.Errorf("%s: the key and the scope %q must not be empty", call, scope)
	}
	if err := checkPeriod(call, "duration", duration); err != nil {
		return err
	}
	if s.closed.Load() {
		return backends.ErrClosed
	}
	s.bans.extend(time.Now().Add(duration))
	ban := s.banByHand(key, printable(scope))
	ban.Ban, ban.Cost = duration, 1
	failed := s.banShared(ctx, ban)
	if s.local != nil {
		failed = errors.Join(failed, banIn(context.WithoutCancel(ctx), s.local, ban))
	}
	if failed != nil {
		return fmt.Errorf("%s: %w", call, failed)
	}
	return nil
}

// banByHand returns the quota of a manual ban on a public key.
func (s *settings) banByHand(key, scope string) backends.Quota {
	// This short period keeps it separate from the bans of WithBan.
	return backends.Quota{Key: s.banKey(key), Scope: scope, Limit: 1, Per: backends.MinPer, Ban: backends.MinPer}
}

func (s *settings) banKey(key string) string { return s.prefixed(banNamespace + printable(key)) }

// banShared bans in the configured backend. It writes the notice first, so that no other
// process learns about the ban too late.
func (s *settings) banShared(ctx context.Context, ban backends.Quota) error {
	if s.breaker == nil {
		return banIn(ctx, s.backend, ban)
	}
	if err := s.publish(ctx, ban.Ban); err != nil {
		return err
	}
	return banIn(ctx, s.breaker, ban)
}

// banIn bans in one backend. It lifts an existing ban first, which would otherwise stay
// unchanged. A ban starts with a rejection, so a quota of 0 is charged as well.
func banIn(ctx context.Context, backend backends.Backend, ban backends.Quota) error {
	if err := backend.Reset(ctx, ban.Key, ban.Scope); err != nil {
		return err
	}
	nothing := backends.Quota{Key: ban.Key, Scope: ban.Scope, Algorithm: FixedWindow, Per: backends.MinPer, Cost: 1, Tentative: true}
	verdicts := make([]backends.Verdict, 2)
	if err := backend.Take(ctx, []backends.Quota{nothing, ban}, verdicts); err != nil {
		return err
	}
	if verdicts[1].Allowed {
		return errors.New("the backend has no room for another ban; for a memory backend, raise max_keys")
	}
	return nil
}

// notice returns the token bucket that says when the last manual ban ends: when it is
// full again. One unit is a millisecond.
func (s *settings) notice(cost int64) backends.Quota {
	return backends.Quota{
		Key: s.prefixed(noticeKey), Scope: noticeScope, Algorithm: TokenBucket,
		Limit: int64(backends.MaxPer / time.Millisecond), Per: backends.MaxPer, Cost: cost,
		Forced: cost > 0, Shadow: true, Tentative: true,
	}
}

// publish extends the notice to the end of a ban.
func (s *settings) publish(ctx context.Context, duration time.Duration) error {
	verdicts := make([]backends.Verdict, 1)
	if err := s.breaker.Take(ctx, []backends.Quota{s.notice(0)}, verdicts); err != nil {
		return err
	}
	missing := duration - verdicts[0].ResetAfter
	if missing <= 0 {
		return nil
	}
	more := s.notice(int64((missing + time.Millisecond - 1) / time.Millisecond))
	return s.breaker.Take(ctx, []backends.Quota{more}, verdicts)
}

// known reports whether a manual ban may be in force.
func (b *bansByHand) known() bool {
	until := b.until.Load()
	if until == 0 {
		return false
	}
	if time.Now().UnixMicro() <= until {
		return true
	}
	b.until.CompareAndSwap(until, 0)
	return false
}

// extend records that manual bans exist until the given time or longer.
func (b *bansByHand) extend(end time.Time) {
	for {
		until := b.until.Load()
		if until >= end.UnixMicro() || b.until.CompareAndSwap(until, end.UnixMicro()) {
			return
		}
	}
}

// begin reads the notice when a limiter starts, and schedules the next reading. Custom
// backends are not called before the first request.
func (s *settings) begin(ctx context.Context) {
	s.bans.next.Store(time.Now().Add(noticeInterval).UnixMicro())
	if _, isRedis := backends.CachedDenials(s.backend); !isRedis {
		return
	}
	verdicts := make([]backends.Verdict, 1)
	if err := s.backend.Take(ctx, []backends.Quota{s.notice(0)}, verdicts); err == nil {
		s.bans.read(&verdicts[0])
	}
}

// isDue returns true to one caller each second, which has to read the notice.
func (b *bansByHand) isDue() bool {
	next, now := b.next.Load(), time.Now()
	return now.UnixMicro() >= next && b.next.CompareAndSwap(next, now.Add(noticeInterval).UnixMicro())
}

// read updates the known end of manual bans. The fallback memory has no notice.
func (b *bansByHand) read(notice *backends.Verdict) {
	if notice.ResetAfter > 0 && !notice.Fallback {
		b.extend(time.Now().Add(notice.ResetAfter))
	}
}
