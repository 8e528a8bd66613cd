package ratelimiter

import (
	"time"

	"github.com/gin-gonic/gin"
)

// RateLimit returns a middleware that allows at most limit requests in per, for each
// route and each client address. Options change the key, the scope, the cost, the
// response and more. The middleware can be registered on a route, on a group, or with
// engine.Use on all routes that are registered later. Each route counts separately, and
// so does each method of engine.Any. To share a counter, use WithKey(ByPath) for all
// methods of a path, or WithKey(Shared("api")) for any routes.
//
// The limit is an int, an int64, a func(*gin.Context) int, or a func(c *gin.Context, key,
// scope string) int; a function is called for each request. A limit of 0 rejects every
// request, and a negative limit (Unlimited) allows every request. The maximum is
// backends.MaxLimit, which is 10^13; a higher result of a function is treated as the
// maximum. When the limit of a client changes, the new limit applies at once to what it
// has already used. (The token bucket is an exception: it refills at the new rate, so a
// raised limit frees nothing at once.)
//
// The period per is from backends.MinPer to backends.MaxPer, a millisecond to 366 days.
// RateLimit panics if an argument has the wrong type or is out of range, as Gin does for
// an invalid route.
//
// A request may pass several RateLimits. Each has its own counter, unless they use the
// same WithKey. If one of them rejects the request, the units that the earlier ones
// charged are refunded. The limits within one RateLimit (see WithLimit) are decided in a
// single call to the backend.
//
// A handler may also call a RateLimit directly: limiter.RateLimit(...)(c). It limits as
// usual, with two exceptions: it does not replace the default limits, which only a
// RateLimit registered on the route does, and it panics with WithCountIf, because it
// cannot see the outcome of the request.
//
// A request over the limit is answered with status 429, Retry-After and a problem
// document (RFC 9457). Before InitApp, requests are answered with status 500.
func (r *RateLimiter) RateLimit(limit any, per time.Duration, options ...Option) gin.HandlerFunc {
	if r == nil {
		panic("ratelimiter: RateLimit was called on a nil *RateLimiter; check the error of New")
	}
	return r.middleware(newRule(limit, per, options))
}

// RateLimits is RateLimit for a list of limits with different periods. A request is
// charged to all of them, or to none if any of them rejects it. The list is one of these:
//
//   - a string that ParseLimits reads, such as "100/minute; 5/second"
//   - a []Limit with at least one limit and no period twice
//   - a func(*gin.Context) []Limit, which is called for each request, for example to look
//     up a customer's plan
//
// The options are those of RateLimit and apply to every limit of the list. WithLimit adds
// another limit, for example one with its own key or scope. WithName and WithBurst panic,
// because they describe a single limit; use them with RateLimit and WithLimit.
//
// A function may return any list. An empty list and negative limits do not limit the
// request. A limit over backends.MaxLimit is treated as that maximum. Two results are
// mistakes, and are reported through c.Error. If two limits have the same period, the
// smaller one applies. If a period is not from backends.MinPer to backends.MaxPer, the
// request is answered with status 500, or continues without that limit if the limits
// never reject (WithShadow, WithObserveOnly). A limit that the function stops returning
// keeps its counter until the period has passed, and continues with it when the function
// returns it again.
//
// A string or a []Limit is checked when the route is registered, and RateLimits panics if
// it is invalid. Such a list is as fast as limits that were added with WithLimit.
func (r *RateLimiter) RateLimits(limits any, options ...Option) gin.HandlerFunc {
	if r == nil {
		panic("ratelimiter: RateLimits was called on a nil *RateLimiter; check the error of New")
	}
	return r.middleware(newListRule(limits, options))
}

// middleware wraps a rule in a handler. Gin only exposes the function names of a route's
// handlers, so the options that other handlers have to know about are encoded in the name
// of the function that returns it. See findHandlers.
func (r *RateLimiter) middleware(rule *rule) gin.HandlerFunc {
	r.register(rule)
	switch {
	case rule.withoutGroup && rule.withoutApplication:
		return r.limitingWithoutGroupAndApplication(rule)
	case rule.withoutGroup:
		return r.limitingWithoutGroup(rule)
	case rule.withoutApplication:
		return r.limitingWithoutApplication(rule)
	}
	return r.limiting(rule)
}

// limiting and the three functions below must not be inlined: that would change their
// names.
//
//go:noinline
func (r *RateLimiter) limiting(rule *rule) gin.HandlerFunc {
	return func(c *gin.Context) { r.limit(c, rule) }
}

//go:noinline
func (r *RateLimiter) limitingWithoutApplication(rule *rule) gin.HandlerFunc {
	return func(c *gin.Context) { r.limit(c, rule) }
}

//go:noinline
func (r *RateLimiter) limitingWithoutGroup(rule *rule) gin.HandlerFunc {
	return func(c *gin.Context) { r.limit(c, rule) }
}

//go:noinline
func (r *RateLimiter) limitingWithoutGroupAndApplication(rule *rule) gin.HandlerFunc {
	return func(c *gin.Context) { r.limit(c, rule) }
}

// Exempt returns a middleware that exempts a route from the default and application
// limits of all RateLimiters. RateLimits on the route still apply.
//
// The limiter finds it among the handlers of the route. A handler may also call it
// directly: limiter.Exempt()(c). In a middleware that runs before the limits, this
// exempts the request; later, it refunds what the default and application limits have
// charged.
//
//go:noinline
func (r *RateLimiter) Exempt() gin.HandlerFunc {
	return func(c *gin.Context) {
		c.Set(exemptKey{}, true)
		last := lastRequest(c)
		for q := last; q != nil; q = q.earlier {
			if q.isConfigured() {
				_ = q.refund(c) // if the backend fails, the units stay charged
			}
		}
		last.rewriteHeaders(c)
	}
}
