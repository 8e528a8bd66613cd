package inprogress

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
)

func quota(limit int64) *backends.Quota {
	return &backends.Quota{Key: "key", Scope: "scope", Algorithm: backends.SlidingLog, Limit: limit, Per: 30 * time.Second, Cost: 1, Tentative: true}
}

// store is a backend that records its calls.
type store struct {
	backends.Backend
	mu       sync.Mutex
	recorded [][]backends.Quota
	fails    error
}

func newStore(t testing.TB) *store {
	memory, err := backends.NewMemory(nil)
	require.NoError(t, err)
	return &store{Backend: memory}
}

func (s *store) Take(ctx context.Context, quotas []backends.Quota, verdicts []backends.Verdict) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recorded = append(s.recorded, slices.Clone(quotas))
	if s.fails != nil {
		return s.fails
	}
	return s.Backend.Take(ctx, quotas, verdicts)
}

func (s *store) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails = err
}

// taken returns the number of places that the store knows of.
func (s *store) taken(t *testing.T, limit int64) int64 {
	peek, verdicts := *quota(limit), make([]backends.Verdict, 1)
	peek.Cost = 0
	require.NoError(t, s.Backend.Take(t.Context(), []backends.Quota{peek}, verdicts))
	return limit - verdicts[0].Remaining
}

// calls returns the calls since it was last used.
func (s *store) calls() (asked [][]backends.Quota) {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked, s.recorded = s.recorded, nil
	return asked
}

// fill takes n places at different times.
func fill(t *testing.T, cs *Counters, n int, limit int64) (list []*Place) {
	for range n {
		var v backends.Verdict
		place, _, err := cs.Take(t.Context(), quota(limit), &v, 0)
		require.NoError(t, err)
		require.NotNil(t, place)
		list = append(list, place)
		<-time.After(time.Millisecond)
	}
	return list
}

func TestAnUnusedCounterIsRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, shared := range []bool{false, true} {
			var cs Counters
			if shared {
				cs.Share(newStore(t), nil)
			}
			for _, place := range fill(t, &cs, 5, 5) {
				place.GiveBack()
			}
			require.Empty(t, cs.known)
			require.Zero(t, cs.total)
		}
	})
}

// countersCode begins the name of every method of Counters in a stack.
const countersCode = "inprogress.(*Counters)."

// stacks returns the stacks of all goroutines. Their number would depend on the tests before
// this one, whose goroutines may still be ending.
func stacks() string {
	text := make([]byte, 1<<20)
	return string(text[:runtime.Stack(text, true)])
}

func TestRenewalsRunOnlyWhileThereArePlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cs Counters
		store := newStore(t)
		cs.Share(store, nil)
		places := fill(t, &cs, 9, 9)
		synctest.Wait()
		require.NotContains(t, stacks(), countersCode, "a timer is set, no goroutine runs")
		store.calls()
		for range 5 {
			<-time.After(10 * time.Second)
			synctest.Wait()
			require.Len(t, store.calls(), 1)
			require.NotContains(t, stacks(), countersCode)
		}
		for _, place := range places {
			place.GiveBack()
		}
		store.calls()
		<-time.After(time.Hour)
		synctest.Wait()
		require.Empty(t, store.calls())
		require.True(t, cs.renewal.at.IsZero(), "no renewal is scheduled")
		require.Zero(t, store.taken(t, 9))
	})
}

func TestARenewalRefundsAndChargesInOneCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cs Counters
		store := newStore(t)
		cs.Share(store, nil)
		fill(t, &cs, 3, 9)
		store.calls()
		for _, refunds := range []int{3, 1, 1} { // places renewed together share a receipt
			<-time.After(10 * time.Second)
			synctest.Wait()
			asked := store.calls()
			require.Len(t, asked, 1)
			require.Len(t, asked[0], refunds+1)
			charge := asked[0][refunds]
			require.EqualValues(t, 3, charge.Cost)
			require.True(t, charge.Forced)
			for _, refund := range asked[0][:refunds] {
				require.EqualValues(t, -3/refunds, refund.Cost)
				require.NotZero(t, refund.Receipt)
			}
			require.EqualValues(t, 3, store.taken(t, 9))
		}
	})
}

func TestTheSizeOfARenewalIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cs Counters
		store := newStore(t)
		cs.Share(store, nil)
		places := fill(t, &cs, 1000, 1000)
		store.calls()
		<-time.After(10 * time.Second)
		synctest.Wait()
		asked := store.calls()
		require.Len(t, asked, 16)
		for _, quotas := range asked {
			require.LessOrEqual(t, len(quotas), maxRefunds+1)
		}
		require.EqualValues(t, 1000, store.taken(t, 1000))
		for _, place := range places {
			place.GiveBack()
		}
		require.Zero(t, store.taken(t, 1000))
	})
}

func TestDifferentLimitsOfOneCounterAreRenewedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cs Counters
		store := newStore(t)
		cs.Share(store, nil)
		var places []*Place
		for _, limit := range []int64{5, 500, 6, 1000, 7} { // limits over 128 merge cells
			places = append(places, fill(t, &cs, 1, limit)...)
		}
		for i := range 10 {
			<-time.After(7 * time.Second)
			synctest.Wait()
			taken := store.taken(t, 1000)
			require.GreaterOrEqual(t, taken, int64(5))
			if i > 5 { // the first places were merged under one limit, and are not found under another
				require.EqualValues(t, 5, taken)
			}
		}
		for i, place := range places {
			place.GiveBack()
			require.EqualValues(t, 4-i, store.taken(t, 1000))
		}
	})
}

func TestAFailedRenewalIsRepeatedSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cs Counters
		store := newStore(t)
		cs.Share(store, nil)
		fill(t, &cs, 1, 1)
		store.calls()
		store.fail(errors.New("failing"))
		<-time.After(20*time.Second + time.Millisecond)
		synctest.Wait()
		require.Len(t, store.calls(), 11, "every second from the tenth on")
		store.fail(nil)
		<-time.After(time.Second)
		synctest.Wait()
		store.calls()
		<-time.After(9900 * time.Millisecond)
		synctest.Wait()
		require.Empty(t, store.calls())
		require.EqualValues(t, 1, store.taken(t, 1))
	})
}

// This test runs in real time, for the race detector.
func TestManyGoroutinesNeverHoldMoreThanTheLimit(t *testing.T) {
	for _, shared := range []bool{false, true} {
		var cs Counters
		store := newStore(t)
		if shared {
			cs.Share(store, nil)
		}
		var inside, most, served atomic.Int64
		var all sync.WaitGroup
		for i := range 64 {
			all.Go(func() {
				for range 50 {
					var v backends.Verdict
					place, _, err := cs.Take(t.Context(), quota(3), &v, time.Duration(i%2)*time.Minute)
					if err != nil || place == nil {
						continue
					}
					most.Store(max(most.Load(), inside.Add(1)))
					if runtime.Gosched(); shared && served.Load()%5 == 0 {
						cs.mu.Lock()
						place.counter.due = time.Now()
						cs.scheduleRenewal(place.counter.due) // renew now
						cs.mu.Unlock()
					}
					served.Add(1)
					inside.Add(-1)
					place.GiveBack()
				}
			})
		}
		all.Wait()
		require.LessOrEqual(t, most.Load(), int64(3))
		require.GreaterOrEqual(t, served.Load(), int64(32*50), "all waiting requests are served")
		cs.mu.Lock()
		require.Zero(t, cs.total)
		require.Zero(t, cs.Waiting())
		cs.mu.Unlock()
		require.Zero(t, store.taken(t, 3))
	}
}

func BenchmarkPlace(b *testing.B) {
	var cs Counters
	q := quota(10)
	var v backends.Verdict
	b.ReportAllocs()
	for b.Loop() {
		place, _, _ := cs.Take(b.Context(), q, &v, 0)
		place.GiveBack()
	}
}
