package ratelimiter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
)

// ResetAll clears all limits of all clients and lifts all bans, for example between tests
// or after a limit was configured wrongly. It deletes every key in the backend that
// begins with RATELIMITER_KEY_PREFIX, for all processes that share the backend. Requests
// in this process that wait (see WithWait) no longer have to wait. For up to ten seconds,
// other processes may still reject clients that they know to be over a limit, and use up
// units that they have leased. A charge that happens at the same time may or may not be
// cleared.
//
// With Redis, ResetAll takes a few seconds for each million keys in the database, in
// small steps that do not block the server. ctx bounds it; RATELIMITER_TIMEOUT does not.
// It returns an error if RATELIMITER_KEY_PREFIX is empty, because it would delete keys of
// other applications. A memory backend that was passed in is cleared completely, whatever
// the prefix. Your own backend has to implement backends.AllResetter.
//
// ResetAll returns ErrNotInitialised before InitApp, backends.ErrClosed after Close, an
// error that wraps errors.ErrUnsupported if the backend does not support it, and the
// error of the backend if the backend fails; some limits may be cleared then.
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
