package ratelimiter

import (
	"fmt"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/internal/headers"
)

// Algorithm is how a limit is counted: SlidingWindow, FixedWindow, SlidingLog or
// TokenBucket.
type Algorithm = backends.Algorithm

// The algorithms. The bounds hold for any arrival times and costs.
const (
	// SlidingWindow is the default. It counts two windows and weights the older one by the
	// part of it that is still in the period. It allows at most twice the limit in any
	// period, and at most the limit in one burst.
	SlidingWindow = backends.SlidingWindow

	// FixedWindow counts in windows that are aligned to the Unix epoch. It allows at most
	// twice the limit in any period.
	FixedWindow = backends.FixedWindow

	// SlidingLog keeps the time of each request. It never allows more than the limit in
	// any period. If the limit is over 128, a request counts for up to 1/128 of the period
	// longer.
	SlidingLog = backends.SlidingLog

	// TokenBucket refills evenly over the period. It allows at most the burst (see
	// WithBurst) plus the limit in any period.
	TokenBucket = backends.TokenBucket
)

// Option changes how a RateLimit, RateLimits or Concurrent works. Most options are also
// accepted by WithLimit and by RATELIMITER_DEFAULT_OPTIONS and
// RATELIMITER_APPLICATION_OPTIONS; where an option does not fit, it panics or InitApp
// returns an error.
type Option func(*rule)

// WithKey sets what is limited; the default is the route. key is Shared, ByPath, ByParam
// or another function of the request. If there are several functions, their results are
// joined. An empty result means the route.
//
// All limits with the same key share one counter for each scope, algorithm and period, no
// matter where they are registered. If a request passes several of them, it pays once: a
// later limit only charges the amount by which its cost exceeds the cost that was already
// charged, and the strictest limit decides. (Token buckets of different sizes should not
// share a key, because each measures the used units in time, at its own rate.)
func WithKey(key ...func(*gin.Context) string) Option {
	mustFuncs("WithKey", key)
	return func(r *rule) {
		r.rejectInConfig("WithKey", "whose keys are the route and the application")
		r.limits[0].key = key
	}
}

// WithScope sets who is limited; the default is the client's IP address. scope is
// ByHeader, ByContext, ByEveryone or another function of the request. If there are
// several functions, their results are joined.
//
// If a function returns "", the scope is "address:" followed by the client address; a
// function cannot return such a scope itself. A scope that is longer than 128 bytes or
// contains unprintable characters is replaced by its hash, also in Info. Reset and Status
// accept both the original and the hash.
func WithScope(scope ...func(*gin.Context) string) Option {
	mustFuncs("WithScope", scope)
	return func(r *rule) { r.limits[0].scope = scope }
}

// WithSkip skips the limits of the RateLimit if skip returns true: the request is charged
// nothing, and the response has no headers of these limits. Other limits on the route
// still apply. If WithSkip is given several times, one true result is enough. See also
// RateLimiter.FromNetworks.
func WithSkip(skip func(*gin.Context) bool) Option {
	mustFunc("WithSkip", skip)
	return rateLimitOption("WithSkip", func(r *rule) { r.skip = append(r.skip, skip) })
}

// WithCost sets how many units a request costs; the default is 1. cost is an int, an
// int64 or a func(*gin.Context) int, from 0 to backends.MaxLimit. The result of a
// function is clamped to that range. A request that costs 0 is allowed unless SetCost has
// charged more than the limit.
//
// If the cost is only known afterwards, pass an estimate here and correct it with SetCost
// or AddCost.
func WithCost(cost any) Option {
	units, costFunc := parseCost(cost)
	return func(r *rule) { r.limits[0].cost, r.limits[0].costFunc, r.limits[0].hasCost = units, costFunc, true }
}

// parseCost returns the cost of WithCost as a number or as a function of the request.
func parseCost(cost any) (units int64, costFunc func(*gin.Context) int64) {
	switch cost := cost.(type) {
	case int, int64:
		units, _ = wholeNumber(cost)
		if units < 0 || units > backends.MaxLimit {
			panic(fmt.Sprintf("ratelimiter: the cost of WithCost is %d; it must be from 0 to %d", cost, backends.MaxLimit))
		}
		return units, nil
	case func(*gin.Context) int:
		mustFunc("WithCost", cost)
		return 1, func(c *gin.Context) int64 { return min(max(0, int64(cost(c))), backends.MaxLimit) }
	}
	panic(fmt.Sprintf("ratelimiter: the cost of WithCost is of type %T; pass an int, an int64 or a func(*gin.Context) int", cost))
}

// WithCountIf decides after the handlers whether a request counts, for example to count
// only failed logins. The request is charged before the handlers run and refunded if
// counts returns false, so concurrent requests cannot exceed the limit.
//
// counts is called exactly once: also if a handler panics, if the client disconnects, and
// at the end of a stream or a hijacked connection. During a panic c.Writer.Status() is
// 500, unless the response has already begun. If the backend fails, the request stays
// charged.
func WithCountIf(counts func(*gin.Context) bool) Option {
	mustFunc("WithCountIf", counts)
	return rateLimitOption("WithCountIf", func(r *rule) { r.countIf = counts })
}

// WithShadow tries limits out: they are decided and recorded, but never reject a request,
// whatever RATELIMITER_ON_ERROR is. They have separate counters and are not in the
// headers. FromContext only reports them if there is no other limit; Peek always reports
// them. As an option of WithLimit, it adds a shadow limit to limits that reject, without
// a further call to the backend.
func WithShadow() Option {
	return func(r *rule) { r.limits[0].shadow = true }
}

// WithHeaders switches the X-RateLimit and RateLimit headers of a RateLimit on or off,
// whatever the configuration says. If it switches them on, the headers are those of
// RATELIMITER_HEADERS, or "x, draft-11" if that is "none". A rejection always has
// Retry-After.
func WithHeaders(send bool) Option {
	return rateLimitOption("WithHeaders", func(r *rule) { r.sendHeaders = &send })
}

// WithOverLimit sets the handler that answers a request over the limit; the default
// answer is a problem document. The status is 429 unless handler writes another one, and
// the handlers that follow do not run. With a nil handler no request is rejected: the
// handlers run, and FromContext reports that the limit was exceeded.
func WithOverLimit(handler gin.HandlerFunc) Option {
	return rateLimitOption("WithOverLimit", func(r *rule) { r.overLimit, r.neverReject = handler, handler == nil })
}

// WithObserveOnly lets every request through. The limit is counted and observed, and
// FromContext reports whether it was exceeded. It is the same as WithOverLimit(nil).
func WithObserveOnly() Option { return WithOverLimit(nil) }

// WithDefaults applies the default limits in addition to the limits of the route. Without
// it, they apply only if no RateLimit on the route can reject the request: if each of
// them has WithShadow or WithObserveOnly, is skipped, or is unlimited for this request.
// See also WithoutDefaults.
func WithDefaults() Option {
	return routeOption("WithDefaults", func(r *rule) { r.defaults = defaultsAlways })
}

// WithoutDefaults disables the default limits on a route, even if none of its RateLimits
// can reject the request. If several RateLimits on the way of a request use WithDefaults
// or WithoutDefaults, the last one decides.
func WithoutDefaults() Option {
	return routeOption("WithoutDefaults", func(r *rule) { r.defaults = defaultsNever })
}

// WithoutApplication disables the application limits of all RateLimiters on a route or a
// group. The application limits are decided before the RateLimit that has this option, so
// the limiter looks for it among the handlers of the route. A RateLimit that a handler
// calls directly cannot disable them.
func WithoutApplication() Option {
	return routeOption("WithoutApplication", func(r *rule) { r.withoutApplication = true })
}

// WithoutGroup replaces every RateLimit that comes earlier on the route: those of its
// groups and of engine.Use. The replaced limits and their options do not apply to this
// route and are not in the headers. As with WithoutApplication, the RateLimit has to be
// registered on the route. The replaced RateLimits keep their positions: the third
// RateLimit of a route uses the same counter with and without this option.
func WithoutGroup() Option {
	return routeOption("WithoutGroup", func(r *rule) { r.withoutGroup = true })
}

// WithAlgorithm sets the algorithm; the default is RATELIMITER_ALGORITHM.
func WithAlgorithm(algorithm Algorithm) Option {
	return func(r *rule) {
		if !algorithm.Valid() {
			panic(fmt.Sprintf("ratelimiter: WithAlgorithm(%d) is not an algorithm; use one of %s, for example ratelimiter.SlidingLog", algorithm, backends.AlgorithmNames()))
		}
		r.limits[0].algorithm = &algorithm
	}
}

// WithBurst sets how many units can be used at once, from 0 to backends.MaxLimit; the
// default and 0 mean the limit itself. Only the token bucket supports a burst, so
// WithBurst implies WithAlgorithm(TokenBucket). It applies to the first limit of a
// RateLimit, or to the limit of the WithLimit that it is given to.
func WithBurst(burst int) Option {
	return singleLimitOption("WithBurst", func(r *rule) {
		if burst < 0 || int64(burst) > backends.MaxLimit {
			panic(fmt.Sprintf("ratelimiter: the burst of WithBurst is %d; it must be from 0 to %d", burst, backends.MaxLimit))
		}
		r.limits[0].burst = int64(burst)
	})
}

// WithName sets the name of a limit in Info and in the RateLimit headers; the default is
// its period, such as "per-minute". It applies to the first limit of a RateLimit, or to
// the limit of the WithLimit that it is given to. A name consists of printable ASCII
// characters without quotes and backslashes. If a request meets a second limit with the
// same name, a number is appended to it.
func WithName(name string) Option {
	return singleLimitOption("WithName", func(r *rule) {
		if !headers.ValidName(name) {
			panic(fmt.Sprintf("ratelimiter: the name of WithName is %q; it must be one or more printable ASCII characters without quotes and backslashes", name))
		}
		r.limits[0].name = name
	})
}

// WithLimit adds another limit. A request is charged to all limits, or to none if any of
// them rejects it. limit and per are as for RateLimit.
//
// The added limit has the key, scope, algorithm and cost of the RateLimit, unless its own
// options change them. These can be WithKey, WithScope, WithName, WithAlgorithm,
// WithBurst, WithCost, WithCalendar and WithShadow. Two limits with the same key and
// scope must have different periods, unless one of them is a shadow limit.
func WithLimit(limit any, per time.Duration, options ...Option) Option {
	return rateLimitOption("WithLimit", func(r *rule) {
		r.rejectInConfig("WithLimit", "which are a text; add the limit to that text")
		added := &rule{}
		added.add("WithLimit", limit, per)
		added.apply("WithLimit", options)
		r.limits = append(r.limits, added.limits[0])
	})
}

// singleLimitOption wraps an option that applies to one limit and makes no sense for a
// list.
func singleLimitOption(name string, option Option) Option {
	return func(r *rule) {
		if r.function == "RateLimits" || r.fromConfig() {
			panic(fmt.Sprintf("ratelimiter: %s applies to one limit, but %s takes a list; use RateLimit(limit, per, %s(...)) and add the other limits with WithLimit", name, r.function, name))
		}
		option(r)
	}
}

// routeOption wraps an option that only a RateLimit on a route or a group can have.
func routeOption(name string, option Option) Option {
	return rateLimitOption(name, func(r *rule) {
		r.rejectInConfig(name, "which have no route")
		option(r)
	})
}

// rejectInConfig panics if the option was given to limits in the configuration. why
// continues the message.
func (r *rule) rejectInConfig(option, why string) {
	if r.fromConfig() {
		panic(fmt.Sprintf("ratelimiter: %s is an option of RateLimit, not of the limits in the configuration, %s", option, why))
	}
}

// fromConfig reports whether the options come from a configuration key.
func (r *rule) fromConfig() bool { return strings.HasPrefix(r.function, keyPrefix) }

// rateLimitOption wraps an option that applies to a whole RateLimit and not to a
// WithLimit.
func rateLimitOption(name string, option Option) Option {
	return func(r *rule) {
		if r.function == "WithLimit" {
			panic(fmt.Sprintf("ratelimiter: %s is an option of RateLimit, not of WithLimit", name))
		}
		option(r)
	}
}
