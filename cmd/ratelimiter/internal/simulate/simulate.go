// Package simulate generates traffic that shows how the algorithms differ.
package simulate

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/replay"
)

// Names are the kinds of traffic.
var Names = []string{"steady", "edge", "crowd", "attack"}

// Periods is the length of the traffic, in periods of the limit.
const Periods = 4

// Event is a request.
type Event struct {
	Time   int64 // µs since the start
	Client int
}

// Traffic generates requests in order of time. The same arguments give the same requests.
func Traffic(name string, limit ratelimiter.Limit) ([]Event, error) {
	per := int64(limit.Per / time.Microsecond)
	n := limit.Limit
	var events []Event
	spread := func(client int, count, from, length int64) {
		for i := range count {
			events = append(events, Event{from + i*length/count, client})
		}
	}
	switch name {
	case "steady":
		spread(0, 5*n, 0, Periods*per)
	case "edge":
		for window := int64(1); window < Periods; window += 2 {
			spread(0, n, window*per-per/20, per/20)
			spread(0, n, window*per, per/20)
		}
	case "crowd":
		random := rand.New(rand.NewPCG(1, 2))
		for client := range 100 {
			for range Periods * n / 2 {
				events = append(events, Event{random.Int64N(Periods * per), client})
			}
		}
	case "attack":
		spread(0, n/2, 0, Periods*per)
		spread(0, 10*n, per, per)
	default:
		return nil, fmt.Errorf("%q is not a kind of traffic; it must be one of %s", name, strings.Join(Names, ", "))
	}
	slices.SortStableFunc(events, func(a, b Event) int { return int(a.Time - b.Time) })
	return events, nil
}

// Stretch is the index of the interval of an event, if the whole time is divided equally.
func Stretch(e Event, limit ratelimiter.Limit, stretches int) int {
	return int(e.Time * int64(stretches) / (Periods * int64(limit.Per/time.Microsecond)))
}

// Result is what an algorithm allows.
type Result struct {
	Passed []int // in equal intervals
	Worst  []int // for each limit, the most from one client in any rolling period
	Count  int
}

// Run runs events against limits that apply together.
func Run(algorithm string, limits []ratelimiter.Limit, longest ratelimiter.Limit, events []Event, stretches int) Result {
	r := Result{Passed: make([]int, stretches), Worst: make([]int, len(limits))}
	limiters := map[int]*replay.Limiter{}
	windows := map[int][][]int64{} // by client, the times in the window of each limit
	for _, e := range events {
		if limiters[e.Client] == nil {
			limiters[e.Client] = replay.NewLimiter(algorithm, limits)
			windows[e.Client] = make([][]int64, len(limits))
		}
		if allowed, _ := limiters[e.Client].Take(e.Time); !allowed {
			continue
		}
		for i, limit := range limits {
			mine := windows[e.Client][i]
			for len(mine) > 0 && mine[0]+int64(limit.Per/time.Microsecond) <= e.Time {
				mine = mine[1:]
			}
			windows[e.Client][i] = append(mine, e.Time)
			r.Worst[i] = max(r.Worst[i], len(mine)+1)
		}
		r.Passed[Stretch(e, longest, stretches)]++
		r.Count++
	}
	return r
}

// Longest is the limit that the traffic is generated for: the one with the longest period.
func Longest(limits []ratelimiter.Limit) ratelimiter.Limit {
	return slices.MaxFunc(limits, func(a, b ratelimiter.Limit) int { return cmp.Compare(a.Per, b.Per) })
}
