package ratelimiter_test

import (
	"fmt"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// party is a history of requests in progress, seen from outside.
type party struct {
	limit     int
	cluster   *cluster // nil for one process that counts in memory
	processes []*member
	guests    []*partyGuest

	mu     sync.Mutex
	inside map[int]bool // requests by their number
}

// member is a process that may be killed.
type member struct {
	*gin.Engine
	*link
	killed time.Time
	left   int // requests in progress when it was killed, whose leases end later
}

type partyGuest struct {
	*visit
	process *member
	patient bool
}

const (
	partyLease = 10 * time.Second
	partyWait  = 25 * time.Second
	// partyPatience is the time after which a waiting request has noticed a slot that
	// another process freed.
	partyPatience = 1100 * time.Millisecond
)

func (p *party) open(t *testing.T, processes int) {
	p.inside = map[int]bool{}
	rule := func(limiter *ratelimiter.RateLimiter, options ...ratelimiter.Option) gin.HandlerFunc {
		return limiter.Concurrent(p.limit, append(options, ratelimiter.WithLease(partyLease), ratelimiter.WithKey(ratelimiter.Shared("jobs")))...)
	}
	for range processes {
		one := &member{}
		var limiter *ratelimiter.RateLimiter
		if p.cluster == nil {
			one.Engine, limiter = application(t, nil)
		} else {
			p.cluster.rule = func(limiter *ratelimiter.RateLimiter) gin.HandlerFunc { return rule(limiter) }
			made := p.cluster.process()
			one.Engine, one.link, limiter = made.Engine, made.link, made.limiter
		}
		one.GET("/hasty", rule(limiter), p.handle)
		one.GET("/patient", rule(limiter, waiting(partyWait)), p.handle)
		p.processes = append(p.processes, one)
	}
}

// handle keeps a request in progress until the client leaves.
func (p *party) handle(c *gin.Context) {
	number, _ := strconv.Atoi(c.GetHeader("Number"))
	p.set(number, true)
	<-c.Request.Context().Done()
	p.set(number, false)
}

func (p *party) set(number int, inside bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inside[number] = inside
}

// partyStep is an event; pick selects the process or request that it affects.
type partyStep struct {
	what string
	pick int
	time time.Duration
}

func drawSteps(t *rapid.T) (steps []partyStep) {
	kinds := []string{"hasty", "hasty", "hasty", "patient", "patient", "leave", "leave", "leave", "pass", "pass", "kill"}
	for range rapid.IntRange(1, 60).Draw(t, "steps") {
		s := partyStep{rapid.SampledFrom(kinds).Draw(t, "what"), rapid.IntRange(0, 99).Draw(t, "pick"), 0}
		if s.what == "pass" {
			s.time = time.Duration(rapid.IntRange(1, 12_000).Draw(t, "ms")) * time.Millisecond
		}
		steps = append(steps, s)
	}
	return steps
}

// take performs a step and returns the law that it breaks.
func (p *party) take(crowd *crowd, s partyStep) (broken error) {
	process := p.processes[s.pick%len(p.processes)]
	switch s.what {
	case "hasty", "patient":
		if !process.killed.IsZero() {
			return nil
		}
		guest := &partyGuest{process: process, patient: s.what == "patient"}
		queued := p.someoneWaits(process)
		guest.visit = crowd.send(process, "/"+s.what, withHeader("Number", strconv.Itoa(len(p.guests))))
		p.guests = append(p.guests, guest)
		if guest.response != nil && !queued && p.taken(0) < p.limit {
			return fmt.Errorf("one was answered %d, and %d slots are taken", guest.response.Code, p.taken(0))
		}
	case "leave":
		if len(p.guests) > 0 {
			if guest := p.guests[s.pick%len(p.guests)]; guest.process.killed.IsZero() {
				guest.leave()
			}
		}
	case "pass":
		pass(s.time)
		if synctest.Wait(); s.time > partyPatience && p.taken(partyPatience) < p.limit {
			for _, process := range p.processes {
				if p.someoneWaits(process) {
					return fmt.Errorf("somebody waits, and %d slots are taken", p.taken(partyPatience))
				}
			}
		}
	case "kill":
		if process.link != nil && process.killed.IsZero() {
			process.left = p.count(process)
			process.killed = time.Now()
			process.down.Store(true)
		}
	}
	synctest.Wait()
	if inside := p.alive(); inside > p.limit {
		return fmt.Errorf("%d are in progress", inside)
	}
	return nil
}

// alive counts the requests in progress.
func (p *party) alive() (n int) {
	for _, process := range p.processes {
		if process.killed.IsZero() {
			n += p.count(process)
		}
	}
	return n
}

// taken counts the requests in progress and those whose process was killed less than a
// lease ago.
func (p *party) taken(more time.Duration) int {
	n := p.alive()
	for _, process := range p.processes {
		if time.Since(process.killed) < partyLease+more {
			n += process.left
		}
	}
	return n
}

func (p *party) count(process *member) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for number, guest := range p.guests {
		if p.inside[number] && guest.process == process {
			n++
		}
	}
	return n
}

func (p *party) someoneWaits(process *member) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for number, guest := range p.guests {
		if guest.process == process && process.killed.IsZero() && guest.patient && guest.response == nil && !p.inside[number] {
			return true
		}
	}
	return false
}

// end ends all requests and checks that all slots are free.
func (p *party) end(crowd *crowd) (broken error) {
	for _, guest := range p.guests {
		guest.leave()
	}
	crowd.all.Wait()
	pass(partyLease)
	for _, process := range p.processes {
		if !process.killed.IsZero() {
			continue
		}
		for n := range p.limit + 1 {
			guest := &partyGuest{visit: crowd.send(process, "/hasty"), process: process}
			defer guest.leave()
			if allowed := guest.response == nil; allowed != (n < p.limit) {
				return fmt.Errorf("at the end, request %d was allowed: %v", n+1, allowed)
			}
		}
		break
	}
	return nil
}

// The waiting requests of a killed process disappear with it, and Redis does not learn
// about the end of its requests.
func TestTheRequestsInProgressNeverExceedTheLimitAndNoSlotIsLost(t *testing.T) {
	for name, most := range map[string]int{"memory": 1, "Redis": 3} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				p := &party{limit: rapid.IntRange(1, 4).Draw(rt, "limit")}
				processes, steps := rapid.IntRange(1, most).Draw(rt, "processes"), drawSteps(rt)
				var broken error
				synctest.Test(t, func(t *testing.T) {
					if name == "Redis" {
						p.cluster = newCluster(t, p.limit)
					}
					p.open(t, processes)
					crowd := newCrowd()
					for i, s := range steps {
						if broken = p.take(crowd, s); broken != nil {
							broken = fmt.Errorf("step %d, %+v, limit %d: %w", i, s, p.limit, broken)
							break
						}
					}
					if ended := p.end(crowd); broken == nil {
						broken = ended
					}
					crowd.all.Wait()
				})
				require.NoError(rt, broken)
			})
		})
	}
}
