package backends

import (
	"hash/maphash"
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

// BenchmarkMemoryTake measures a decision, the clock included.
func BenchmarkMemoryTake(b *testing.B) {
	zipf := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), 1.1, 1, 999_999)
	draws := make([]uint32, 1<<20)
	for i := range draws {
		draws[i] = uint32(zipf.Uint64())
	}
	for algorithm := range algorithms {
		for _, size := range []int{1, 100_000, 1_000_000} {
			keys := benchmarkKeys(size)
			backend, err := NewMemory(map[string]any{"max_keys": 2_000_000})
			if err != nil {
				b.Fatal(err)
			}
			take := func(i int, quotas []Quota, verdicts []Verdict) {
				quotas[0].Scope = keys[int(draws[i&(1<<20-1)])%size]
				if err := backend.Take(b.Context(), quotas, verdicts); err != nil {
					b.Error(err)
				}
			}
			name := algorithm.String() + "/" + strconv.Itoa(size)
			quota := Quota{Key: "GET /", Algorithm: algorithm, Limit: 100, Per: time.Minute, Cost: 1}
			b.Run(name+"/serial", func(b *testing.B) {
				quotas, verdicts := []Quota{quota}, make([]Verdict, 1)
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					take(i, quotas, verdicts)
				}
			})
			b.Run(name+"/parallel", func(b *testing.B) {
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					quotas, verdicts := []Quota{quota}, make([]Verdict, 1)
					for i := rand.IntN(1 << 20); pb.Next(); i++ {
						take(i, quotas, verdicts)
					}
				})
			})
		}
	}
}

// BenchmarkMemoryParts measures what a decision on one hot key cannot be without,
// and the decision with a clock that costs nothing.
func BenchmarkMemoryParts(b *testing.B) {
	quotas := []Quota{{Key: "GET /", Scope: "client-with-a-rather-long-name-0", Limit: MaxLimit, Per: time.Minute, Cost: 1}}
	verdicts := make([]Verdict, 1)
	clock, _ := systemClock()
	decide := func(now func() int64) func() {
		backend := newMemoryOn(DefaultMaxKeys, now)
		return func() { _ = backend.Take(b.Context(), quotas, verdicts) }
	}
	still := clock()
	var mu sync.Mutex
	seed := maphash.MakeSeed()
	for _, part := range []struct {
		name string
		run  func()
	}{
		{"decision", decide(clock)},
		{"decision, a clock that stands still", decide(func() int64 { return still })},
		{"clock", func() { clock() }},
		{"lock", func() { mu.Lock(); mu.Unlock() }}, //nolint:staticcheck // nothing is to be done in between
		{"hash of key and scope", func() { hashPair(seed, quotas[0].Key, quotas[0].Scope) }},
	} {
		b.Run(part.name, func(b *testing.B) {
			for b.Loop() {
				part.run()
			}
		})
	}
}

// BenchmarkMemorySize reports the bytes that a million live keys take each.
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
