package bench

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/bench/results"
)

// entrant is a contender in a race: run makes so many decisions.
type entrant struct {
	name   string
	run    func(n int)
	failed *failures // nil for those that cannot fail
}

// pace is how a race is run.
type pace struct {
	turns int           // of each entrant
	turn  time.Duration // about how long each is
	// lead is how long an entrant runs before it is timed, once for each leads turns,
	// so that what it uses is in the caches again. 0 is for those that need few of them.
	lead time.Duration
	// patience is how often a turn is repeated during which another process had the
	// processor.
	patience int
}

// leads is how many turns an entrant has one after the other if it has a lead.
const leads = 5

// race lets entrants take turns, so that what disturbs the machine disturbs all of
// them, and returns the medians.
func (p pace) race(entrants []entrant) []results.Contender {
	sizes := make([]int, len(entrants))
	for i := range entrants {
		sizes[i] = p.decisions(&entrants[i])
	}
	runtime.GC() // or it would begin during the first turns
	took := make([][]float64, len(entrants))
	for round := 0; len(took[len(took)-1]) < p.turns; round++ {
		for i := range entrants {
			at := (round + i) % len(entrants) // not always behind the same one
			took[at] = append(took[at], p.timed(entrants[at].run, sizes[at])...)
		}
	}
	list := make([]results.Contender, len(entrants))
	for i := range entrants {
		e := &entrants[i]
		slices.Sort(took[i])
		list[i] = results.Contender{Name: e.name, Nanos: took[i][len(took[i])/2]}
		if e.failed != nil {
			list[i].Errors = 100 * e.failed.share()
		}
		list[i].Allocs, list[i].Bytes = allocations(e.run, min(sizes[i], 2000))
	}
	return list
}

// decisions is how many of them take about as long as a turn.
func (p pace) decisions(e *entrant) int {
	for n := 64; ; n *= 2 {
		start := time.Now()
		e.run(n)
		if took := time.Since(start); took > p.turn/4 {
			return max(1, int(float64(n)*float64(p.turn)/float64(took)))
		}
	}
}

// timed is the time for a decision in one turn, or in several after a lead.
func (p pace) timed(run func(n int), n int) (took []float64) {
	turns := 1
	if p.lead > 0 {
		turns = leads
		run(int(float64(n) * float64(p.lead) / float64(p.turn)))
	}
	for range turns {
		took = append(took, float64(p.undisturbed(run, n).Nanoseconds())/float64(n))
	}
	return took
}

// undisturbed is how long a turn takes, if need be the last one of several.
func (p pace) undisturbed(run func(n int), n int) (took time.Duration) {
	for range 1 + p.patience {
		before, start := usage(), time.Now()
		run(n)
		took = time.Since(start)
		if usage().Nivcsw == before.Nivcsw {
			break
		}
	}
	return took
}

// usage tells how often the kernel took the processor from this process.
func usage() (usage syscall.Rusage) {
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage) // without it no turn is repeated
	return usage
}

// allocations is how often, and how many bytes, a decision allocates on average.
func allocations(run func(n int), n int) (count, bytes float64) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	run(n)
	runtime.ReadMemStats(&after)
	return float64((after.Mallocs - before.Mallocs) / uint64(n)), float64((after.TotalAlloc - before.TotalAlloc) / uint64(n))
}

// progress shows how far it is.
func progress(group string) { fmt.Fprintln(os.Stderr, group) }
