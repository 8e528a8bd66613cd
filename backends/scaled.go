package backends

import (
	"context"
	"math"
)

// scaled decides with a part of each limit.
type scaled struct {
	backend  Backend
	fraction float64
}

// NewScaled makes a backend that limits at a part of each limit, over 0 and up to
// 1, for processes that each limit by themselves what is meant for all of them.
// Limit and Burst are multiplied and rounded down, but not below one unit where
// they allow one at all.
//
// Remaining is what is left of the part. A cost over the part but within the
// limit is told to come back after Per: the part will never do, the whole may
// then. Close closes the backend.
func NewScaled(backend Backend, fraction float64) Backend {
	return &scaled{backend, fraction}
}

func (s *scaled) Take(ctx context.Context, quotas []Quota, verdicts []Verdict) error {
	if err := checkAll(quotas, verdicts); err != nil {
		return err
	}
	scaledQuotas := make([]Quota, len(quotas))
	copy(scaledQuotas, quotas)
	for i := range scaledQuotas {
		if q := &scaledQuotas[i]; q.Ban == 0 { // rejections are counted whole
			q.Limit, q.Burst = ScaledLimit(q.Limit, s.fraction), ScaledLimit(q.Burst, s.fraction)
		}
	}
	if err := s.backend.Take(ctx, scaledQuotas, verdicts); err != nil {
		return err
	}
	for i := range quotas {
		if q := &quotas[i]; verdicts[i].RetryAfter < 0 && q.Cost <= q.Capacity() {
			verdicts[i].RetryAfter = q.Per
		}
	}
	return nil
}

// ScaledLimit is a part of a limit, as NewScaled limits at it.
func ScaledLimit(limit int64, fraction float64) int64 {
	if limit == 0 {
		return 0
	}
	const tolerance = 1e-9 // 0.29 of 100 is 29, not 28.999999999999996
	return max(1, int64(math.Floor(float64(limit)*fraction+tolerance)))
}

func (s *scaled) Reset(ctx context.Context, key, scope string) error {
	return s.backend.Reset(ctx, key, scope)
}

func (s *scaled) Close() error { return s.backend.Close() }
