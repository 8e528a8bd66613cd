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

func TestTheVerdictCountsThePlacesTaken(t *testing.T) {
	each(t, func(t *testing.T, cs *Counters) {
		var v backends.Verdict
		var places []*Place
		for remaining := range 3 {
			place, _, err := cs.Take(t.Context(), quota(3), &v, 0)
			require.NoError(t, err)
			require.True(t, v.Allowed)
			require.EqualValues(t, 2-remaining, v.Remaining)
			places = append(places, place)
		}
		place, _, err := cs.Take(t.Context(), quota(3), &v, 0)
		require.NoError(t, err)
		require.Nil(t, place)
		require.Equal(t, backends.Verdict{RetryAfter: RetryAfter}, v)
		for _, place := range places {
			place.GiveBack()
		}
	})
}

func TestACostOfZeroTakesNoPlace(t *testing.T) {
	each(t, func(t *testing.T, cs *Counters) {
		var v backends.Verdict
		q := quota(1)
		q.Cost = 0
		for _, longest := range []time.Duration{0, time.Minute} {
			place, waited, err := cs.Take(t.Context(), q, &v, longest)
			require.NoError(t, err)
			require.Nil(t, place)
			require.Zero(t, waited)
			require.True(t, v.Allowed)
		}
		require.Zero(t, cs.total)
	})
}

func TestTheBackendIsClosedWithTheLastPlace(t *testing.T) {
	failing := errors.New("failing")
	each(t, func(t *testing.T, cs *Counters) {
		closed := 0
		places := fill(t, cs, 2, 2)
		err := cs.Close(func() error { closed++; return failing })
		if cs.shared == nil {
			require.ErrorIs(t, err, failing)
			require.Equal(t, 1, closed)
			return
		}
		require.NoError(t, err)
		places[0].GiveBack()
		require.Zero(t, closed)
		places[1].GiveBack()
		require.Equal(t, 1, closed)
	})
}

func TestAPlaceOfAnotherProcessIsTriedAgainLessAndLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var here, there Counters
		store := newStore(t)
		here.Share(store, nil)
		there.Share(store, nil)
		places := fill(t, &there, 1, 1)
		store.calls()
		go func() {
			var v backends.Verdict
			_, _, _ = here.Take(t.Context(), quota(1), &v, 5*time.Second)
		}()
		synctest.Wait()
		require.Len(t, store.calls(), 2, "before and after it joins the queue")
		for _, pause := range []int{100, 200, 400, 800, 1000, 1000} { // ms
			<-time.After(time.Duration(pause)*time.Millisecond - 1)
			synctest.Wait()
			require.Empty(t, store.calls(), pause)
			<-time.After(1)
			synctest.Wait()
			require.Len(t, store.calls(), 1, pause)
		}
		places[0].GiveBack()
		<-time.After(5 * time.Second)
	})
}

func TestARequestThatEndsWhileItWaitsHoldsNoPlace(t *testing.T) {
	each(t, func(t *testing.T, cs *Counters) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		var v backends.Verdict
		place, _, err := cs.Take(ctx, quota(1), &v, time.Minute)
		require.ErrorIs(t, err, context.Canceled)
		require.Nil(t, place)
		require.Zero(t, cs.total)
	})
}

func TestAnOutageLeavesTheProcessItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cs Counters
		store := newStore(t)
		cs.Share(store, func(limit int64) int64 { return limit / 2 })
		store.fail(errors.New("failing"))
		var v backends.Verdict
		for remaining := range 2 {
			place, _, err := cs.Take(t.Context(), quota(4), &v, 0)
			require.NoError(t, err)
			require.NotNil(t, place)
			require.EqualValues(t, 1-remaining, v.Remaining)
			defer place.GiveBack()
		}
		place, _, err := cs.Take(t.Context(), quota(4), &v, 0)
		require.NoError(t, err)
		require.Nil(t, place)
		require.Equal(t, backends.Verdict{RetryAfter: RetryAfter, Fallback: true}, v)
	})
}

func TestErrorsOfTheCallerAreNotDecidedLocally(t *testing.T) {
	for _, fails := range []error{backends.ErrInvalidQuota, backends.ErrClosed} {
		var cs Counters
		store := newStore(t)
		cs.Share(store, func(limit int64) int64 { return limit })
		store.fail(fails)
		var v backends.Verdict
		place, _, err := cs.Take(t.Context(), quota(1), &v, 0)
		require.ErrorIs(t, err, fails)
		require.Nil(t, place)
	}
}
