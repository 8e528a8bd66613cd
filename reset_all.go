package ratelimiter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
)

// ResetAll forgets what all clients have used of all limits, and lifts all bans, as between
// tests or after a limit was wrong: every key that begins with RATELIMITER_KEY_PREFIX. It is
// for all processes that share the backend. Other processes may reject a client that they
// know to be denied for ten seconds more, and spend units that they have leased. What is
// charged meanwhile may stay or be forgotten. Requests of this process that wait (see
// WithWait) need not wait any longer for what is forgotten.
//
// In Redis it takes a few seconds for each million keys of the database, in steps that let the
// server do other work. It is bounded by ctx and not by RATELIMITER_TIMEOUT, and fails where
// RATELIMITER_KEY_PREFIX is empty: it would delete the keys of others. A memory backend that was handed in forgets everything, whatever the
// prefix. A backend of one's own must be a backends.AllResetter.
//
// It fails with ErrNotInitialised before InitApp, backends.ErrClosed after Close, an error that
// wraps errors.ErrUnsupported where the backend cannot do it, and where the backend fails:
// some limits may be forgotten then. It is safe for use by many goroutines.
func (r *RateLimiter) ResetAll(ctx context.Context) error {
	s := r.settings.Load()
	switch {
	case s == nil:
		return ErrNotInitialised
	case s.closed.Load():
		return backends.ErrClosed
	}
	known := s.bans.until.Swap(0)
	failed := resetAllOf(ctx, s.backend, s.prefixed(""))
	if failed == nil && s.local != nil {
		failed = resetAllOf(ctx, s.local, s.prefixed(""))
	}
	if failed != nil {
		s.bans.extend(time.UnixMicro(known))
		return fmt.Errorf("ResetAll: %w", failed)
	}
	s.queues.FreeAll()
	return nil
}

func resetAllOf(ctx context.Context, backend backends.Backend, prefix string) error {
	resetter, ok := backend.(backends.AllResetter)
	if !ok {
		return fmt.Errorf("the backend %T has no method ResetAll(context.Context, string) error; see backends.AllResetter: %w", backend, errors.ErrUnsupported)
	}
	return resetter.ResetAll(ctx, prefix)
}
