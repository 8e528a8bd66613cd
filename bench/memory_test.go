package bench

import (
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"testing"
)

// BenchmarkMemory measures a decision with counters in memory, the clock
// included. Keys are known already, so what is measured is no growing map.
func BenchmarkMemory(b *testing.B) {
	all := keysOf(million)
	one := make([]uint32, draws)
	for _, row := range []struct {
		name  string
		quota quota
		keys  keys
		order []uint32
	}{
		{"one hot key", ample, all.first(1), one},
		{"100k keys", ample, all.first(100_000), uniform(100_000)},
		{"always denied", usual, all.first(1), one},
		{"1M keys, zipf", ample, all, zipf(million)},
	} {
		for _, c := range contenders() {
			if c.memory == nil {
				continue
			}
			stop := nothing
			ready := sync.OnceValue(func() opened { // only if -bench selects it
				limiter := c.memory(row.quota)
				stop = limiter.stop
				fill(limiter.take(), row.keys)
				if row.quota == usual {
					exhaust(limiter.take(), row.keys.at(0))
				}
				runtime.GC() // or it would begin while the first decisions are measured
				return limiter
			})
			b.Run(label(row.name)+"/"+label(c.name), func(b *testing.B) {
				serial(b, ready(), row.keys, row.order)
			})
			b.Run(label(row.name+", 2 goroutines")+"/"+label(c.name), func(b *testing.B) {
				parallel(b, ready(), row.keys, row.order)
			})
			stop()
		}
	}
}

// fill lets the collector look less often at a table that only grows.
func fill(take take, keys keys) {
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	for i := range keys.len() {
		_, _ = take(keys.at(i))
	}
}

// exhaust asks until nothing is left, and tells how much there was. Some deny
// only from twice the limit on at the worst moment.
func exhaust(take take, key string) (admitted int) {
	for range 3 * usual.limit {
		if allowed, _ := take(key); allowed {
			admitted++
		}
	}
	return admitted
}

func serial(b *testing.B, limiter opened, keys keys, order []uint32) {
	take := limiter.take()
	var failed failures
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		_, err := take(keys.at(int(order[i&(draws-1)])))
		failed.note(err)
	}
	failed.report(b)
}

func parallel(b *testing.B, limiter opened, keys keys, order []uint32) {
	var failed failures
	var goroutines atomic.Int64
	b.ReportAllocs()
	b.ResetTimer() // the limiter may just have been opened
	b.RunParallel(func(pb *testing.PB) {
		take := limiter.take()
		// Far from each other, or all would ask for the same key at once.
		for i := int(goroutines.Add(1)) * (draws / 4); pb.Next(); i++ {
			_, err := take(keys.at(int(order[i&(draws-1)])))
			failed.note(err)
		}
	})
	failed.report(b)
}
