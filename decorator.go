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

// middleware makes a rule the handler of a route.
func (r *RateLimiter) middleware(rule *rule) gin.HandlerFunc {
	r.register(rule)
	if rule.alwaysAsks() {
		return r.limiting(rule)
	}
	return r.mayLimit(rule)
}

// limiting is the middleware of a rule that can reject every request, and so always
// takes the place of the default limits. Gin tells the handlers of a route by the names
// of their functions, so these are not inlined, which would change the names; see kindsOf.
//
//go:noinline
func (r *RateLimiter) limiting(rule *rule) gin.HandlerFunc {
	return func(c *gin.Context) { r.limit(c, rule) }
}

// mayLimit is the middleware of a rule that cannot reject some or all requests.
//
//go:noinline
func (r *RateLimiter) mayLimit(rule *rule) gin.HandlerFunc {
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
		s := r.settings.Load()
		if s == nil || !s.enabled || !s.limits.Load().any() {
			return
		}
		c.Set(exemptKey{}, true)
		for q := lastRequest(c); q != nil; q = q.earlier {
			if q.isConfigured() && q.limiter == r {
				_ = q.refund(c) // what cannot be refunded stays charged
			}
		}
	}
}
