package backends

import (
	"context"
	"math"
)

// scaled applies a fraction of each limit.
type scaled struct {
	backend  Backend
	fraction float64
}

// NewScaled returns a backend that applies only a fraction of each limit, greater than 0
// and at most 1. It is meant for processes that share a limit but count separately. Limit
// and Burst are multiplied by fraction and rounded down, but not below 1 unless they are 0.
//
// Remaining refers to the scaled limit. If a cost exceeds the scaled limit but not the
// limit itself, RetryAfter is Per, because the full limit may apply again by then. Close
// closes the wrapped backend.
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
		if q := &scaledQuotas[i]; q.Ban == 0 { // the number of rejections is not scaled
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

// ScaledLimit returns the limit that NewScaled applies for a limit and a fraction.
func ScaledLimit(limit int64, fraction float64) int64 {
	if limit == 0 {
		return 0
	}
	const tolerance = 1e-9 // 0.29 of 100 must be 29, not 28.999999999999996
	return max(1, int64(math.Floor(float64(limit)*fraction+tolerance)))
}

func (s *scaled) Reset(ctx context.Context, key, scope string) error {
	return s.backend.Reset(ctx, key, scope)
}

func (s *scaled) Close() error { return s.backend.Close() }
