package backends

import "context"

// AllResetter is implemented by a Backend that can reset everything at once, such as those
// of NewMemory and NewRedis. It is optional: without it, RateLimiter.ResetAll returns an
// error that wraps errors.ErrUnsupported.
type AllResetter interface {
	// ResetAll clears all limits whose key begins with prefix, in all scopes. prefix ends
	// in a slash or is empty. Charges made during the call may or may not be cleared. If
	// the context ends, ResetAll stops and returns its error; some limits may be cleared by
	// then. After Close it returns ErrClosed. It is safe for concurrent use.
	ResetAll(ctx context.Context, prefix string) error
}

// ResetAll implements AllResetter. It clears everything and ignores the prefix, because
// keys are not stored. It locks one shard at a time, only briefly.
func (m *Memory) ResetAll(ctx context.Context, _ string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for i := range m.shards {
		if m.closed.Load() {
			return ErrClosed
		}
		s := &m.shards[i]
		s.mu.Lock()
		s.tables = nil
		s.mu.Unlock()
	}
	return nil
}
