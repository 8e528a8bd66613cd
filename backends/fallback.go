package backends

import (
	"context"
	"errors"
	"slices"
)

// fallback calls primary, and local whenever primary fails.
type fallback struct {
	primary, local Backend
}

// NewFallback returns a backend that decides with primary, and with local for each call
// that primary cannot decide. With a memory backend as local, each process limits on its
// own while Redis is unavailable, and shares its limits again from the first decision that
// Redis answers.
//
// If the request was canceled, a quota is invalid or primary is closed, Take returns the
// error without calling local. Close closes both backends.
func NewFallback(primary, local Backend) Backend {
	return &fallback{primary, local}
}

func (f *fallback) Take(ctx context.Context, quotas []Quota, verdicts []Verdict) error {
	if hasReceipt(quotas, -1) {
		return f.takeLocal(ctx, quotas, verdicts)
	}
	err := f.primary.Take(ctx, quotas, verdicts)
	switch {
	case err == nil, errors.Is(err, ErrInvalidQuota), errors.Is(err, ErrClosed), hasReceipt(quotas, +1):
		return err
	case errors.Is(ctx.Err(), context.Canceled): // no caller waits for the answer
		return errors.Join(ctx.Err(), err)
	}
	// The deadline may have passed already, which must not stop this decision.
	if failed := f.takeLocal(ctx, quotas, verdicts); failed != nil {
		return errors.Join(err, failed)
	}
	return nil
}

// takeLocal negates receipts, so that units are refunded to the backend that took them.
func (f *fallback) takeLocal(ctx context.Context, quotas []Quota, verdicts []Verdict) error {
	if hasReceipt(quotas, -1) {
		quotas = slices.Clone(quotas)
		for i := range quotas {
			quotas[i].Receipt = -quotas[i].Receipt
		}
	}
	if err := f.local.Take(context.WithoutCancel(ctx), quotas, verdicts); err != nil {
		return err
	}
	for i := range quotas {
		verdicts[i].Receipt, verdicts[i].Fallback = -verdicts[i].Receipt, true
	}
	return nil
}

// hasReceipt reports whether a quota refunds units with a receipt of this sign.
func hasReceipt(quotas []Quota, sign int64) bool {
	return slices.ContainsFunc(quotas, func(q Quota) bool { return q.Cost < 0 && q.Receipt*sign > 0 })
}

// Reset resets both backends, so that limits reset during an outage stay reset. It fails if
// primary fails, because the shared counters are then unchanged.
func (f *fallback) Reset(ctx context.Context, key, scope string) error {
	return errors.Join(
		f.primary.Reset(ctx, key, scope),
		f.local.Reset(context.WithoutCancel(ctx), key, scope),
	)
}

func (f *fallback) Close() error {
	return errors.Join(f.primary.Close(), f.local.Close())
}
