package inprogress

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
)

// each runs a test with counters of the process alone and with shared ones.
func each(t *testing.T, test func(t *testing.T, cs *Counters)) {
	for _, shared := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var cs Counters
			if shared {
				cs.Share(newStore(t), nil)
			}
			test(t, &cs)
		})
	}
}

func TestTheVerdictCountsTheSlotsTaken(t *testing.T) {
	each(t, func(t *testing.T, cs *Counters) {
		var v backends.Verdict
		var slots []*Slot
		for remaining := range 3 {
			slot, _, err := cs.Take(t.Context(), quota(3), &v, 0)
			require.NoError(t, err)
			require.True(t, v.Allowed)
			require.EqualValues(t, 2-remaining, v.Remaining)
			slots = append(slots, slot)
		}
		slot, _, err := cs.Take(t.Context(), quota(3), &v, 0)
		require.NoError(t, err)
		require.Nil(t, slot)
		require.Equal(t, backends.Verdict{RetryAfter: RetryAfter}, v)
		for _, slot := range slots {
			slot.Free()
		}
	})
}

func TestACostOfZeroTakesNoSlot(t *testing.T) {
	each(t, func(t *testing.T, cs *Counters) {
		var v backends.Verdict
		q := quota(1)
		q.Cost = 0
		for _, longest := range []time.Duration{0, time.Minute} {
			slot, waited, err := cs.Take(t.Context(), q, &v, longest)
			require.NoError(t, err)
			require.Nil(t, slot)
			require.Zero(t, waited)
			require.True(t, v.Allowed)
		}
		require.Zero(t, cs.total)
	})
}

func TestSlotsOfOtherProcessesAreTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var here, there Counters
		store := newStore(t)
		here.Share(store, theLimitItself)
		there.Share(store, theLimitItself)
		fill(t, &there, 2, 3)
		slot := take(t, &here, quota(3))
		var v backends.Verdict
		for _, cs := range []*Counters{&here, &there} {
			rejected, _, err := cs.Take(t.Context(), quota(3), &v, 0)
			require.NoError(t, err)
			require.Nil(t, rejected)
			require.Equal(t, backends.Verdict{RetryAfter: RetryAfter}, v)
		}
		slot.Free()
		take(t, &there, quota(3))
		require.EqualValues(t, 3, store.taken(t, 3))
	})
}

func TestALimitOfZeroRejectsAtOnce(t *testing.T) {
	each(t, func(t *testing.T, cs *Counters) {
		for _, longest := range []time.Duration{0, time.Minute} {
			var v backends.Verdict
			slot, waited, err := cs.Take(t.Context(), quota(0), &v, longest)
			require.NoError(t, err)
			require.Nil(t, slot)
			require.Zero(t, waited)
			require.Equal(t, backends.Verdict{RetryAfter: -1}, v, "waiting does not help")
		}
	})
}

func TestTheBackendIsClosedAtOnceIfNoSlotIsTaken(t *testing.T) {
	failing := errors.New("failing")
	each(t, func(t *testing.T, cs *Counters) {
		require.ErrorIs(t, cs.Close(func() error { return failing }), failing)
		var v backends.Verdict
		for _, longest := range []time.Duration{0, time.Minute} {
			slot, _, err := cs.Take(t.Context(), quota(1), &v, longest)
			require.ErrorIs(t, err, backends.ErrClosed)
			require.Nil(t, slot)
		}
	})
}

func TestTheBackendIsClosedWithTheLastSlot(t *testing.T) {
	failing := errors.New("failing")
	each(t, func(t *testing.T, cs *Counters) {
		closed := 0
		slots := fill(t, cs, 2, 2)
		err := cs.Close(func() error { closed++; return failing })
		if cs.shared == nil {
			require.ErrorIs(t, err, failing)
			require.Equal(t, 1, closed)
			return
		}
		require.NoError(t, err)
		slots[0].Free()
		require.Zero(t, closed)
		slots[1].Free()
		require.Equal(t, 1, closed)
	})
}

func TestAClosedBackendIsNotCalled(t *testing.T) {
	share(t, nil, func(t *testing.T, cs *Counters, store *store) {
		slots := fill(t, cs, 1, 1)
		store.fail(backends.ErrBreakerOpen) // so the refund is due later
		require.NoError(t, cs.Close(func() error { return nil }))
		slots[0].Free()
		require.Empty(t, store.callsIn(time.Hour))
	})
}
