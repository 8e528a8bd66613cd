package dashboard

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
)

// near is how many clients are kept for each limit.
const near = 5

// closest keeps the clients that have used most of a limit, while a page is open. A client
// that has used all of it leaves the list, as it is about to be among those that are
// rejected. It stays if the limit is a shadow, which rejects no one.
type closest struct {
	mu   sync.Mutex
	list [near]nearClient
	used int
}

type nearClient struct {
	hash             uint64
	scope            scopeText
	limit, remaining int64
	reset            int64 // nanoseconds since 1970
}

// share is how much of the limit is used, from 0 to 1.
func (c *nearClient) share() float64 { return shareOf(c.limit, c.remaining) }

func shareOf(limit, remaining int64) float64 {
	if limit <= 0 {
		return 1
	}
	return max(0, 1-float64(remaining)/float64(limit))
}

// most is the most that can remain of a limit.
func most(info *ratelimiter.Info) int64 { return cmp.Or(info.Burst, info.Limit) }

// note records how much a client has left. It samples: a decision that arrives while
// another one is being noted is skipped.
func (c *closest) note(hash uint64, info *ratelimiter.Info) {
	if !c.mu.TryLock() {
		return
	}
	defer c.mu.Unlock()
	if info.Remaining <= 0 && !info.Shadow {
		c.remove(hash)
		return
	}
	at := slices.IndexFunc(c.list[:c.used], func(one nearClient) bool { return one.hash == hash })
	if at < 0 {
		if at = c.place(shareOf(most(info), info.Remaining)); at < 0 {
			return
		}
		c.list[at].hash = hash
		c.list[at].scope.set(info.Scope)
	}
	one := &c.list[at]
	one.limit, one.remaining, one.reset = most(info), info.Remaining, info.Reset.UnixNano()
}

// place is a free place or the place of a client with a lower share; -1 if there is none.
func (c *closest) place(share float64) int {
	if c.used < near {
		c.used++
		return c.used - 1
	}
	lowest := 0
	for i := range c.list {
		if c.list[i].share() < c.list[lowest].share() {
			lowest = i
		}
	}
	if c.list[lowest].share() >= share {
		return -1
	}
	return lowest
}

// now lists the clients, those with the highest share first, and drops those whose full
// limit is available again.
func (c *closest) now(at time.Time) []nearClient {
	c.mu.Lock()
	defer c.mu.Unlock()
	left := slices.DeleteFunc(c.list[:c.used], func(one nearClient) bool { return one.reset <= at.UnixNano() })
	c.used = len(left)
	list := slices.Clone(left)
	slices.SortFunc(list, func(a, b nearClient) int {
		return cmp.Or(cmp.Compare(b.share(), a.share()), strings.Compare(a.scope.String(), b.scope.String()))
	})
	return list
}

// forget removes a client whose limit was reset.
func (c *closest) forget(hash uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(hash)
}

// remove removes a client. c.mu is held.
func (c *closest) remove(hash uint64) {
	c.used = len(slices.DeleteFunc(c.list[:c.used], func(one nearClient) bool { return one.hash == hash }))
}

func (c *closest) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.used = 0
}
