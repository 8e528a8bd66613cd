package ratelimiter

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
)

// A ban by hand is a ban of the backend (see backends.Quota.Ban) under a stored key of its
// own, which a request asks about together with its limits. It does so only while such a
// ban is known to exist. Other processes learn of one by a notice in the shared backend,
// which says when the last ban ends.

// bansByHand is what a process knows of the bans by hand. The zero value knows of none. It
// is safe for use by many goroutines.
type bansByHand struct {
	until atomic.Int64 // when the last of them ends, in Unix microseconds; 0 where none is known
	next  atomic.Int64 // when to read the notice again
}

// noticeInterval is how often a process reads the notice of bans that others have made.
const noticeInterval = time.Second

const (
	banNamespace = "ban/"
	noticeKey    = "bans"
	noticeScope  = "notice"
)

// Ban rejects a scope on a key for a duration, as when somebody abuses the application,
// and whatever is left of its limits. duration is from backends.MinPer to backends.MaxPer, and
// counts from now. A later call replaces an earlier one, also by a shorter ban, and Reset
// lifts it.
//
// It holds for every limit on that key and scope, also for those without WithBan and for
// Take. The key "application" is that of RATELIMITER_APPLICATION_LIMITS, and so bans from the
// whole application where there are any. Key and scope are as for Reset, and must not be
// empty. Requests that are not asked about such a limit, as with WithSkip or an Unlimited
// limit, are allowed, and limits that reject nobody only record the ban. A rejected request
// takes nothing. Info.Banned reports the ban, and Retry-After and Info.RetryAfter its end.
//
// With a backend that processes share, the ban holds in this process at once and in the
// others within a second of the requests that they serve. Several RateLimiters on one memory
// backend do not learn of each other's bans. While no ban is known, a request costs nothing
// more, but for one a second which reads whether there is one. A memory backend forgets all
// bans with the process.
//
// Ban fails with ErrNotInitialised before InitApp and backends.ErrClosed after Close, and
// where the backend fails. With RATELIMITER_ON_ERROR "fallback" this process bans all the same
// while it limits by itself. After another error the ban may or may not be in force, and so
// may one that it was to replace. It is safe for use by many goroutines.
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

// banByHand asks about a ban from a key, as people read it.
func (s *settings) banByHand(key, scope string) backends.Quota {
	// No count of rejections has so short a period, so nobody else's ban is in the way.
	return backends.Quota{Key: s.banKey(key), Scope: scope, Limit: 1, Per: backends.MinPer, Ban: backends.MinPer}
}

func (s *settings) banKey(key string) string { return s.prefixed(banNamespace + printable(key)) }

// banShared bans in the backend that was configured. Others are told first, so that none
// learns of the ban too late.
func (s *settings) banShared(ctx context.Context, ban backends.Quota) error {
	if s.breaker == nil {
		return banIn(ctx, s.backend, ban)
	}
	if err := s.publish(ctx, ban.Ban); err != nil {
		return err
	}
	return banIn(ctx, s.breaker, ban)
}

// banIn bans in one backend. A ban that exists would stay as it is, and is lifted first. A
// ban begins with a rejection, so a limit of nothing is asked as well.
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
		return errors.New("the backend has no room for another ban; raise max_keys if it is the memory")
	}
	return nil
}

// notice is the bucket that says when the last ban by hand ends: it is full again then. A
// unit of it is a millisecond.
func (s *settings) notice(cost int64) backends.Quota {
	return backends.Quota{
		Key: s.prefixed(noticeKey), Scope: noticeScope, Algorithm: TokenBucket,
		Limit: int64(backends.MaxPer / time.Millisecond), Per: backends.MaxPer, Cost: cost,
		Forced: cost > 0, Shadow: true, Tentative: true,
	}
}

// publish makes the notice last as long as a ban, or longer.
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

// known reports whether a ban by hand may be in force.
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

// extend makes bans known to exist until a time, or longer.
func (b *bansByHand) extend(end time.Time) {
	for {
		until := b.until.Load()
		if until >= end.UnixMicro() || b.until.CompareAndSwap(until, end.UnixMicro()) {
			return
		}
	}
}

// begin reads the notice when a limiter starts, and lets requests read it from then on.
// Backends of others are not asked before a request is.
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

// isDue reports to one caller each second that it is to read the notice.
func (b *bansByHand) isDue() bool {
	next, now := b.next.Load(), time.Now()
	return now.UnixMicro() >= next && b.next.CompareAndSwap(next, now.Add(noticeInterval).UnixMicro())
}

// read learns what the notice says. The memory that is fallen back on has none.
func (b *bansByHand) read(notice *backends.Verdict) {
	if notice.ResetAfter > 0 && !notice.Fallback {
		b.extend(time.Now().Add(notice.ResetAfter))
	}
}
