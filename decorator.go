package ratelimiter

import (
	"time"

	"github.com/gin-gonic/gin"
)

// RateLimit is the middleware: at most limit requests in per, for each route and
// client address unless options say otherwise. It can stand on a route, on a
// group and, with engine.Use, on all routes registered afterwards. Each route counts
// by itself, and so does each method of engine.Any: with WithKey(ByPath) all methods
// of a path share a counter, with WithKey(Shared("api")) all routes do.
//
// The limit is an int, an int64, a func(*gin.Context) int, or a func(c *gin.Context,
// key, scope string) int, which is called for each request. 0 rejects every request, a
// negative number (Unlimited) does not limit, and a function may return any
// number: those above backends.MaxLimit count as that. A limit that changes
// applies at once and forgets nothing. (A token bucket pays back at the new pace what
// was taken before, so a raised limit frees nothing at once there.)
//
// The period is backends.MinPer to backends.MaxPer. RateLimit panics on a wrong
// type or a number out of range, as Gin does for a bad route.
//
// Where several stand on the way of a request, each has counters of its own, unless
// they have the same WithKey, and a request that a later one rejects costs the earlier
// ones nothing. Limits in one RateLimit (see WithLimit) are decided in one question to
// the backend.
//
// A RateLimit that a handler calls itself, limiter.RateLimit(...)(c), limits as usual.
// But only one that stands on the route takes the place of the default limits, as it
// is looked for among the handlers of the route; and WithCountIf cannot see what
// comes of the request then.
//
// A request over the limit is answered 429 with Retry-After and a problem
// document (RFC 9457). It is answered 500 if InitApp was never called.
func (r *RateLimiter) RateLimit(limit any, per time.Duration, options ...Option) gin.HandlerFunc {
	if r == nil {
		panic("ratelimiter: RateLimit was called on a nil *RateLimiter; check the error of New")
	}
	return r.middleware(newRule(limit, per, options))
}

// RateLimits is RateLimit with a list of limits that differ in period. A request takes from
// all of them, or from none if any of them rejects it. The list is one of these:
//
//   - a text that ParseLimits reads, such as "100/minute; 5/second"
//   - a []Limit, with one limit or more and no period twice
//   - a func(*gin.Context) []Limit, which is called for each request, so that the plan of a
//     customer is a list of limits
//
// The options are those of RateLimit and apply to every limit of the list. WithLimit adds
// a limit to it, with a key or a scope of its own for instance. WithName and WithBurst are
// about one limit and panic; give them to RateLimit and WithLimit.
//
// What a function returns counts as follows. An empty list does not limit the request, and
// neither does a negative limit. A limit over backends.MaxLimit counts as that. Of two
// limits for one period the smaller counts. A period out of range (backends.MinPer to
// backends.MaxPer) cannot be counted: the request is answered 500, or goes on without that
// limit where the limits reject nobody (WithShadow, WithObserveOnly). The last two cases are
// mistakes and reported through c.Error. A limit that the function no longer returns
// keeps what was used of it, for as long as its period remembers, and applies with that
// when it comes back.
//
// Text and []Limit are checked when the route is registered, where RateLimits panics on a
// mistake, and are as fast as limits that WithLimit adds.
func (r *RateLimiter) RateLimits(limits any, options ...Option) gin.HandlerFunc {
	if r == nil {
		panic("ratelimiter: RateLimits was called on a nil *RateLimiter; check the error of New")
	}
	return r.middleware(newListRule(limits, options))
}

// middleware makes a rule the handler of a route. Gin tells the handlers of a route by
// the names of their functions, and nothing else: so what the handlers before it must know
// of a rule is in the name of the function that returns it. See kindsOf.
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

// limiting and the next three are not inlined, which would change the names.
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

// Exempt marks a route that default and application limits do not apply to. Limits of
// its own do. With several RateLimiters it is exempt from those of all, as the
// RateLimit of any takes the place of the default limits of all.
//
// It is looked for among the handlers of the route. A handler may also call it itself,
// limiter.Exempt()(c): in a middleware before InitApp's it exempts the request, and later
// it refunds what the default and application limits have taken.
//
//go:noinline
func (r *RateLimiter) Exempt() gin.HandlerFunc {
	return func(c *gin.Context) {
		c.Set(exemptKey{}, true)
		last := lastRequest(c)
		for q := last; q != nil; q = q.earlier {
			if q.isConfigured() {
				_ = q.refund(c) // what cannot be refunded stays charged
			}
		}
		last.rewriteHeaders(c)
	}
}
