// Package routes lists the routes of the soak test with their limits. The servers, the
// clients and the model read the same list.
package routes

import (
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
)

// The rate limiters of a server.
const (
	Shared = "shared" // on a single Redis; falls back on memory
	HA     = "ha"     // on a Redis that Sentinel watches; falls back on memory
	Deny   = "deny"   // on the single Redis; answers 503 in an outage
	Allow  = "allow"  // on the single Redis; lets everybody through in an outage
	Local  = "local"  // in the memory of each process

	Cluster = "cluster" // on a Redis Cluster; falls back on memory
	Leased  = "leased"  // on the single Redis, with leases of units; falls back on memory
)

// Limiters are the names of all rate limiters.
var Limiters = []string{Shared, HA, Deny, Allow, Local, Cluster, Leased}

// Timeout is RATELIMITER_TIMEOUT of every limiter. It is the default.
const Timeout = 100 * time.Millisecond

// Limit is one limit of a route.
type Limit struct {
	Units     int
	Per       time.Duration
	Algorithm ratelimiter.Algorithm
	Burst     int // of a token bucket; 0 means Units
}

// Bound is the most that any rolling window of Per may admit, by the README.
func (l Limit) Bound() int {
	switch l.Algorithm {
	case ratelimiter.SlidingLog:
		return l.Units
	case ratelimiter.TokenBucket:
		if l.Burst > 0 {
			return l.Burst + l.Units
		}
	}
	return 2 * l.Units
}

// Spacing is the time between the requests of a client that keeps to the limit.
func (l Limit) Spacing() time.Duration { return l.Per / time.Duration(l.Units) }

// Ban is WithBan of a route.
type Ban struct {
	After   int
	Per     time.Duration
	Lengths []time.Duration
}

// Route is a route of the servers.
type Route struct {
	Method, Path string
	Limiter      string
	Limits       []Limit // none for Concurrent alone
	Group        bool    // the scope is the header X-Group, else the address of the client
	Wait         time.Duration
	Ban          *Ban
	Refunds      bool // units come back before their time
	Overrun      int  // units that a request may cost beyond the estimate that admits it

	// Default routes have no limit of their own. Operators change the default limits
	// between the first of Limits and half of it.
	Default bool

	// Plans are the lists between which the function of RateLimits chooses, by what the
	// request says. Limits is the list of the highest plan.
	Plans [][]Limit

	// Midnight is when the day of a calendar limit ends: its number of all midnights of a
	// run, from 1. It is 0 for other routes.
	Midnight int

	// Leased is how many units a process may lease at once, 0 for none.
	Leased int

	// Slots is the limit of Concurrent, 0 for none.
	Slots int
	Lease time.Duration
}

// Unspent is how many units a process may have leased and not spent.
func (r *Route) Unspent() int { return max(0, r.Leased-1) }

// Key is the key of the limits, for Reset.
func (r *Route) Key() string { return r.Method + " " + r.Path }

// Questions is how many decisions a request takes, one after the other: on the application
// limits, which the shared limiter has, and on the limits of the route. What a rejection
// or a correction gives back is one more.
func (r *Route) Questions() int {
	if r.Limiter == Shared && r.Slots == 0 {
		return 3
	}
	return 1
}

// LongestRetry is the most that Retry-After may say, to a client that is banned or not.
func (r *Route) LongestRetry(banned bool) time.Duration {
	longest := max(r.Wait, time.Second)
	if banned {
		longest = max(longest, BanByHand)
	}
	for _, l := range r.Limits {
		longest = max(longest, r.Wait+l.Per)
	}
	if r.Ban != nil {
		longest = max(longest, r.Ban.Lengths[len(r.Ban.Lengths)-1])
	}
	return longest
}
