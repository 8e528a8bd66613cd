package backends_test

import (
	"context"
	"errors"
	"testing"

	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
)

var errOutOfOrder = errors.New("out of order")

// outOfOrder is a backend that decides nothing while it is not repaired.
type outOfOrder struct {
	backends.Backend
	repaired, closed bool
}

func (b *outOfOrder) Take(ctx context.Context, quotas []backends.Quota, verdicts []backends.Verdict) error {
	switch {
	case b.closed:
		return backends.ErrClosed
	case b.repaired:
		return b.Backend.Take(ctx, quotas, verdicts)
	}
	return errOutOfOrder
}

func (b *outOfOrder) Close() error {
	b.closed = true
	return b.Backend.Close()
}

func TestTheFallbackDecidesWhileThePrimaryCannot(t *testing.T) {
	primary := &outOfOrder{Backend: memory(t)}
	backend := backends.NewFallback(primary, memory(t))
	require.True(t, take(t, backend, hourly("k", 1))[0].Allowed)
	require.False(t, take(t, backend, hourly("k", 1))[0].Allowed, "limited all the same")
	primary.repaired = true
	require.True(t, take(t, backend, hourly("k", 1))[0].Allowed, "the primary counts by itself")
	require.False(t, take(t, backend, hourly("k", 1))[0].Allowed)
}

func TestTheFallbackIsNotAskedWhatItCannotMend(t *testing.T) {
	backend := backends.NewFallback(&outOfOrder{Backend: memory(t)}, &outOfOrder{Backend: memory(t)})
	err := backend.Take(t.Context(), []backends.Quota{hourly("k", 1)}, make([]backends.Verdict, 1))
	require.ErrorIs(t, err, errOutOfOrder, "both failed")

	local := memory(t)
	backend = backends.NewFallback(&outOfOrder{Backend: memory(t)}, local)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	require.Error(t, backend.Take(cancelled, []backends.Quota{hourly("k", 1)}, make([]backends.Verdict, 1)))
	require.EqualValues(t, 0, take(t, local, hourly("k", 1))[0].Remaining, "nothing was charged for who has gone")
}

func TestTheFallbackDecidesEvenWhenTheTimeIsOver(t *testing.T) {
	expired, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	backend := backends.NewFallback(memory(t), memory(t))
	verdicts := make([]backends.Verdict, 1)
	require.NoError(t, backend.Take(expired, []backends.Quota{hourly("k", 1)}, verdicts))
	require.True(t, verdicts[0].Allowed)
}

func TestResetReachesBothAndReportsThePrimary(t *testing.T) {
	primary := &outOfOrder{Backend: memory(t)}
	backend := backends.NewFallback(primary, memory(t))
	take(t, backend, hourly("k", 1))
	primary.repaired = true
	take(t, backend, hourly("k", 1))
	require.NoError(t, backend.Reset(t.Context(), "k", "somebody"))
	require.True(t, take(t, backend, hourly("k", 1))[0].Allowed)
	primary.repaired = false
	require.True(t, take(t, backend, hourly("k", 1))[0].Allowed)
}
