package bench

import (
	"encoding/json"
	"os"
	"os/exec"
	"runtime"
	"testing"
)

// measureVariable makes the test binary a measurement of one contender and
// nothing else: heaps are compared in processes of their own.
const measureVariable = "BENCH_MEASURE"

// size is what is left in memory.
type size struct {
	PerKey  float64 // bytes, at a million live keys
	Flooded float64 // MB, after five million keys that come once
	Freed   int     // of victims that were limited before the flood, how many are not after it
}

const victims = 1000

// BenchmarkSize takes no time, but memory. Sizes do not differ from run to run,
// so -count does not measure them again.
func BenchmarkSize(b *testing.B) {
	for _, c := range contenders() {
		if c.memory == nil {
			continue
		}
		b.Run(label(c.name), func(b *testing.B) {
			known, ok := sizes[c.name]
			if !ok {
				known = measureApart(b, c.name)
				sizes[c.name] = known
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(known.PerKey, "B/key")
			b.ReportMetric(known.Flooded, "MB")
			b.ReportMetric(float64(known.Freed), "freed")
		})
	}
}

var sizes = map[string]size{}

func measureApart(b *testing.B, name string) (result size) {
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), measureVariable+"="+name)
	output, err := command.Output()
	if err != nil {
		b.Fatal(err)
	}
	if err := json.Unmarshal(output, &result); err != nil {
		b.Fatal(err)
	}
	return result
}

func measure(c contender) (result size) {
	empty := heap()
	limiter := c.memory(daily)
	take := limiter.take()
	for i := range million {
		_, _ = take(keyOf(i))
	}
	result.PerKey = (heap() - empty) / million
	// The victims have come already, among the million, but not so often.
	for i := range victims {
		exhaust(take, keyOf(i))
	}
	for i := range 5 * million {
		_, _ = take(keyOf(million + i))
	}
	result.Flooded = (heap() - empty) / 1e6
	for i := range victims {
		if allowed, _ := take(keyOf(i)); allowed {
			result.Freed++
		}
	}
	limiter.stop()
	return result
}

// heap is what the collector cannot free, in bytes.
func heap() float64 {
	runtime.GC()
	runtime.GC() // what was in pools, or waited for a finalizer
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return float64(stats.HeapAlloc)
}
