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

// store is a backend that tells what it was asked.
type store struct {
	backends.Backend
	mu    sync.Mutex
	asked [][]backends.Quota
	fails error
}

func newStore(t testing.TB) *store {
	memory, err := backends.NewMemory(nil)
	require.NoError(t, err)
	return &store{Backend: memory}
}

func (s *store) Take(ctx context.Context, quotas []backends.Quota, verdicts []backends.Verdict) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, slices.Clone(quotas))
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

// taken is how many places the store knows of.
func (s *store) taken(t *testing.T, limit int64) int64 {
	peek, verdicts := *quota(limit), make([]backends.Verdict, 1)
	peek.Cost = 0
	require.NoError(t, s.Backend.Take(t.Context(), []backends.Quota{peek}, verdicts))
	return limit - verdicts[0].Remaining
}

// questions are those since this was last called.
func (s *store) questions() (asked [][]backends.Quota) {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked, s.asked = s.asked, nil
	return asked
}

// fill takes so many places at different times.
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

func TestNothingIsKeptOfACounterThatNobodyUses(t *testing.T) {
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

func TestRenewalsRunWhileThereArePlacesAndNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cs Counters
		store := newStore(t)
		cs.Share(store, nil)
		before := runtime.NumGoroutine()
		places := fill(t, &cs, 9, 9)
		require.Equal(t, before, runtime.NumGoroutine(), "a timer waits, and no goroutine")
		store.questions()
		for range 5 {
			<-time.After(10 * time.Second)
			synctest.Wait()
			require.Len(t, store.questions(), 1)
			require.Equal(t, before, runtime.NumGoroutine())
		}
		for _, place := range places {
			place.GiveBack()
		}
		store.questions()
		<-time.After(time.Hour)
		synctest.Wait()
		require.Empty(t, store.questions())
		require.True(t, cs.renewal.at.IsZero(), "no renewal is planned")
		require.Zero(t, store.taken(t, 9))
	})
}

func TestARenewalRefundsAndChargesInOneQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cs Counters
		store := newStore(t)
		cs.Share(store, nil)
		fill(t, &cs, 3, 9)
		store.questions()
		for _, refunds := range []int{3, 1, 1} { // what was renewed together has one receipt
			<-time.After(10 * time.Second)
			synctest.Wait()
			asked := store.questions()
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

func TestNoRenewalAsksForMuchAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cs Counters
		store := newStore(t)
		cs.Share(store, nil)
		places := fill(t, &cs, 1000, 1000)
		store.questions()
		<-time.After(10 * time.Second)
		synctest.Wait()
		asked := store.questions()
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

func TestLimitsThatDifferFromRequestToRequestAreRenewedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cs Counters
		store := newStore(t)
		cs.Share(store, nil)
		var places []*Place
		for _, limit := range []int64{5, 500, 6, 1000, 7} { // those above 128 merge cells
			places = append(places, fill(t, &cs, 1, limit)...)
		}
		for i := range 10 {
			<-time.After(7 * time.Second)
			synctest.Wait()
			taken := store.taken(t, 1000)
			require.GreaterOrEqual(t, taken, int64(5))
			if i > 5 { // the first were merged under one limit, and not found under another
				require.EqualValues(t, 5, taken)
			}
		}
		for i, place := range places {
			place.GiveBack()
			require.EqualValues(t, 4-i, store.taken(t, 1000))
		}
	})
}

func TestARenewalThatFailsIsTriedAgainSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cs Counters
		store := newStore(t)
		cs.Share(store, nil)
		fill(t, &cs, 1, 1)
		store.questions()
		store.fail(errors.New("out of order"))
		<-time.After(20*time.Second + time.Millisecond)
		synctest.Wait()
		require.Len(t, store.questions(), 11, "from the tenth second on, each second")
		store.fail(nil)
		<-time.After(time.Second)
		synctest.Wait()
		store.questions()
		<-time.After(9900 * time.Millisecond)
		synctest.Wait()
		require.Empty(t, store.questions())
		require.EqualValues(t, 1, store.taken(t, 1))
	})
}

// In real time, for the race detector.
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
		require.GreaterOrEqual(t, served.Load(), int64(32*50), "all who wait are served")
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
