package routes

import (
	"fmt"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
)

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
	for i, prefix := range []string{"", "/ha", "/cluster"} {
		limiter := []string{Shared, HA, Cluster}[i]
		list = append(list,
			get(prefix+"/sliding", limiter, sliding(5)),
			get(prefix+"/fixed", limiter, five(ratelimiter.FixedWindow, 0)),
			get(prefix+"/log", limiter, five(ratelimiter.SlidingLog, 0)),
			get(prefix+"/bucket", limiter, five(ratelimiter.TokenBucket, 1)))
		wait := get(prefix+"/wait", limiter, Limit{Units: 2, Per: time.Second, Algorithm: ratelimiter.TokenBucket, Burst: 1})
		wait.Group, wait.Wait = true, 4*time.Second
		busy := get(prefix+"/busy", limiter)
		busy.Group, busy.Slots, busy.Lease = true, 3, Lease
		list = append(list, wait, busy)
	}
	list = append(list, special()...)
	list = append(list, planned()...)
	list = append(list, leased()...)
	return append(list, calendars()...)
}

// planned are the routes with limits from a function.
func planned() (list []Route) {
	log := func(units int, per time.Duration) Limit {
		return Limit{Units: units, Per: per, Algorithm: ratelimiter.SlidingLog}
	}
	plans := [][]Limit{{log(3, window)}, {log(8, window), log(24, 4*window)}}
	for _, path := range []string{"/plan", "/cluster/plan"} {
		limiter := Shared
		if path != "/plan" {
			limiter = Cluster
		}
		r := get(path, limiter, plans[1]...)
		r.Plans = plans
		list = append(list, r)
	}
	return list
}

// LeaseUnits is the backend option "lease" of the leased limiter.
const LeaseUnits = 4

// leased are the routes of which processes lease units. The limit is ten times the lease,
// as it has to be at the least.
func leased() (list []Route) {
	for _, algorithm := range []ratelimiter.Algorithm{ratelimiter.FixedWindow, ratelimiter.SlidingWindow} {
		r := get("/leased/"+algorithm.String(), Leased, Limit{Units: 10 * LeaseUnits, Per: window, Algorithm: algorithm})
		r.Group, r.Leased = true, LeaseUnits
		list = append(list, r)
	}
	return list
}

// Midnights is how many midnights there are in a run, each in a time zone of its own.
const Midnights = 12

// calendars are the routes with a limit per day. A run sees the end of each day once.
func calendars() (list []Route) {
	for n := range Midnights {
		limiter := []string{Shared, HA, Cluster, Local}[n%4]
		r := get(fmt.Sprint("/calendar/", n+1), limiter, Limit{Units: 10, Per: ratelimiter.Day, Algorithm: ratelimiter.FixedWindow})
		r.Midnight = n + 1
		list = append(list, r)
	}
	return list
}

// MidnightIn is when a midnight comes in a run: a whole second.
func (r *Route) MidnightIn(begun time.Time, length time.Duration) time.Time {
	return begun.Add(length * time.Duration(2*r.Midnight-1) / (2 * Midnights)).Truncate(time.Second)
}

// ZoneIn is the time zone that has this midnight.
func (r *Route) ZoneIn(begun time.Time, length time.Duration) *time.Location {
	day := int64(ratelimiter.Day / time.Second)
	return time.FixedZone(fmt.Sprint("Soak/", r.Midnight), -int(r.MidnightIn(begun, length).Unix()%day))
}

func special() []Route {
	queue := get("/queue", Shared, Limit{Units: 10, Per: 2 * time.Second})
	queue.Group, queue.Wait = true, 2*time.Second
	busyWait := get("/busy-wait", Shared)
	busyWait.Group, busyWait.Slots, busyWait.Lease, busyWait.Wait = true, 2, Lease, 3*time.Second
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
