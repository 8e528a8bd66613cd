package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/soak/internal/history"
	"github.com/gin-ratelimiter/ratelimiter/soak/internal/routes"
)

// kind is a kind of clients, which behave in one way.
type kind struct {
	name   string
	share  int // of a hundred clients
	group  int // how many clients share a group; 0 for none
	paths  []string
	behave func(c *client, ctx context.Context, route *routes.Route)
}

// everywhere are the paths of each shared limiter with all algorithms.
var everywhere = []string{"/sliding", "/fixed", "/log", "/bucket", "/ha/sliding", "/ha/fixed", "/ha/log", "/ha/bucket",
	"/cluster/sliding", "/cluster/fixed", "/cluster/log", "/cluster/bucket"}

var kinds = []kind{
	{"polite", 18, 0, with("/default", "/deny", "/allow", "/local"), (*client).polite},
	{"obedient", 14, 0, with("/pair", "/default", "/deny", "/allow", "/local"), (*client).obedient},
	{"burst", 10, 0, with("/pair", "/default", "/local"), (*client).burst},
	{"hammer", 2, 0, []string{"/log", "/ha/log", "/cluster/log", "/sliding", "/ha/bucket"}, (*client).hammer},
	{"banned", 3, 0, []string{"/banned", "/repeat"}, (*client).provoke},
	{"leaver", 6, 0, []string{"/queue", "/wait", "/ha/wait", "/cluster/wait", "/busy-wait", "/sliding"}, (*client).leaver},
	{"waiter", 12, 9, []string{"/wait", "/ha/wait", "/cluster/wait", "/queue"}, (*client).waiter},
	{"slow", 3, 0, []string{"/upload"}, (*client).slow},
	{"busy", 8, 6, []string{"/busy", "/busy-wait", "/ha/busy", "/cluster/busy"}, (*client).busy},
	{"cost", 3, 0, []string{"/cost"}, (*client).costly},
	{"chat", 2, 0, []string{"/chat"}, (*client).chat},
	{"login", 2, 0, []string{"/login"}, (*client).login},
	{"stranger", 1, 0, []string{"/stranger"}, (*client).stranger},
	{"plan", 5, 0, []string{"/plan", "/cluster/plan"}, (*client).changePlans},
	{"leased", 5, 7, []string{"/leased/fixed-window", "/leased/sliding-window"}, (*client).waiter},
	{"calendar", 8, 0, calendarPaths(), (*client).daily},
}

func with(paths ...string) []string { return append(slices.Clone(everywhere), paths...) }

func calendarPaths() (paths []string) {
	for n := range routes.Midnights {
		paths = append(paths, fmt.Sprint("/calendar/", n+1))
	}
	return paths
}

// count is how many clients of a kind there are, at least one of each path.
func (k *kind) count(clients int) int {
	return max(len(k.paths)*max(1, k.group), clients*k.share/100)
}

// startClients starts the clients of all kinds.
func (r *run) startClients(ctx context.Context, group *sync.WaitGroup) {
	for _, k := range kinds {
		for number := range k.count(r.clients) {
			c, place := r.newClient(k.name, number), number
			if k.group > 0 {
				place = number / k.group // those of a group go to one route
				c.group = r.newClient(k.name, place).group
			}
			route := routes.ByPath(k.paths[place%len(k.paths)])
			group.Go(func() {
				for pause(ctx, c.between(0, 3*time.Second)); ctx.Err() == nil; {
					k.behave(c, ctx, route)
				}
			})
		}
	}
}

// polite keeps to the limit: it sends a request one spacing after the last answer.
func (c *client) polite(ctx context.Context, route *routes.Route) {
	spacing := route.Limits[0].Spacing()
	if route.Default {
		spacing = routes.DefaultPer / routes.LowerUnits
	}
	c.send(ctx, route, request{process: c.anyProcess()})
	if c.random.IntN(4) == 0 {
		spacing += c.between(0, spacing) // another phase of the window
	}
	pause(ctx, spacing)
}

// obey waits for as long as a rejection says.
func obey(ctx context.Context, answer history.Request) {
	pause(ctx, time.Duration(answer.RetryAfter)*time.Second)
}

// obedient sends as much as it can, and waits for Retry-After.
func (c *client) obedient(ctx context.Context, route *routes.Route) {
	answer := c.send(ctx, route, request{process: c.anyProcess()})
	obey(ctx, answer)
	pause(ctx, c.between(20*time.Millisecond, 200*time.Millisecond))
}

// burst sends many requests at once, comes back once after Retry-After, and pauses.
func (c *client) burst(ctx context.Context, route *routes.Route) {
	var group sync.WaitGroup
	answers := make([]history.Request, 8+c.random.IntN(10))
	for i := range answers {
		process := c.anyProcess()
		group.Go(func() { answers[i] = c.send(ctx, route, request{process: process}) })
	}
	group.Wait()
	var last history.Request
	for _, answer := range answers {
		if answer.RetryAfter > last.RetryAfter {
			last = answer
		}
	}
	obey(ctx, last)
	c.send(ctx, route, request{process: c.anyProcess()})
	pause(ctx, c.between(2*time.Second, 10*time.Second))
}

// hammer ignores Retry-After.
func (c *client) hammer(ctx context.Context, route *routes.Route) {
	c.send(ctx, route, request{process: c.anyProcess()})
	pause(ctx, c.between(50*time.Millisecond, 300*time.Millisecond))
}

// provoke hammers until it is banned, goes on for a while, and waits for the end of the ban.
func (c *client) provoke(ctx context.Context, route *routes.Route) {
	further := c.random.IntN(6)
	for {
		answer := c.send(ctx, route, request{process: c.anyProcess()})
		if answer.Banned {
			if further--; further < 0 {
				obey(ctx, answer)
				return
			}
		}
		if !pause(ctx, c.between(50*time.Millisecond, 400*time.Millisecond)) {
			return
		}
	}
}

// leaver cancels most requests.
func (c *client) leaver(ctx context.Context, route *routes.Route) {
	patience := c.between(0, 1500*time.Millisecond)
	if route.Wait == 0 || c.random.IntN(4) == 0 {
		patience = c.between(0, 3*time.Millisecond)
	}
	leaving, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answer := c.send(leaving, route, request{process: c.anyProcess(), hold: c.between(0, time.Second)})
	obey(ctx, answer)
	pause(ctx, c.between(50*time.Millisecond, time.Second))
}

// waiter waits for its turn, with others of its group.
func (c *client) waiter(ctx context.Context, route *routes.Route) {
	obey(ctx, c.send(ctx, route, request{process: c.anyProcess()}))
	pause(ctx, c.between(0, 400*time.Millisecond))
}

// slow sends bodies that take their time.
func (c *client) slow(ctx context.Context, route *routes.Route) {
	body := &slowBody{ctx: ctx, pieces: 1 + c.random.IntN(6), pause: c.between(20*time.Millisecond, 300*time.Millisecond)}
	obey(ctx, c.send(ctx, route, request{process: c.anyProcess(), body: body}))
	pause(ctx, c.between(0, 500*time.Millisecond))
}

// busy keeps requests in progress, with others of its group.
func (c *client) busy(ctx context.Context, route *routes.Route) {
	answer := c.send(ctx, route, request{process: c.anyProcess(), hold: c.between(50*time.Millisecond, 800*time.Millisecond)})
	obey(ctx, answer)
	pause(ctx, c.between(20*time.Millisecond, 400*time.Millisecond))
}

// costly sends requests of different costs.
func (c *client) costly(ctx context.Context, route *routes.Route) {
	answer := c.send(ctx, route, request{process: c.anyProcess(), cost: 1 + c.random.IntN(30)})
	for answer.Rejected() && ctx.Err() == nil {
		obey(ctx, answer)
		answer = c.send(ctx, route, request{process: c.anyProcess(), cost: answer.Cost})
	}
	pause(ctx, c.between(100*time.Millisecond, 800*time.Millisecond))
}

// chat sends requests of which the cost is known only afterwards.
func (c *client) chat(ctx context.Context, route *routes.Route) {
	obey(ctx, c.send(ctx, route, request{process: c.anyProcess(), actual: 1 + c.random.IntN(estimate+route.Overrun)}))
	pause(ctx, c.between(50*time.Millisecond, 500*time.Millisecond))
}

// login sends wrong passwords, and some right ones.
func (c *client) login(ctx context.Context, route *routes.Route) {
	obey(ctx, c.send(ctx, route, request{process: c.anyProcess(), right: c.random.IntN(3) == 0}))
	pause(ctx, c.between(50*time.Millisecond, 500*time.Millisecond))
}

// stranger has a new address each time.
func (c *client) stranger(ctx context.Context, route *routes.Route) {
	visitor := c.run.newClient("visitor", c.random.IntN(200*250))
	for range 1 + c.random.IntN(5) {
		visitor.send(ctx, route, request{process: c.anyProcess()})
	}
	pause(ctx, c.between(100*time.Millisecond, time.Second))
}

// changePlans sends what it can, on a plan that changes now and then.
func (c *client) changePlans(ctx context.Context, route *routes.Route) {
	plan := c.random.IntN(len(route.Plans))
	for range 1 + c.random.IntN(12) {
		c.send(ctx, route, request{process: c.anyProcess(), plan: plan})
		if !pause(ctx, c.between(50*time.Millisecond, 800*time.Millisecond)) {
			return
		}
	}
}

// daily uses up the limit of a day, and then looks now and then whether the day is over.
func (c *client) daily(ctx context.Context, route *routes.Route) {
	if answer := c.send(ctx, route, request{process: c.anyProcess()}); answer.Rejected() {
		pause(ctx, c.between(time.Second, 5*time.Second))
	}
	pause(ctx, c.between(100*time.Millisecond, 800*time.Millisecond))
}
