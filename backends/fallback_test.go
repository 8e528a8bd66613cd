package backends_test

import (
	"context"
	"errors"
	"strconv"
	"testing"

	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/internal/redistest"
	"github.com/stretchr/testify/require"
)

var errFailing = errors.New("failing")

// failing is a backend that fails until it is repaired.
type failing struct {
	backends.Backend
	repaired, closed bool
}

func (b *failing) Take(ctx context.Context, quotas []backends.Quota, verdicts []backends.Verdict) error {
	switch {
	case b.closed:
		return backends.ErrClosed
	case b.repaired:
		return b.Backend.Take(ctx, quotas, verdicts)
	}
	return errFailing
}

func (b *failing) Close() error {
	b.closed = true
	return b.Backend.Close()
}

func TestTheFallbackDecidesWhileThePrimaryCannot(t *testing.T) {
	primary := &failing{Backend: memory(t)}
	backend := backends.NewFallback(primary, memory(t))
	first := take(t, backend, hourly("k", 1))[0]
	require.True(t, first.Allowed)
	require.True(t, first.Fallback)
	require.False(t, take(t, backend, hourly("k", 1))[0].Allowed, "the local backend limits, too")
	primary.repaired = true
	shared := take(t, backend, hourly("k", 1))[0]
	require.True(t, shared.Allowed, "the primary has its own count")
	require.False(t, shared.Fallback)
	require.False(t, take(t, backend, hourly("k", 1))[0].Allowed)
}

func TestUnitsAreRefundedToTheBackendThatTookThem(t *testing.T) {
	primary := &failing{Backend: memory(t), repaired: true}
	backend := backends.NewFallback(primary, memory(t))
	q := hourly("k", 3)
	q.Tentative = true
	refund := func(receipt int64) error {
		back := q
		back.Cost, back.Receipt = -1, receipt
		return backend.Take(t.Context(), []backends.Quota{back}, make([]backends.Verdict, 1))
	}
	shared := take(t, backend, q)[0].Receipt
	primary.repaired = false
	local := take(t, backend, q)[0].Receipt
	require.ErrorIs(t, refund(shared), errFailing)
	require.EqualValues(t, 1, take(t, backend, q)[0].Remaining, "the local counter did not change")
	primary.repaired = true
	require.NoError(t, refund(local))
	require.EqualValues(t, 1, take(t, backend, q)[0].Remaining, "the shared counter did not change")
	require.NoError(t, refund(shared))
	require.EqualValues(t, 1, take(t, backend, q)[0].Remaining)
	primary.repaired = false
	require.EqualValues(t, 1, take(t, backend, q)[0].Remaining)
}

func TestAReceiptMattersOnlyForARefund(t *testing.T) {
	backend := backends.NewFallback(&failing{Backend: memory(t)}, memory(t))
	for _, receipt := range []int64{-1, 1} {
		for cost, remaining := range map[int64]int64{0: 3, 1: 2} {
			q := hourly("k"+strconv.FormatInt(receipt*10+cost, 10), 3)
			q.Cost, q.Receipt = cost, receipt
			verdict := take(t, backend, q)[0]
			require.Equal(t, remaining, verdict.Remaining)
			require.True(t, verdict.Fallback)
		}
	}
}

func TestTheFallbackIsNotCalledForErrorsOfTheCaller(t *testing.T) {
	backend := backends.NewFallback(&failing{Backend: memory(t)}, &failing{Backend: memory(t)})
	err := backend.Take(t.Context(), []backends.Quota{hourly("k", 1)}, make([]backends.Verdict, 1))
	require.ErrorIs(t, err, errFailing, "both failed")

	local := memory(t)
	backend = backends.NewFallback(&failing{Backend: memory(t)}, local)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	require.Error(t, backend.Take(cancelled, []backends.Quota{hourly("k", 1)}, make([]backends.Verdict, 1)))
	require.EqualValues(t, 0, take(t, local, hourly("k", 1))[0].Remaining, "nothing was charged for the canceled request")
}

func TestTheFallbackDecidesEvenAfterTheDeadline(t *testing.T) {
	expired, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	backend := backends.NewFallback(memory(t), memory(t))
	verdicts := make([]backends.Verdict, 1)
	require.NoError(t, backend.Take(expired, []backends.Quota{hourly("k", 1)}, verdicts))
	require.True(t, verdicts[0].Allowed)
}

func TestResetReachesBothAndReportsThePrimary(t *testing.T) {
	primary := &failing{Backend: memory(t)}
	backend := backends.NewFallback(primary, memory(t))
	take(t, backend, hourly("k", 1))
	primary.repaired = true
	take(t, backend, hourly("k", 1))
	require.NoError(t, backend.Reset(t.Context(), "k", "somebody"))
	require.True(t, take(t, backend, hourly("k", 1))[0].Allowed)
	primary.repaired = false
	require.True(t, take(t, backend, hourly("k", 1))[0].Allowed)
}

func TestTheFallbackDoesNotHideInvalidQuotas(t *testing.T) {
	primary := memory(t)
	backend := backends.NewFallback(primary, &broken{}) // fails if it is called
	nonsense := hourly("k", 1)
	nonsense.Limit = -1
	err := backend.Take(t.Context(), []backends.Quota{nonsense}, make([]backends.Verdict, 1))
	require.ErrorIs(t, err, backends.ErrInvalidQuota)
	require.NotErrorIs(t, err, errFailing)
	require.NoError(t, primary.Close())
	err = backend.Take(t.Context(), []backends.Quota{hourly("k", 1)}, make([]backends.Verdict, 1))
	require.ErrorIs(t, err, backends.ErrClosed)
	require.NotErrorIs(t, err, errFailing)
}

// broken is a backend that always fails.
type broken struct{ resets, closes int }

func (b *broken) Take(context.Context, []backends.Quota, []backends.Verdict) error {
	return errFailing
}

func (b *broken) Reset(context.Context, string, string) error {
	b.resets++
	return errFailing
}

func (b *broken) Close() error {
	b.closes++
	return errFailing
}

func TestErrorsOfEitherBackendAreReported(t *testing.T) {
	for _, failing := range []string{"primary", "local"} {
		t.Run(failing, func(t *testing.T) {
			bad, good := &broken{}, memory(t)
			primary, local := backends.Backend(bad), good
			if failing == "local" {
				primary, local = good, bad
			}
			backend := backends.NewFallback(primary, local)
			require.True(t, take(t, good, hourly("k", 1))[0].Allowed)
			require.ErrorIs(t, backend.Reset(t.Context(), "k", "somebody"), errFailing)
			require.Equal(t, 1, bad.resets)
			require.True(t, take(t, good, hourly("k", 1))[0].Allowed, "the other backend was reset")

			require.ErrorIs(t, backend.Close(), errFailing)
			require.Equal(t, 1, bad.closes)
			require.ErrorIs(t, good.Take(t.Context(), nil, nil), backends.ErrClosed, "the other backend was closed")
		})
	}
}

func TestAClosedFallbackStaysClosed(t *testing.T) {
	backend := backends.NewFallback(&failing{Backend: memory(t)}, memory(t))
	require.NoError(t, backend.Close())
	require.NoError(t, backend.Close())
	require.ErrorIs(t, backend.Take(t.Context(), []backends.Quota{hourly("k", 1)}, make([]backends.Verdict, 1)), backends.ErrClosed)
	require.ErrorIs(t, backend.Reset(t.Context(), "k", "somebody"), backends.ErrClosed)
}

func TestMemoryDecidesDuringAnOutageOfRedis(t *testing.T) {
	server := redistest.Single(t)
	backend := backends.NewFallback(open(t, at(server.Addr)), memory(t))
	require.EqualValues(t, 1, take(t, backend, hourly("k", 2))[0].Remaining)
	server.Kill()
	require.EqualValues(t, 1, take(t, backend, hourly("k", 2))[0].Remaining, "counted separately")
	require.EqualValues(t, 0, take(t, backend, hourly("k", 2))[0].Remaining)
	require.False(t, take(t, backend, hourly("k", 2))[0].Allowed)
	require.Error(t, backend.Reset(t.Context(), "k", "somebody"), "the primary is not reset")
	require.True(t, take(t, backend, hourly("k", 2))[0].Allowed, "the local backend is reset")
	server.Start()
	require.EqualValues(t, 1, take(t, backend, hourly("k", 2))[0].Remaining, "Redis counts again, from zero")
}
