package backends

import (
	"context"
	"errors"
	"slices"
)

// fallback asks one backend, and another whenever the first fails.
type fallback struct {
	primary, local Backend
}

// NewFallback makes a backend that decides with primary and, for every decision
// that primary cannot make, with local. Used with a memory backend as local,
// each process goes on limiting by itself while Redis is away, and shares the
// limit again with the first decision that Redis answers.
//
// A request that was cancelled, a quota that makes no sense and a backend that
// was closed are reported and not decided by local. Close closes both.
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
	case errors.Is(ctx.Err(), context.Canceled): // nobody waits for the answer
		return errors.Join(ctx.Err(), err)
	}
	// The time of the decision may be over, which must not stop this one.
	if failed := f.takeLocal(ctx, quotas, verdicts); failed != nil {
		return errors.Join(err, failed)
	}
	return nil
}

// takeLocal turns the sign of receipts, so that units are given back to where they
// were taken, and nowhere else.
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

// receipted tells whether units are given back that a receipt of this sign is for.
func hasReceipt(quotas []Quota, sign int64) bool {
	return slices.ContainsFunc(quotas, func(q Quota) bool { return q.Cost < 0 && q.Receipt*sign > 0 })
}

// Reset forgets in both, so that what was reset during an outage stays so. It
// fails when primary does: the shared counters were not reset then.
func (f *fallback) Reset(ctx context.Context, key, scope string) error {
	return errors.Join(
		f.primary.Reset(ctx, key, scope),
		f.local.Reset(context.WithoutCancel(ctx), key, scope),
	)
}

func (f *fallback) Close() error {
	return errors.Join(f.primary.Close(), f.local.Close())
}
