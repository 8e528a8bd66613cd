package ratelimiter

import (
	"fmt"
	"time"

	"github.com/gin-gonic/gin"
)

const (
	// concurrentName is the name of a limit on requests in progress that was given none.
	concurrentName = "concurrent"

	usualLease    = 30 * time.Second
	shortestLease = time.Second
	longestLease  = time.Hour
)

// Concurrent is the middleware that limits the requests in progress: at most limit of
// them at once, for each route and client address unless options say otherwise. A request
// holds a place from here until the handlers behind have ended, also if they panic, stream,
// or hijack the connection, and holds it however long that takes. When a client leaves,
// the context of its request ends, and the place comes back when the handler heeds that:
// work that goes on counts, whoever still waits for it. A handler that leaves work to
// another goroutine gives its place back when it returns.
//
// The limit is what RateLimit takes. 0 rejects every request, a negative number
// (Unlimited) does not limit. A limit that changes applies to those who come next. A
// request over the limit is answered 429. Nobody knows when a place comes back, so
// Retry-After is 1, the shortest there is; with WithWait requests wait in the order of
// their arrival, a thousand of them for the same places at most, and ten thousand in all.
//
// In memory the limit is exact: requests are counted, without a clock. With a shared
// backend such as Redis it holds over all processes, and each place is a lease (see
// WithLease) that is renewed while the request is in progress. So the places of a process
// that was killed come back within one lease, and by up to 1/128 of it later where the
// limit is more than 128. The limit is exceeded only if leases are lost: if the backend
// loses its data (until processes renew, a third of a lease later or with their next
// request), if its clock is set forward or a process cannot reach it for longer than a
// lease. A place that a failed question may have taken is free again after one lease.
// While the backend is away, RATELIMITER_ON_ERROR says what happens; with "fallback" each
// process goes on counting the requests that it has, and tells the backend of them when
// that is back. A backend of one's own must give receipts for the sliding log (see
// backends.Verdict).
//
// Of the options it takes WithKey, WithScope, WithName, WithSkip, WithShadow,
// WithObserveOnly, WithOverLimit, WithWait, WithHeaders and WithLease; others panic.
// With WithKey, Concurrents on the same key share their places, if their lease is the
// same too, and a request holds one place there. Keys never meet those of a RateLimit,
// and a Concurrent neither takes the place of the default limits nor is it counted where
// several RateLimits stand on a route. Reset does not end requests, and so frees no
// place; after ResetAll other processes may exceed a limit in Redis until leases are renewed.
// Bans are for RateLimits. Status and Peek tell of the places that are free.
//
// In the RateLimit headers the limit is called "concurrent", with
// qu="concurrent-requests" and no time. It is not in the X-RateLimit headers and those of
// drafts 6 and 7, which tell of a window. In Info, Per is 0 and Reset the zero time.
//
// It must stand on the route, a group or the engine. A handler that calls it itself panics.
func (r *RateLimiter) Concurrent(limit any, options ...Option) gin.HandlerFunc {
	if r == nil {
		panic("ratelimiter: Concurrent was called on a nil *RateLimiter; check the error of New")
	}
	rule := newConcurrent(limit, options)
	r.register(rule)
	return r.inProgress(rule)
}

// inProgress is the middleware of a Concurrent; see limiting for why it is not inlined.
//
//go:noinline
func (r *RateLimiter) inProgress(rule *rule) gin.HandlerFunc {
	return func(c *gin.Context) { r.limit(c, rule) }
}

// WithLease sets how long the places of a process that was killed stay taken, 30 seconds
// unless it is given, and a second to an hour. It is an option of Concurrent, and
// means nothing to a backend in memory. Leases are renewed three times in their length,
// all of a limit, key and scope in one question; requests that end before cost none. A
// lease should be many times as long as RATELIMITER_TIMEOUT.
func WithLease(length time.Duration) Option {
	if length < shortestLease || length > longestLease {
		panic(fmt.Sprintf("ratelimiter: WithLease(%v) must be from %v to %v; a bare number counts nanoseconds", length, shortestLease, longestLease))
	}
	return whole("WithLease", func(r *rule) {
		if !r.isConcurrent() {
			panic("ratelimiter: WithLease is an option of Concurrent, not of RateLimit; leave it out")
		}
		r.limits[0].per = length
	})
}

func newConcurrent(limit any, options []Option) *rule {
	r := &rule{}
	r.add("Concurrent", limit, usualLease)
	first := &r.limits[0]
	first.concurrent, first.name = true, concurrentName
	r.apply("Concurrent", options)
	return r.finish()
}

func (r *rule) isConcurrent() bool { return r.limits[0].concurrent }

// checkConcurrent rejects the options that make no sense for requests in progress, and
// sets how their places are counted.
func (r *rule) checkConcurrent() {
	if !r.isConcurrent() {
		return
	}
	l := &r.limits[0]
	const defaultsStay = "a Concurrent leaves the default limits as they are; leave it out"
	for _, option := range []struct {
		given        bool
		name, remedy string
	}{
		{len(r.limits) > 1, "WithLimit", "write a RateLimit or a Concurrent of its own beside this one"},
		{l.hasCost, "WithCost", "each request is one; leave it out"},
		{r.countIf != nil, "WithCountIf", "every request counts until it ends; leave it out"},
		{r.ban != nil, "WithBan", "put it on a RateLimit beside this one"},
		{l.burst > 0, "WithBurst", "the limit is the most at once; leave it out"},
		{l.algorithm != nil, "WithAlgorithm", "requests in progress are counted in one way only; leave it out"},
		{r.defaults == defaultsBeside, "WithDefaults", defaultsStay},
		{r.defaults == defaultsNever, "WithoutDefaults", defaultsStay},
		{r.withoutApplication, "WithoutApplication", "put it on a RateLimit beside this one"},
		{r.withoutGroup, "WithoutGroup", "put it on a RateLimit beside this one"},
	} {
		if option.given {
			panic(fmt.Sprintf("ratelimiter: %s is no option of Concurrent; %s", option.name, option.remedy))
		}
	}
	log := SlidingLog
	l.algorithm = &log
}

// holdPlace lets a request that gets a place go on, and gives the place back when the
// handlers have ended, whatever ends them.
func (q *request) holdPlace(c *gin.Context, texts *headerTexts) (goesOn bool) {
	defer func() { q.several.asked[0].place.GiveBack() }()
	if goesOn = q.decide(c, texts); goesOn {
		c.Next()
	}
	return goesOn
}

// takePlace takes a place, and waits for it if the rule says so.
func (q *request) takePlace(c *gin.Context) (waited time.Duration, err error) {
	ctx := c.Request.Context()
	s := q.several
	s.asked[0].place, waited, err = q.settings.places.Take(ctx, &s.quotas[0], &s.verdicts[0], q.longestWait)
	if err != nil && ctx.Err() != nil {
		q.earlier.refundAll(c)
	}
	return waited, err
}
