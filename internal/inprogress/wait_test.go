package inprogress

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
)

func TestARequestWaitsForASlot(t *testing.T) {
	each(t, func(t *testing.T, cs *Counters) {
		slots := fill(t, cs, 1, 1)
		first, second := send(t, cs, quota(1), time.Minute), send(t, cs, quota(1), 10*time.Second)
		require.Equal(t, 2, cs.Waiting())
		advance(5 * time.Second)
		slots[0].Free()
		synctest.Wait()
		require.NoError(t, first.err)
		require.NotNil(t, first.slot)
		require.Equal(t, 5*time.Second, first.waited)
		require.True(t, first.verdict.Allowed)
		require.Zero(t, first.verdict.Remaining)
		advance(5 * time.Second)
		require.NoError(t, second.err)
		require.Nil(t, second.slot)
		require.Equal(t, 10*time.Second, second.waited)
		require.Equal(t, backends.Verdict{RetryAfter: RetryAfter}, second.verdict)
		require.Zero(t, cs.Waiting())
	})
}

// A request with a slot needs no other, so it does not overtake.
func TestACostOfZeroPassesWaitingRequests(t *testing.T) {
	each(t, func(t *testing.T, cs *Counters) {
		slots := fill(t, cs, 1, 1)
		waiting := send(t, cs, quota(1), time.Minute)
		free := quota(1)
		free.Cost = 0
		for _, longest := range []time.Duration{0, time.Minute} {
			g := send(t, cs, free, longest)
			require.True(t, g.verdict.Allowed)
			require.Nil(t, g.slot)
		}
		slots[0].Free()
		synctest.Wait()
		require.NotNil(t, waiting.slot)
		require.EqualValues(t, 1, cs.Taken(quota(1)))
	})
}

func TestARequestThatEndsWhileItWaitsHoldsNoSlot(t *testing.T) {
	each(t, func(t *testing.T, cs *Counters) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		fill(t, cs, 1, 1)
		for _, limit := range []int64{1, 2} { // the second has a free slot
			var v backends.Verdict
			slot, _, err := cs.Take(ctx, quota(limit), &v, time.Minute)
			require.ErrorIs(t, err, context.Canceled)
			require.Nil(t, slot)
			require.EqualValues(t, 1, cs.Taken(quota(1)))
		}
	})
}

func TestASlotOfAnotherProcessIsTriedAgainLessAndLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var here, there Counters
		store := newStore(t)
		here.Share(store, nil)
		there.Share(store, nil)
		slots := fill(t, &there, 1, 1)
		store.calls()
		send(t, &here, quota(1), 5*time.Second)
		require.Len(t, store.calls(), 1, "before it joins the queue")
		for _, pause := range []int{50, 100, 200, 400, 800, 1000, 1000} { // ms
			require.Empty(t, store.callsIn(time.Duration(pause)*time.Millisecond-1), pause)
			require.Len(t, store.callsIn(1), 1, pause)
		}
		slots[0].Free()
		advance(5 * time.Second)
	})
}
