package inprogress

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
)

func TestAnUnusedCounterIsRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, shared := range []bool{false, true} {
			var cs Counters
			if shared {
				cs.Share(newStore(t), nil)
			}
			for _, slot := range fill(t, &cs, 5, 5) {
				slot.Free()
			}
			require.Empty(t, cs.known)
			require.Zero(t, cs.total)
		}
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
					slot, _, err := cs.Take(t.Context(), quota(3), &v, time.Duration(i%2)*time.Minute)
					if err != nil || slot == nil {
						continue
					}
					most.Store(max(most.Load(), inside.Add(1)))
					if runtime.Gosched(); shared && served.Load()%5 == 0 {
						cs.mu.Lock()
						slot.counter.due = time.Now()
						cs.scheduleRenewal(slot.counter.due) // renew now
						cs.mu.Unlock()
					}
					served.Add(1)
					inside.Add(-1)
					slot.Free()
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

func BenchmarkSlot(b *testing.B) {
	var cs Counters
	q := quota(10)
	var v backends.Verdict
	b.ReportAllocs()
	for b.Loop() {
		slot, _, _ := cs.Take(b.Context(), q, &v, 0)
		slot.Free()
	}
}
