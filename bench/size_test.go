package bench

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"sync"
	"testing"

	"golang.org/x/sync/errgroup"
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

// BenchmarkSize takes no time, but memory. Sizes do not differ from run to run.
func BenchmarkSize(b *testing.B) {
	found, err := sizes()
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range contenders() {
		if c.memory == nil {
			continue
		}
		b.Run(label(c.name), func(b *testing.B) {
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(found[c.name].PerKey, "B/key")
			b.ReportMetric(found[c.name].Flooded, "MB")
			b.ReportMetric(float64(found[c.name].Freed), "freed")
		})
	}
}

// sizes measures two contenders at a time: nobody is timed here.
var sizes = sync.OnceValues(func() (map[string]size, error) {
	var mu sync.Mutex
	found := map[string]size{}
	var all errgroup.Group
	all.SetLimit(2)
	for _, c := range contenders() {
		if c.memory == nil {
			continue
		}
		all.Go(func() error {
			result, err := measureApart(c.name)
			mu.Lock()
			defer mu.Unlock()
			found[c.name] = result
			return err
		})
	}
	return found, all.Wait()
})

func measureApart(name string) (result size, err error) {
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), measureVariable+"="+name)
	output, err := command.Output()
	if err != nil {
		return size{}, fmt.Errorf("measuring %s: %w", name, err)
	}
	return result, json.Unmarshal(output, &result)
}

func measure(c contender) (result size) {
	// Look less often at tables that only grow, but leave room for others.
	debug.SetGCPercent(400)
	debug.SetMemoryLimit(2 << 30)
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
