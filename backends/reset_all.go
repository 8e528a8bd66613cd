package backends

import "context"

// AllResetter is a Backend that can forget everything at once. NewMemory and NewRedis make
// such backends. It is optional for others: without it RateLimiter.ResetAll fails with an
// error that wraps errors.ErrUnsupported.
type AllResetter interface {
	// ResetAll forgets every limit of a key that begins with the prefix, which ends in a
	// slash or is empty, as Reset does for each of its scopes. What is charged meanwhile may
	// stay or be forgotten. It is safe for use by many goroutines, returns ErrClosed after
	// Close and stops when the context ends, with its error: some limits may be forgotten then.
	ResetAll(ctx context.Context, prefix string) error
}

// ResetAll forgets everything, whatever the prefix: keys are not stored. It locks one part
// of the memory after the other, for a moment.
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
