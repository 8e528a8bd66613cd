package inprogress

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
)

func theLimitItself(limit int64) int64 { return limit }

func TestAnOutageLeavesTheProcessItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cs Counters
		store := newStore(t)
		cs.Share(store, func(limit int64) int64 { return limit / 2 })
		store.fail(errors.New("failing"))
		var v backends.Verdict
		for remaining := range 2 {
			slot, _, err := cs.Take(t.Context(), quota(4), &v, 0)
			require.NoError(t, err)
			require.NotNil(t, slot)
			require.EqualValues(t, 1-remaining, v.Remaining)
			defer slot.Free()
		}
		slot, _, err := cs.Take(t.Context(), quota(4), &v, 0)
		require.NoError(t, err)
		require.Nil(t, slot)
		require.Equal(t, backends.Verdict{RetryAfter: RetryAfter, Fallback: true}, v)
		store.fail(nil)
		advance(10 * time.Second)
		require.EqualValues(t, 2, store.taken(t, 4), "the rejected request has no slot")
	})
}

func TestTheSlotsTakenInAnOutageAreRegisteredWithTheNextCall(t *testing.T) {
	share(t, theLimitItself, func(t *testing.T, cs *Counters, store *store) {
		store.fail(errors.New("failing"))
		slots := fill(t, cs, 3, 9)
		require.Len(t, store.calls(), 3, "one for each request")
		store.fail(nil)
		slots = append(slots, fill(t, cs, 1, 9)...)
		require.EqualValues(t, 4, store.taken(t, 9))
		store.calls()
		fill(t, cs, 1, 9)[0].Free()
		require.Len(t, store.calls(), 2, "nothing is registered again")
		for range 3 {
			advance(10 * time.Second)
			require.EqualValues(t, 4, store.taken(t, 9))
		}
		for i, slot := range slots {
			slot.Free()
			require.EqualValues(t, 3-i, store.taken(t, 9))
		}
	})
}

func TestTheSlotsThatTheBackendLostAreRegisteredWithTheNextCall(t *testing.T) {
	share(t, nil, func(t *testing.T, cs *Counters, store *store) {
		fill(t, cs, 1, 9)
		require.NoError(t, store.Reset(t.Context(), "key", "scope"))
		fill(t, cs, 1, 9)
		require.EqualValues(t, 2, store.taken(t, 9))
	})
}

func TestARequestThatEndsDuringACallIsNoLossOfData(t *testing.T) {
	share(t, nil, func(t *testing.T, cs *Counters, store *store) {
		slots := fill(t, cs, 2, 9)
		store.duringNextCall(slots[0].Free)
		take(t, cs, quota(9))
		require.Empty(t, store.callsIn(time.Second), "nothing has to be registered again")
		require.EqualValues(t, 2, store.taken(t, 9))
	})
}

// The circuit breaker makes no call, so the refund cannot have been made.
func TestARefundThatTheCircuitBreakerPreventsIsMadeSoon(t *testing.T) {
	for lease, pause := range map[time.Duration]time.Duration{
		30 * time.Second:        time.Second,
		1500 * time.Millisecond: 500 * time.Millisecond, // a third of the lease
	} {
		synctest.Test(t, func(t *testing.T) {
			var cs Counters
			store := newStore(t)
			cs.Share(store, nil)
			q := quota(1)
			q.Per = lease
			slot := take(t, &cs, q)
			store.fail(backends.ErrBreakerOpen)
			slot.Free()
			require.Empty(t, store.callsIn(pause-1))
			require.Len(t, store.callsIn(1), 1, "still open")
			store.fail(nil)
			calls := store.callsIn(pause)
			require.Len(t, calls, 1)
			require.Len(t, calls[0], 1)
			require.EqualValues(t, -1, calls[0][0].Cost)
			require.Empty(t, store.callsIn(time.Hour), "the slot is free")
			require.Empty(t, cs.known)
			take(t, &cs, q)
		})
	}
}

func TestARefundIsNotRepeatedAfterTheLease(t *testing.T) {
	share(t, nil, func(t *testing.T, cs *Counters, store *store) {
		slots := fill(t, cs, 1, 9)
		store.fail(backends.ErrBreakerOpen)
		slots[0].Free()
		require.Len(t, store.callsIn(31*time.Second), 30)
		require.Empty(t, store.callsIn(time.Hour))
		require.Empty(t, cs.known)
	})
}

// A call that failed may have been executed, and a second refund would free the slot of
// another request.
func TestARefundThatMayHaveBeenMadeIsNotRepeated(t *testing.T) {
	share(t, nil, func(t *testing.T, cs *Counters, store *store) {
		slots := fill(t, cs, 1, 9)
		store.fail(errors.New("failing"))
		slots[0].Free()
		store.fail(nil)
		require.Empty(t, store.callsIn(29*time.Second))
		require.EqualValues(t, 1, store.taken(t, 9))
		advance(time.Second)
		require.Zero(t, store.taken(t, 9), "the lease has ended")
	})
}

func TestErrorsOfTheCallerAreNotDecidedLocally(t *testing.T) {
	for _, fails := range []error{backends.ErrInvalidQuota, backends.ErrClosed} {
		var cs Counters
		store := newStore(t)
		cs.Share(store, theLimitItself)
		store.fail(fails)
		var v backends.Verdict
		slot, _, err := cs.Take(t.Context(), quota(1), &v, 0)
		require.ErrorIs(t, err, fails)
		require.Nil(t, slot)
	}
}

// withoutReceipts is a backend that cannot refund a single charge.
type withoutReceipts struct{ backends.Backend }

func (b withoutReceipts) Take(ctx context.Context, quotas []backends.Quota, verdicts []backends.Verdict) error {
	err := b.Backend.Take(ctx, quotas, verdicts)
	for i := range verdicts {
		verdicts[i].Receipt = 0
	}
	return err
}

func TestABackendWithoutReceiptsIsAnError(t *testing.T) {
	var cs Counters
	cs.Share(withoutReceipts{newStore(t)}, nil)
	var v backends.Verdict
	slot, _, err := cs.Take(t.Context(), quota(1), &v, 0)
	require.ErrorContains(t, err, "returns no receipts for the sliding log")
	require.Nil(t, slot)
	require.Zero(t, cs.total)
}
