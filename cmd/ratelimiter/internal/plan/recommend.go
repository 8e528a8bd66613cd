package plan

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/replay"
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/traffic"
)

// Curve holds, for one period, the most units of each client in any rolling period, in
// ascending order. It determines which clients exceed a given limit.
type Curve struct {
	Period time.Duration
	Most   []int64
}

// Curves makes a curve for each period of a census.
func Curves(census *traffic.Census) []Curve {
	curves := make([]Curve, len(census.Periods))
	for k, per := range census.Periods {
		curves[k].Period = time.Duration(per) * time.Microsecond
		curves[k].Most = make([]int64, census.Clients())
		for id := range curves[k].Most {
			curves[k].Most[id] = census.Most(uint32(id), k)
		}
		slices.Sort(curves[k].Most)
	}
	return curves
}

// Over is the number of clients that exceed a limit in any rolling period. An exact limiter
// rejects exactly these clients.
func (c Curve) Over(limit int64) int {
	return len(c.Most) - sort.Search(len(c.Most), func(i int) bool { return c.Most[i] > limit })
}

// At is the value below which a share of the clients lies, from 0 to 1.
func (c Curve) At(share float64) int64 {
	if len(c.Most) == 0 {
		return 0
	}
	return c.Most[min(len(c.Most)-1, int(share*float64(len(c.Most))))]
}

// Tightest is the lowest limit that at most a number of clients exceed.
func (c Curve) Tightest(clients int) int64 {
	if clients >= len(c.Most) {
		return 1
	}
	return max(1, c.Most[len(c.Most)-1-clients])
}

// TightestFor is the lowest limit of a period that meets a percentage target with an exact
// algorithm. For a share of requests it is an upper bound, because it also counts rejected
// requests, which a limiter does not.
func TightestFor(census *traffic.Census, c Curve, period int, target Target) int64 {
	if target.kind != byRequests {
		return c.Tightest(int(PartOf(target.Clients, int64(len(c.Most)))))
	}
	allowed := PartOf(target.Requests, census.History.Events)
	most := c.Tightest(0)
	return 1 + int64(sort.Search(int(most-1), func(i int) bool { return census.Over(period, int64(i)+1) <= allowed }))
}

// Advice is a limit that meets a target.
type Advice struct {
	Limits []ratelimiter.Limit
	// Outcome is the replay of the limits with the chosen algorithm.
	Outcome *replay.Outcome
}

// Recommend finds round limits for some periods of the census that together meet a target,
// and verifies them by a replay.
func Recommend(census *traffic.Census, curves []Curve, periods []time.Duration, target Target, algorithm string) (*Advice, error) {
	if target.kind == byServer {
		return serverLimit(census, target, algorithm)
	}
	var places []int
	for _, per := range periods {
		places = append(places, slices.Index(census.Periods, Micros(per)))
	}
	limits := jointLimits(census, curves, places, target)
	outcome := replay.Run(census, algorithm, limits)
	for target.Exceeded(len(outcome.Clients), census.Clients(), outcome.Requests, census.History.Events) {
		limits, outcome = loosen(census, limits, outcome)
	}
	return &Advice{needed(limits), outcome}, nil
}

// loosen raises the limit that helps most to the next round number, because the algorithm
// rejects more than an exact one. If none helps, because two limits reject the same
// requests, it raises all.
func loosen(census *traffic.Census, limits []ratelimiter.Limit, now *replay.Outcome) ([]ratelimiter.Limit, *replay.Outcome) {
	best, fewest := limits, now
	for i := range limits {
		raised := raise(limits, i)
		outcome := replay.Run(census, now.Algorithm, raised)
		if outcome.Requests < fewest.Requests {
			best, fewest = raised, outcome
		}
	}
	if fewest == now {
		for i := range limits {
			best = raise(best, i)
		}
		fewest = replay.Run(census, now.Algorithm, best)
	}
	return best, fewest
}

// raise raises one of the limits to the next round number.
func raise(limits []ratelimiter.Limit, i int) []ratelimiter.Limit {
	raised := slices.Clone(limits)
	raised[i].Limit = Round(limits[i].Limit + 1)
	return raised
}

// needed drops limits that a lower limit of a longer period makes redundant.
func needed(limits []ratelimiter.Limit) []ratelimiter.Limit {
	return slices.DeleteFunc(slices.Clone(limits), func(l ratelimiter.Limit) bool {
		return slices.ContainsFunc(limits, func(other ratelimiter.Limit) bool {
			return other.Per > l.Per && other.Limit <= l.Limit
		})
	})
}

// jointLimits returns the lowest round limits that together reject at most as many clients as
// the target allows: the clients that exceed the limits of single periods most.
func jointLimits(census *traffic.Census, curves []Curve, places []int, target Target) []ratelimiter.Limit {
	single := make([]int64, len(places))
	for i, k := range places {
		single[i] = TightestFor(census, curves[k], k, target)
	}
	limits := make([]ratelimiter.Limit, len(places))
	excess := func(id uint32) (worst float64) {
		for i, k := range places {
			worst = max(worst, float64(census.Most(id, k))/float64(single[i]))
		}
		return worst
	}
	ids := make([]uint32, census.Clients())
	for id := range ids {
		ids[id] = uint32(id)
	}
	if target.kind == byClients {
		slices.SortStableFunc(ids, func(a, b uint32) int { return cmp.Compare(excess(b), excess(a)) })
		ids = ids[PartOf(target.Clients, int64(len(ids))):]
	}
	for i, k := range places {
		most := single[i]
		if target.kind == byClients {
			most = 1
			for _, id := range ids {
				most = max(most, census.Most(id, k))
			}
		}
		limits[i] = ratelimiter.Limit{Limit: Round(most), Per: curves[k].Period}
	}
	return limits
}

// Round rounds up to one of 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40..., because
// future traffic does not match the log to the last request.
func Round(limit int64) int64 {
	if limit <= 6 {
		return max(1, limit)
	}
	for worth := int64(1); ; worth *= 10 {
		for _, n := range []int64{8, 10, 12, 15, 20, 25, 30, 40, 50, 60} {
			if n*worth >= limit {
				return n * worth
			}
		}
	}
}

// serverLimit is the highest limit per client that keeps the server within its capacity.
func serverLimit(census *traffic.Census, target Target, algorithm string) (*Advice, error) {
	fits := func(limit int64) bool {
		return replay.Peak(census, algorithm, ratelimiter.Limit{Limit: limit, Per: target.Server.Per}, target.Server.Limit) <= target.Server.Limit
	}
	busiest := int64(0)
	for id := range uint32(census.Clients()) {
		busiest = max(busiest, census.Most(id, slices.Index(census.Periods, Micros(target.Server.Per))))
	}
	// Limits of twice the busiest client or more reject nothing, so they are equivalent.
	most := min(target.Server.Limit, 2*busiest)
	low, high := int64(0), most+1 // low fits; high is out of range or does not fit
	for high-low > 1 {
		middle := low + (high-low)/2
		if fits(middle) {
			low = middle
		} else {
			high = middle
		}
	}
	if low == 0 {
		return nil, fmt.Errorf("no limit per client keeps the server within %s, because even one request per client exceeds it; limit all clients together", target.Text)
	}
	if low == most {
		low = target.Server.Limit
	}
	limits := []ratelimiter.Limit{{Limit: low, Per: target.Server.Per}}
	return &Advice{limits, replay.Run(census, algorithm, limits)}, nil
}
