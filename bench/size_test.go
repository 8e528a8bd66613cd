package bench

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/gin-ratelimiter/ratelimiter/bench/results"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

// measureVariable makes the test binary a measurement of one contender and
// nothing else: heaps are compared in processes of their own.
const measureVariable = "BENCH_MEASURE"

const victims = 1000

// sizes measure what stays in memory, of two contenders at a time: nobody is timed
// here.
func sizes(t *testing.T) []results.Size {
	var list []contender
	for _, c := range contenders() {
		if c.memory != nil {
			list = append(list, c)
		}
	}
	found := make([]results.Size, len(list))
	var all errgroup.Group
	all.SetLimit(2)
	for i, c := range list {
		all.Go(func() (err error) {
			progress("size of " + c.name)
			found[i], err = measureApart(c.name)
			return err
		})
	}
	require.NoError(t, all.Wait())
	return found
}

func measureApart(name string) (result results.Size, err error) {
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), measureVariable+"="+name)
	output, err := command.Output()
	if err != nil {
		return result, fmt.Errorf("measuring %s: %w", name, err)
	}
	return result, json.Unmarshal(output, &result)
}

func measure(c contender) (result results.Size) {
	result.Name = c.name
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
