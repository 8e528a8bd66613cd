package ratelimiter

import (
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/internal/headers"
	"github.com/gin-ratelimiter/ratelimiter/internal/period"
)

// This file implements RateLimits. A list that is known at registration becomes the
// limits of a rule, as if it had been added with WithLimit. For a function, the rule
// contains a single limit without a period, and each period that the function returns is
// bound to the route when it first occurs.

// listName is the name of a function's list when the function was not called.
const listName = "limits"

// newListRule is newRule for a list of limits.
func newListRule(limits any, options []Option) *rule {
	r := &rule{}
	switch limits := limits.(type) {
	case string:
		list, err := ParseLimits(limits)
		if err != nil {
			panic(fmt.Sprintf("ratelimiter: RateLimits: %v", err))
		}
		r.addAll(list)
	case []Limit:
		r.addAll(limits)
	case func(*gin.Context) []Limit:
		if limits == nil {
			panic("ratelimiter: RateLimits was given a nil function; pass a list or a function that returns one")
		}
		r.limits = []limitRule{{listFunc: limits, name: listName, cost: 1, inList: true}}
	default:
		panic(fmt.Sprintf(`ratelimiter: the limits of RateLimits are of type %T; pass a string such as "100/minute; 5/second", a []ratelimiter.Limit or a func(*gin.Context) []ratelimiter.Limit`, limits))
	}
	r.apply("RateLimits", options)
	return r.finish()
}

// addAll adds the limits of a list that is known at registration.
func (r *rule) addAll(list []Limit) {
	if len(list) == 0 {
		panic("ratelimiter: RateLimits was given an empty list; add a limit or remove the middleware")
	}
	for i, limit := range list {
		r.add("RateLimits", limit.Limit, limit.Per)
		r.limits[i].inList = true
		for _, before := range list[:i] {
			if before.Per == limit.Per {
				panic(fmt.Sprintf("ratelimiter: RateLimits was given two limits per %v, %d and %d; remove one of them", limit.Per, before.Limit, limit.Limit))
			}
		}
	}
}

// addList adds the limits that a function returns. It fails if one of them cannot be
// counted.
func (q *request) addList(c *gin.Context, i int, scope string) error {
	l := &q.limits[i]
	list := l.listFunc(c)
	for n, limit := range list {
		switch {
		case limit.Limit < 0:
			continue
		case limit.Per < backends.MinPer || limit.Per > backends.MaxPer:
			err := fmt.Errorf("the rate limiter cannot count the limit of %d per %v that a function returned on %s: the period must be from %v to %v; a bare number is in nanoseconds", limit.Limit, limit.Per, q.routeName, backends.MinPer, backends.MaxPer)
			if !l.shadow && !q.neverReject {
				return err
			}
			_ = c.Error(err) // returns its argument
			continue
		case isSuperseded(list, n):
			_ = c.Error(fmt.Errorf("ratelimiter: a function returned two limits per %v on %s; %d is ignored, because the smaller limit applies", limit.Per, q.routeName, limit.Limit))
			continue
		}
		bound := q.listedLimit(i, limit.Per)
		quota, key := q.newQuota(c, bound, scope)
		quota.Limit = min(limit.Limit, backends.MaxLimit)
		q.addQuota(c, bound, quota, key)
	}
	return nil
}

// isSuperseded reports whether another limit of the list has the same period as limit n
// and applies instead.
func isSuperseded(list []Limit, n int) bool {
	for m, other := range list {
		if m == n || other.Per != list[n].Per || other.Limit < 0 {
			continue
		}
		if other.Limit < list[n].Limit || other.Limit == list[n].Limit && m < n {
			return true
		}
	}
	return false
}

// listedLimits are the limits that a function has returned on a route, bound to it. The
// zero value is ready to use. It is safe for concurrent use.
type listedLimits struct {
	byPer atomic.Pointer[map[time.Duration]*boundLimit] // copy-on-write
	mu    sync.Mutex                                    // serialises writers
}

// maxListed is how many periods are kept. Further periods, which a function can produce
// without end, are bound again for each request.
const maxListed = 64

// listedLimit returns the limit with a period in the list of limit i.
func (b *binding) listedLimit(i int, per time.Duration) *boundLimit {
	known := b.limits[i].listed
	if bound := known.of(per); bound != nil {
		return bound
	}
	bound := b.bindListed(i, per)
	known.mu.Lock()
	defer known.mu.Unlock()
	byPer := map[time.Duration]*boundLimit{}
	if before := known.byPer.Load(); before != nil {
		if len(*before) >= maxListed {
			return bound
		}
		byPer = maps.Clone(*before)
	}
	if byPer[per] == nil {
		byPer[per] = bound
		known.byPer.Store(&byPer)
	}
	return byPer[per]
}

func (ls *listedLimits) of(per time.Duration) *boundLimit {
	if byPer := ls.byPer.Load(); byPer != nil {
		return (*byPer)[per]
	}
	return nil
}

// bindListed binds a limit of a list to its period.
func (b *binding) bindListed(i int, per time.Duration) *boundLimit {
	bound, rule := b.limits[i], *b.limits[i].limitRule
	rule.per, rule.name = per, b.listedName(i, per)
	key := bound.quota.Key
	bound.limitRule, bound.name, bound.quota, bound.listed = &rule, rule.name, rule.quota(b.settings), nil
	bound.quota.Key = key
	return &bound
}

// listedName returns the name of a period in the list of limit i.
func (b *binding) listedName(i int, per time.Duration) string {
	name := headers.PolicyName(per)
	if b.limits[i].shadow {
		name = shadowPrefix + name
	}
	return uniqueName(name, func(name string) bool { return b.hasName(name, i) })
}

// mayHaveName reports whether limit i has a name, or whether a limit of its list could
// have it. Later limits on the route avoid such a name, whether or not the function ever
// returns that limit.
func (b *binding) mayHaveName(i int, name string) bool {
	l := &b.limits[i]
	if l.listed == nil {
		return l.name == name
	}
	base := name[:max(strings.LastIndexByte(name, '-'), 0)] // without the number of uniqueName
	return b.isListedName(i, name, name) || b.isListedName(i, base, name)
}

// isListedName reports whether base is the name of a period, and name is the name of the
// limit with that period on this route.
func (b *binding) isListedName(i int, base, name string) bool {
	if b.limits[i].shadow {
		base = strings.TrimPrefix(base, shadowPrefix)
	}
	per, err := period.Parse(strings.TrimPrefix(base, headers.PolicyPrefix))
	return err == nil && b.listedName(i, per) == name
}
