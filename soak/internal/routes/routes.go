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
)

// Limiters are the names of all rate limiters.
var Limiters = []string{Shared, HA, Deny, Allow, Local}

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

	// Places is the limit of Concurrent, 0 for none.
	Places int
	Lease  time.Duration
}

// Key is the key of the limits, for Reset.
func (r *Route) Key() string { return r.Method + " " + r.Path }

// Questions is how many decisions a request takes, one after the other: on the application
// limits, which the shared limiter has, and on the limits of the route. What a rejection
// or a correction gives back is one more.
func (r *Route) Questions() int {
	if r.Limiter == Shared || r.Places > 0 {
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

const window = 5 * time.Second

// Lease is that of every Concurrent.
const Lease = 6 * time.Second

// BanByHand is how long operators ban a client for.
const BanByHand = 6 * time.Second

// The limits of the default routes, between which operators choose.
const (
	DefaultUnits = 10
	LowerUnits   = 5
	DefaultPer   = window
)

func sliding(units int) Limit { return Limit{Units: units, Per: window} }

// five is five units in a window, counted by an algorithm.
func five(algorithm ratelimiter.Algorithm, burst int) Limit {
	return Limit{Units: 5, Per: window, Algorithm: algorithm, Burst: burst}
}

func get(path, limiter string, limits ...Limit) Route {
	return Route{Method: "GET", Path: path, Limiter: limiter, Limits: limits}
}

// All are the routes, in the order of registration.
var All = build()

// ByPath finds a route.
func ByPath(path string) *Route {
	for i := range All {
		if All[i].Path == path {
			return &All[i]
		}
	}
	panic("soak: no route " + path)
}

func build() []Route {
	list := []Route{
		get("/pair", Shared, sliding(10), Limit{Units: 60, Per: time.Minute}),
		get("/cost", Shared, Limit{Units: 100, Per: 10 * time.Second}),
		get("/deny", Deny, sliding(5)),
		get("/allow", Allow, sliding(5)),
		get("/local", Local, sliding(5)),
		get("/stranger", Shared, sliding(3)),
	}
	for i, prefix := range []string{"", "/ha"} {
		limiter := Limiters[i]
		list = append(list,
			get(prefix+"/sliding", limiter, sliding(5)),
			get(prefix+"/fixed", limiter, five(ratelimiter.FixedWindow, 0)),
			get(prefix+"/log", limiter, five(ratelimiter.SlidingLog, 0)),
			get(prefix+"/bucket", limiter, five(ratelimiter.TokenBucket, 1)))
		wait := get(prefix+"/wait", limiter, Limit{Units: 2, Per: time.Second, Algorithm: ratelimiter.TokenBucket, Burst: 1})
		wait.Group, wait.Wait = true, 4*time.Second
		busy := get(prefix+"/busy", limiter)
		busy.Group, busy.Places, busy.Lease = true, 3, Lease
		list = append(list, wait, busy)
	}
	return append(list, special()...)
}

func special() []Route {
	queue := get("/queue", Shared, Limit{Units: 10, Per: 2 * time.Second})
	queue.Group, queue.Wait = true, 2*time.Second
	busyWait := get("/busy-wait", Shared)
	busyWait.Group, busyWait.Places, busyWait.Lease, busyWait.Wait = true, 2, Lease, 3*time.Second
	upload := get("/upload", Shared, sliding(5))
	upload.Method = "POST"
	login := get("/login", Shared, five(ratelimiter.SlidingLog, 0))
	login.Method, login.Refunds = "POST", true
	chat := get("/chat", Shared, Limit{Units: 60, Per: 10 * time.Second})
	chat.Method, chat.Refunds, chat.Overrun = "POST", true, 5
	banned := get("/banned", Shared, sliding(5))
	banned.Ban = &Ban{After: 10, Per: 10 * time.Second, Lengths: []time.Duration{12 * time.Second}}
	repeat := get("/repeat", Shared, sliding(5))
	repeat.Ban = &Ban{After: 8, Per: 10 * time.Second, Lengths: []time.Duration{4 * time.Second, 10 * time.Second}}
	configured := get("/default", Shared, sliding(DefaultUnits))
	configured.Default = true
	return []Route{queue, busyWait, upload, login, chat, banned, repeat, configured}
}
