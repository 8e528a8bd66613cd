package plan

import (
	"slices"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/replay"
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/traffic"
)

// Route is the advice for one route.
type Route struct {
	Name     string
	Clients  int
	Requests int64
	Limits   []ratelimiter.Limit

	RejectedClients  int
	RejectedRequests int64

	most []int64 // of any client, for each period of the advice
}

// fewRequests is the number of requests that a route needs for advice.
const fewRequests = 10

// EachRoute recommends limits for at most a number of the busiest routes in a census that
// counts clients by route. Routes with fewer than ten requests get none. Each route meets the
// target, a share of its own clients or requests, with the algorithm.
func EachRoute(census *traffic.Census, periods []time.Duration, target Target, algorithm string, most int) []*Route {
	a := &routeAdviser{census: census, target: target, algorithm: algorithm}
	a.find(periods, most)
	for k, per := range periods {
		for i, limit := range a.lowest(k, per) {
			a.routes[i].Limits = append(a.routes[i].Limits, ratelimiter.Limit{Limit: limit, Per: per})
		}
	}
	a.loosen()
	for _, r := range a.routes {
		r.Limits = needed(r.Limits)
	}
	return a.routes
}

type routeAdviser struct {
	census    *traffic.Census
	target    Target
	algorithm string
	routes    []*Route
	of        []*Route // of each client; nil if the route gets no advice
}

// find lists the routes, the busiest first, and assigns the clients to them.
func (a *routeAdviser) find(periods []time.Duration, most int) {
	byName := map[string]*Route{}
	a.of = make([]*Route, a.census.Clients())
	for id := range a.of {
		_, name := a.census.Name(uint32(id))
		r := byName[name]
		if r == nil {
			r = &Route{Name: name, most: make([]int64, len(periods))}
			byName[name] = r
			a.routes = append(a.routes, r)
		}
		a.of[id] = r
		r.Clients++
		r.Requests += int64(a.census.Client(uint32(id)).Requests)
		for k, per := range periods {
			r.most[k] = max(r.most[k], a.census.Most(uint32(id), slices.Index(a.census.Periods, Micros(per))))
		}
	}
	slices.SortStableFunc(a.routes, func(a, b *Route) int { return int(b.Requests - a.Requests) })
	a.routes = slices.DeleteFunc(a.routes[:min(most, len(a.routes))], func(r *Route) bool { return r.Requests < fewRequests })
	for id, r := range a.of {
		if !slices.Contains(a.routes, r) {
			a.of[id] = nil
		}
	}
}

// try replays limits on all routes at once, and returns the routes that miss the target.
func (a *routeAdviser) try(limitsOf func(*Route) []ratelimiter.Limit) (missed map[*Route]bool) {
	outcome := replay.RunEach(a.census, a.algorithm, func(id uint32) []ratelimiter.Limit {
		if a.of[id] == nil {
			return nil
		}
		return limitsOf(a.of[id])
	})
	for _, r := range a.routes {
		r.RejectedClients, r.RejectedRequests = 0, 0
	}
	for _, c := range outcome.Clients {
		a.of[c.ID].RejectedClients++
		a.of[c.ID].RejectedRequests += c.Requests
	}
	missed = map[*Route]bool{}
	for _, r := range a.routes {
		if a.target.Exceeded(r.RejectedClients, r.Clients, r.RejectedRequests, r.Requests) {
			missed[r] = true
		}
	}
	return missed
}

// lowest finds the lowest round limit of one period for each route. It runs a binary search
// for all routes at once.
func (a *routeAdviser) lowest(k int, per time.Duration) []int64 {
	most := int64(1)
	for _, r := range a.routes {
		most = max(most, r.most[k])
	}
	choice := ladder(2 * most)
	type search struct{ low, high int } // indexes of choice; high meets the target
	searches := map[*Route]*search{}
	for _, r := range a.routes {
		// A client that stays within half of the limit is never rejected.
		high, _ := slices.BinarySearch(choice, 2*r.most[k])
		searches[r] = &search{0, high}
	}
	for slices.ContainsFunc(a.routes, func(r *Route) bool { return searches[r].low < searches[r].high }) {
		missed := a.try(func(r *Route) []ratelimiter.Limit {
			return []ratelimiter.Limit{{Limit: choice[(searches[r].low+searches[r].high)/2], Per: per}}
		})
		for r, s := range searches {
			if middle := (s.low + s.high) / 2; missed[r] {
				s.low = middle + 1
			} else {
				s.high = middle
			}
		}
	}
	limits := make([]int64, len(a.routes))
	for i, r := range a.routes {
		limits[i] = choice[searches[r].high]
	}
	return limits
}

// ladder lists the round numbers up to the first that is not below most.
func ladder(most int64) (list []int64) {
	for limit := int64(1); ; limit = Round(limit + 1) {
		list = append(list, limit)
		if limit >= most {
			return list
		}
	}
}

// loosen raises limits until each route meets the target with all of its limits together. On
// each route it raises the limit that helps most, or all if none helps.
func (a *routeAdviser) loosen() {
	own := func(r *Route) []ratelimiter.Limit { return r.Limits }
	for missed := a.try(own); len(missed) > 0; missed = a.try(own) {
		best, fewest := map[*Route][]ratelimiter.Limit{}, map[*Route]int64{}
		for r := range missed {
			fewest[r] = r.RejectedRequests
		}
		for k := range a.routes[0].Limits {
			a.try(func(r *Route) []ratelimiter.Limit { return raise(r.Limits, k) })
			for r := range missed {
				if r.RejectedRequests < fewest[r] {
					best[r], fewest[r] = raise(r.Limits, k), r.RejectedRequests
				}
			}
		}
		for r := range missed {
			if best[r] == nil {
				best[r] = r.Limits
				for k := range r.Limits {
					best[r] = raise(best[r], k)
				}
			}
			r.Limits = best[r]
		}
	}
}
