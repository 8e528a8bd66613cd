package bench

import (
	"runtime/debug"
	"sync"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/bench/results"
)

// memoryGroups measure a decision with counters in memory, the clock included. Keys
// are known already, so what is measured is no growing map.
func memoryGroups() []results.Group {
	all := keysOf(million)
	one := make([]uint32, draws)
	var alone, together []results.Group
	for _, row := range []struct {
		name  string
		quota quota
		keys  keys
		order []uint32
	}{
		{"one hot key", ample, all.first(1), one},
		{"always denied", usual, all.first(1), one},
		{"100k keys", ample, all.first(100_000), uniform(100_000)},
		{"1M keys, zipf", ample, all, zipf(million)},
	} {
		progress("memory, " + row.name)
		var serial, parallel []entrant
		var stops []func()
		for _, c := range contenders() {
			if c.memory == nil {
				continue
			}
			limiter := c.memory(row.quota)
			fill(limiter.take(), row.keys)
			if row.quota == usual {
				exhaust(limiter.take(), row.keys.at(0))
			}
			// Nobody shall find in the cache what another has asked for just now.
			start := len(serial) * draws / 16
			serial = append(serial, asker(c.name, limiter, 1, row.keys, row.order, start))
			parallel = append(parallel, asker(c.name, limiter, 2, row.keys, row.order, start))
			stops = append(stops, limiter.stop)
		}
		p := pace{turns: *turns, turn: time.Millisecond, patience: 20}
		if row.keys.len() > 1 {
			p.lead = 25 * time.Millisecond // at the end of which most keys have come
		}
		alone = append(alone, results.Group{Part: "A decision in memory", Name: row.name, Contenders: p.race(serial)})
		together = append(together, results.Group{Part: "A decision in memory, 2 goroutines at once", Name: row.name, Contenders: p.race(parallel)})
		for _, stop := range stops {
			stop()
		}
	}
	return append(alone, together...)
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

// asker divides decisions among goroutines, which begin far from each other in the
// order of the keys, or they would all ask for the same key at once.
func asker(name string, limiter opened, goroutines int, keys keys, order []uint32, start int) entrant {
	failed := &failures{}
	takes, next := make([]take, goroutines), make([]int, goroutines)
	for g := range takes {
		takes[g], next[g] = limiter.take(), start+g*draws/2
	}
	ask := func(g, n int) {
		take, i, errs := takes[g], next[g], 0
		for range n {
			if _, err := take(keys.at(int(order[i&(draws-1)]))); err != nil {
				errs++
			}
			i++
		}
		next[g] = i
		failed.note(n, errs)
	}
	if goroutines == 1 {
		return entrant{name, func(n int) { ask(0, n) }, failed}
	}
	return entrant{name, func(n int) {
		var group sync.WaitGroup
		for g := range goroutines {
			group.Go(func() { ask(g, (n+g)/goroutines) })
		}
		group.Wait()
	}, failed}
}
