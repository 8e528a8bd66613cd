package bench

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/bench/results"
	"github.com/gin-ratelimiter/ratelimiter/internal/redistest"
)

// redisGroups measure how many decisions a second a process gets from one real
// server on loopback, which they start and stop. Everybody has a go-redis client of
// its own as it comes, with ten connections for each core.
func redisGroups(t *testing.T) (groups []results.Group) {
	server := redistest.Single(t)
	all := keysOf(100_000)
	for _, row := range []struct {
		name    string
		quota   quota
		keys    keys
		callers []int
	}{
		{"distinct keys", ample, all, []int{1, 16, 64, 256}},
		{"one hot key", ample, all.first(1), []int{1, 16, 64, 256}},
		{"one denied key", usual, all[keySize:].first(1), []int{1, 256}},
	} {
		for _, callers := range row.callers {
			group := results.Group{Part: "Redis, " + row.name, Name: fmt.Sprint(callers, " callers"), Reference: plainLoop}
			if callers == 1 {
				group.Name = "1 caller"
			}
			progress(group.Part + ", " + group.Name)
			var entrants []entrant
			var stops []func()
			for _, c := range append(floors(), contenders()...) {
				if c.redis == nil {
					continue
				}
				limiter := c.redis(row.quota, server.Addr)
				if row.quota == usual {
					exhaust(limiter.take(), row.keys.at(0))
				}
				entrants = append(entrants, crowd(c.name, limiter, callers, row.keys))
				stops = append(stops, limiter.stop)
			}
			group.Contenders = pace{turns: max(3, *turns/10), turn: 50 * time.Millisecond}.race(entrants)
			groups = append(groups, group)
			for _, stop := range stops {
				stop()
			}
		}
	}
	return groups
}

// crowd shares decisions among callers that each wait for the answer before they
// ask again.
func crowd(name string, limiter opened, callers int, keys keys) entrant {
	failed := &failures{}
	takes := make([]take, callers)
	for i := range takes {
		takes[i] = limiter.take()
	}
	asked := 0
	return entrant{name, func(n int) {
		var next atomic.Int64
		next.Store(int64(asked))
		asked += n
		end := int64(asked)
		var all sync.WaitGroup
		for _, take := range takes {
			all.Go(func() {
				asked, errs := 0, 0
				for i := next.Add(1); i <= end; i = next.Add(1) {
					if _, err := take(keys.at(int(i) % keys.len())); err != nil {
						errs++
					}
					asked++
				}
				failed.note(asked, errs)
			})
		}
		all.Wait()
	}, failed}
}
