package backends

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"
)

func benchmarkKeys(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = "client-with-a-rather-long-name-" + strconv.Itoa(i)
	}
	return keys
}

// BenchmarkMemoryTakeOne measures a decision on one quota, including the clock.
func BenchmarkMemoryTakeOne(b *testing.B) {
	draws := zipfDraws()
	for algorithm := range algorithmCount {
		for _, size := range []int{1, 100_000, 1_000_000} {
			keys := benchmarkKeys(size)
			m := newMemory(2_000_000)
			quota := Quota{Key: "GET /", Algorithm: algorithm, Limit: 100, Per: time.Minute, Cost: 1}
			if err := quota.Prepare(); err != nil {
				b.Fatal(err)
			}
			take := func(i int) {
				var v Verdict
				if _, err := m.TakeOne(&quota, keys[int(draws[i&(1<<20-1)])%size], &v); err != nil {
					b.Error(err)
				}
			}
			name := algorithm.String() + "/" + strconv.Itoa(size)
			b.Run(name+"/serial", func(b *testing.B) {
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					take(i)
				}
			})
			b.Run(name+"/parallel", func(b *testing.B) {
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					for i := rand.IntN(1 << 20); pb.Next(); i++ {
						take(i)
					}
				})
			})
		}
	}
}

func zipfDraws() []uint32 {
	zipf := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), 1.1, 1, 999_999)
	draws := make([]uint32, 1<<20)
	for i := range draws {
		draws[i] = uint32(zipf.Uint64())
	}
	return draws
}

// BenchmarkMemoryTakeAll measures a decision on several quotas of one key and scope,
// including the copies that a caller makes to set the scope.
func BenchmarkMemoryTakeAll(b *testing.B) {
	m := newMemory(DefaultMaxKeys)
	for _, limit := range []int64{MaxLimit, 0} { // allowed and denied
		for count := 1; count <= 3; count++ {
			rule := make([]Quota, count)
			for i := range rule {
				rule[i] = Quota{Key: "GET /", Limit: limit, Per: time.Minute << i, Cost: 1}
				if err := rule[i].Prepare(); err != nil {
					b.Fatal(err)
				}
			}
			b.Run(fmt.Sprintf("limit of %d/%d", limit, count), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					var quotas [3]Quota
					var verdicts [3]Verdict
					copy(quotas[:], rule)
					for i := range rule {
						quotas[i].Scope = "client-with-a-rather-long-name-0"
					}
					if _, err := m.TakeAll(quotas[:count], verdicts[:count]); err != nil {
						b.Error(err)
					}
				}
			})
		}
	}
}

// BenchmarkMemoryParts measures the unavoidable parts of a decision on one hot key, and the
// decision with a clock that costs nothing.
func BenchmarkMemoryParts(b *testing.B) {
	const scope = "client-with-a-rather-long-name-0"
	quota := Quota{Key: "GET /", Limit: MaxLimit, Per: time.Minute, Cost: 1}
	if err := quota.Prepare(); err != nil {
		b.Fatal(err)
	}
	clock, _ := systemClock()
	decide := func(now func() int64) func() {
		m := newMemoryOn(DefaultMaxKeys, now)
		return func() {
			var v Verdict
			_, _ = m.TakeOne(&quota, scope, &v)
		}
	}
	still := clock()
	var mu sync.Mutex
	for _, part := range []struct {
		name string
		run  func()
	}{
		{"decision", decide(clock)},
		{"decision with a fixed clock", decide(func() int64 { return still })},
		{"clock", func() { clock() }},
		{"lock", func() { mu.Lock(); mu.Unlock() }}, // //nolint:staticcheck // the lock alone is measured
		{"hash of the scope", func() { hashText(scope) }},
	} {
		b.Run(part.name, func(b *testing.B) {
			for b.Loop() {
				part.run()
			}
		})
	}
}

// BenchmarkMemorySize reports the bytes per key with a million live keys.
func BenchmarkMemorySize(b *testing.B) {
	const size = 1_000_000
	keys := benchmarkKeys(size)
	for b.Loop() {
		var before, after runtime.MemStats
		backend, err := NewMemory(map[string]any{"max_keys": size})
		if err != nil {
			b.Fatal(err)
		}
		runtime.GC()
		runtime.ReadMemStats(&before)
		verdicts := make([]Verdict, 1)
		for _, key := range keys {
			quotas := []Quota{{Key: "GET /", Scope: key, Limit: 100, Per: time.Hour, Cost: 1}}
			if err := backend.Take(b.Context(), quotas, verdicts); err != nil {
				b.Fatal(err)
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		stats, _ := Stats(backend)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/size, "B/key")
		b.ReportMetric(float64(stats.Keys), "keys")
		b.ReportMetric(float64(stats.Evictions), "evictions")
	}
}
