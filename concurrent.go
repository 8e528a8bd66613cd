package ratelimiter

import (
	"fmt"
	"time"

	"github.com/gin-gonic/gin"
)

const (
	// concurrentName is the default name of a Concurrent.
	concurrentName = "concurrent"

	defaultLease = 30 * time.Second
	minLease     = time.Second
	maxLease     = time.Hour
)

// Concurrent returns a middleware that limits how many requests are in progress at the
// same time, for each route and each client address unless options say otherwise. A
// request takes a slot in the middleware and frees it when the handlers after it have
// returned, even if they panic, stream or hijack the connection. If the client
// disconnects, the context of the request ends, but the slot is only freed when the
// handler returns. A handler that leaves its work to another goroutine frees the slot
// when it returns.
//
// The limit is as for RateLimit: 0 rejects every request, and a negative limit
// (Unlimited) allows every request. A limit that changes applies to the next requests. A
// request over the limit is answered with status 429. It is not known when a slot will be
// free, so Retry-After is 1 second, the minimum. With WithWait, requests wait for a slot
// in the order of arrival, at most 1,000 for the same slots and 10,000 in total.
//
// With a memory backend, requests are simply counted, and the limit is exact. With a
// shared backend such as Redis, the limit covers all processes. Each slot is then a lease
// (see WithLease) that is renewed while the request is in progress, so the slots of a
// process that was killed are free after one lease, or, for a limit over 128, up to 1/128
// later. The limit is only exceeded if leases are lost: if the backend loses its data
// (until the processes renew their leases), if its clock is set forward, or if a process
// cannot reach it for longer than a lease. A call that fails may occupy a slot for one
// lease. While the backend is unavailable, RATELIMITER_ON_ERROR decides; with "fallback",
// each process keeps counting its requests and registers them when the backend is back. A
// custom backend has to return receipts for the sliding log (see backends.Verdict).
//
// Concurrent accepts the options WithKey, WithScope, WithName, WithSkip, WithShadow,
// WithObserveOnly, WithOverLimit, WithWait, WithHeaders and WithLease, and panics with
// any other. Concurrents with the same WithKey and the same lease share their slots, and
// a request takes one of them only once. A Concurrent never shares a counter with a
// RateLimit, does not replace the default limits, and does not count as a RateLimit of
// the route. Reset frees no slot. After ResetAll, a limit in Redis may be exceeded until
// the leases are renewed. WithBan and Ban do not apply. Status and Peek report the free
// slots.
//
// In the RateLimit headers, the limit is called "concurrent" and has
// qu="concurrent-requests" and no time. The X-RateLimit headers and those of drafts 6 and
// 7 leave it out, because they describe a window. In Info, Per is 0 and Reset is the zero
// time.
//
// Register it on a route, a group or the engine. It panics if a handler calls it
// directly.
func (r *RateLimiter) Concurrent(limit any, options ...Option) gin.HandlerFunc {
	if r == nil {
		panic("ratelimiter: Concurrent was called on a nil *RateLimiter; check the error of New")
	}
	rule := newConcurrent(limit, options)
	r.register(rule)
	return r.inProgress(rule)
}

// inProgress returns the middleware of a Concurrent. See limiting for why it is not
// inlined.
//
//go:noinline
func (r *RateLimiter) inProgress(rule *rule) gin.HandlerFunc {
	return func(c *gin.Context) { r.limit(c, rule) }
}

// WithLease sets the length of the leases of a Concurrent, from a second to an hour; the
// default is 30 seconds. It is how long the slots of a killed process stay occupied. A
// lease is renewed every third of its length, with one call for all requests of a limit,
// key and scope; shorter requests need no renewal. It should be many times as long as
// RATELIMITER_TIMEOUT, and has no effect with a memory backend.
func WithLease(length time.Duration) Option {
	if length < minLease || length > maxLease {
		panic(fmt.Sprintf("ratelimiter: WithLease(%v) must be from %v to %v; a bare number is in nanoseconds", length, minLease, maxLease))
	}
	return rateLimitOption("WithLease", func(r *rule) {
		if !r.isConcurrent() {
			panic("ratelimiter: WithLease is an option of Concurrent, not of RateLimit; remove it")
		}
		r.limits[0].per = length
	})
}

func newConcurrent(limit any, options []Option) *rule {
	r := &rule{}
	r.add("Concurrent", limit, defaultLease)
	first := &r.limits[0]
	first.concurrent, first.name = true, concurrentName
	r.apply("Concurrent", options)
	return r.finish()
}

func (r *rule) isConcurrent() bool { return r.limits[0].concurrent }

// checkConcurrent rejects options that do not apply to requests in progress, and sets the
// algorithm.
func (r *rule) checkConcurrent() {
	if !r.isConcurrent() {
		return
	}
	l := &r.limits[0]
	const defaultsStay = "it does not affect the default limits; remove the option"
	for _, option := range []struct {
		given        bool
		name, remedy string
	}{
		{len(r.limits) > 1, "WithLimit", "register a separate RateLimit or Concurrent"},
		{l.hasCost, "WithCost", "each request takes one slot; remove the option"},
		{r.countIf != nil, "WithCountIf", "every request counts until it ends; remove the option"},
		{r.ban != nil, "WithBan", "use it with a RateLimit"},
		{l.burst > 0, "WithBurst", "the limit is the maximum at the same time; remove the option"},
		{l.algorithm != nil, "WithAlgorithm", "there is only one way to count requests in progress; remove the option"},
		{r.defaults == defaultsAlways, "WithDefaults", defaultsStay},
		{r.defaults == defaultsNever, "WithoutDefaults", defaultsStay},
		{r.withoutApplication, "WithoutApplication", "use it with a RateLimit"},
		{r.withoutGroup, "WithoutGroup", "use it with a RateLimit"},
	} {
		if option.given {
			panic(fmt.Sprintf("ratelimiter: %s is not an option of Concurrent; %s", option.name, option.remedy))
		}
	}
	log := SlidingLog
	l.algorithm = &log
}

// holdSlot continues with the handlers if the request gets a slot, and frees the slot
// when they return or panic.
func (q *request) holdSlot(c *gin.Context, texts *headerTexts) (proceed bool) {
	defer func() { q.decision.limits[0].slot.Free() }()
	if proceed = q.decide(c, texts); proceed {
		c.Next()
	}
	return proceed
}

// takeSlot takes a slot, and waits for it if the rule has WithWait.
func (q *request) takeSlot(c *gin.Context) (waited time.Duration, err error) {
	s := q.decision
	s.limits[0].slot, waited, err = q.settings.slots.Take(c.Request.Context(), &s.quotas[0], &s.verdicts[0], q.longestWait)
	return waited, err
}
