package ratelimiter

import (
	"fmt"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/internal/headers"
)

// Algorithm is how a limit is counted; see the constants of backends.
type Algorithm = backends.Algorithm

// The algorithms, under the same names as in backends.
const (
	SlidingWindow = backends.SlidingWindow
	FixedWindow   = backends.FixedWindow
	SlidingLog    = backends.SlidingLog
	TokenBucket   = backends.TokenBucket
)

// Option changes what a RateLimit does.
type Option func(*rule)

// WithKey says what is limited, in place of the route: Shared, ByParam and the
// like, or any function of the request. Several functions make one key together.
// An empty result means the route.
//
// All limits with the same key share a counter for each scope, algorithm and period,
// wherever they stand. A request pays it once: where a second limit on the way of a
// request has the same counter, it charges what its cost is higher, mostly nothing, and
// the strictest limit decides. (In a token bucket units are time, so that two limits
// of different size disagree about what was used; give such limits keys of their own.)
func WithKey(key ...func(*gin.Context) string) Option {
	mustFuncs("WithKey", key)
	return func(r *rule) {
		r.mustBeOfRoute("WithKey", "whose keys are the route and the application")
		r.limits[0].key = key
	}
}

// WithScope says who is limited, in place of the client address: ByHeader,
// ByContext, ByEveryone and the like, or any function of the request. Several
// functions make one scope together.
//
// Where a function returns "", the scope is "address:" and the client address, which
// no text of a function can be. A scope that is longer than 128 bytes or holds
// characters that cannot be printed is replaced by its hash, here and in Info. Reset
// and Status take either.
func WithScope(scope ...func(*gin.Context) string) Option {
	mustFuncs("WithScope", scope)
	return func(r *rule) { r.limits[0].scope = scope }
}

// WithSkip lets requests through that the function is true for. They take
// nothing, and their answers have no headers of these limits. With several
// WithSkip, one that is true is enough. See RateLimiter.FromNetworks.
func WithSkip(skip func(*gin.Context) bool) Option {
	mustFunc("WithSkip", skip)
	return whole("WithSkip", func(r *rule) { r.skip = append(r.skip, skip) })
}

// WithCost says how many units a request takes, in place of one: an int or a
// func(*gin.Context) int, from 0 to backends.MaxLimit. What a function returns
// outside of that counts as the nearest. A request that costs nothing is let
// through unless the limit is exceeded by what SetCost has added.
//
// Where the cost is only known afterwards, it is the estimate that SetCost corrects.
func WithCost(cost any) Option {
	units, ask := costOf(cost)
	return func(r *rule) { r.limits[0].cost, r.limits[0].costFunc, r.limits[0].hasCost = units, ask, true }
}

// costOf reads the cost of WithCost: a number, or a function of the request.
func costOf(cost any) (units int64, ask func(*gin.Context) int64) {
	switch cost := cost.(type) {
	case int, int64:
		units, _ = wholeNumber(cost)
		if units < 0 || units > backends.MaxLimit {
			panic(fmt.Sprintf("ratelimiter: WithCost(%d) must be from 0 to %d", cost, backends.MaxLimit))
		}
		return units, nil
	case func(*gin.Context) int:
		mustFunc("WithCost", cost)
		return 1, func(c *gin.Context) int64 { return min(max(0, int64(cost(c))), backends.MaxLimit) }
	}
	panic(fmt.Sprintf("ratelimiter: the cost of WithCost is a %T; write an int, an int64 or a func(*gin.Context) int", cost))
}

// WithCountIf asks after the handlers whether the request is to count, as when
// only failed logins do. Its units are taken before them and given back when the
// answer is false, so that requests at the same time cannot exceed the limit.
//
// It is asked once, also when a handler panics, when the client has left, and
// when a stream or a hijacked connection ends. While a handler panics,
// c.Writer.Status() is 500, if the response has not begun. What the backend does
// not take back stays counted.
func WithCountIf(counts func(*gin.Context) bool) Option {
	mustFunc("WithCountIf", counts)
	return whole("WithCountIf", func(r *rule) { r.countIf = counts })
}

// WithShadow tries limits out: they are decided and recorded, and reject nobody,
// whatever RATELIMITER_ON_ERROR says where the backend fails.
// They have counters of their own and are not in the headers; FromContext tells
// of them where there is no other limit, Peek always. As an option of WithLimit
// it stands beside limits that reject, in one question to the backend.
func WithShadow() Option {
	return func(r *rule) { r.limits[0].shadow = true }
}

// WithHeaders switches the X-RateLimit and RateLimit headers of this limit on or
// off, whatever the configuration says. On, they are those of RATELIMITER_HEADERS, and x and
// draft-11 where it names none. Retry-After is always sent.
func WithHeaders(send bool) Option {
	return whole("WithHeaders", func(r *rule) { r.sendHeaders = &send })
}

// WithOverLimit sets what answers a request over the limit, in place of the
// problem document. The status is 429 unless the handler writes another one;
// the handlers behind it do not run. With nil nobody is rejected: the handlers
// run, and FromContext tells them that the limit was exceeded.
func WithOverLimit(handler gin.HandlerFunc) Option {
	return whole("WithOverLimit", func(r *rule) { r.overLimit, r.neverReject = handler, handler == nil })
}

// WithObserveOnly lets every request through: the limit is counted and observed, and
// FromContext tells the handlers whether it was exceeded. It is WithOverLimit(nil) by
// its name.
func WithObserveOnly() Option { return WithOverLimit(nil) }

// WithDefaults keeps the default limits on a route beside its own. Without it the
// default limits apply where no RateLimit on the route can reject the request: where all
// are shadows or only observe, are skipped, or are unlimited for this request. See
// WithoutDefaults for the opposite.
func WithDefaults() Option {
	return onRoute("WithDefaults", func(r *rule) { r.defaults = defaultsBeside })
}

// WithoutDefaults leaves out the default limits on a route, also where no RateLimit on it
// can reject the request. It is a choice of the group or the route, like WithDefaults; the
// last one on the way of a request decides.
func WithoutDefaults() Option {
	return onRoute("WithoutDefaults", func(r *rule) { r.defaults = defaultsNever })
}

// WithoutApplication leaves out the application limits on a route, or on all routes of a
// group. They are asked before the RateLimit that has the option, so it is looked for among
// the handlers of the route: a RateLimit that a handler calls itself cannot leave them out.
// With several RateLimiters those of all are left out.
func WithoutApplication() Option {
	return onRoute("WithoutApplication", func(r *rule) { r.withoutApplication = true })
}

// WithoutGroup lets a RateLimit take the place of every RateLimit that stands before it on
// the route: those of its groups, and of engine.Use. They and their options do not
// count for this route, and are not in the headers. It is looked for among the handlers of
// the route, as for WithoutApplication. The key remains that of a second or third RateLimit.
func WithoutGroup() Option {
	return onRoute("WithoutGroup", func(r *rule) { r.withoutGroup = true })
}

// WithAlgorithm chooses how the limits are counted, in place of
// RATELIMITER_ALGORITHM.
func WithAlgorithm(algorithm Algorithm) Option {
	return func(r *rule) {
		if !algorithm.Valid() {
			panic(fmt.Sprintf("ratelimiter: WithAlgorithm(%d) is none of %s; write for example ratelimiter.SlidingLog", algorithm, backends.AlgorithmNames()))
		}
		r.limits[0].algorithm = &algorithm
	}
}

// WithBurst lets at most burst units of the first limit, or of the one that
// WithLimit adds with this option, pass at once, which the
// token bucket alone can: it implies WithAlgorithm(TokenBucket). 0 means the
// limit itself.
func WithBurst(burst int) Option {
	return single("WithBurst", func(r *rule) {
		if burst < 0 || int64(burst) > backends.MaxLimit {
			panic(fmt.Sprintf("ratelimiter: WithBurst(%d) must be from 0 to %d", burst, backends.MaxLimit))
		}
		r.limits[0].burst = int64(burst)
	})
}

// WithName names the first limit, or the one that WithLimit adds with this option,
// in Info and in the RateLimit headers. Without it a limit is called by its period,
// as "per-minute". A name is printable ASCII without quotes and backslashes; a
// second limit of the same name on a request has a number behind it.
func WithName(name string) Option {
	return single("WithName", func(r *rule) {
		if !headers.ValidName(name) {
			panic(fmt.Sprintf("ratelimiter: WithName(%q) must be one or more printable ASCII characters without quotes and backslashes", name))
		}
		r.limits[0].name = name
	})
}

// WithLimit adds another limit. A request takes from all limits, or from none if
// any of them rejects. The limit is one of the types that RateLimit takes.
//
// The added limit is on the same key and scope, counted by the same algorithm and
// charged the same cost, unless options of its own say otherwise: WithKey,
// WithScope, WithName, WithAlgorithm, WithBurst, WithCost and WithShadow. No two
// limits on the same key and scope may have the same period, unless one of them is
// a shadow.
func WithLimit(limit any, per time.Duration, options ...Option) Option {
	return whole("WithLimit", func(r *rule) {
		r.mustBeOfRoute("WithLimit", "which are a text; write the limit there")
		added := &rule{}
		added.add("WithLimit", limit, per)
		added.apply("WithLimit", options)
		r.limits = append(r.limits, added.limits[0])
	})
}

// single marks an option that is about one limit and makes no sense for a list.
func single(name string, option Option) Option {
	return func(r *rule) {
		if r.function == "RateLimits" || r.ofConfiguration() {
			panic(fmt.Sprintf("ratelimiter: %s is about one limit, and %s is about a list; write RateLimit(limit, per, %s(...)), and WithLimit for further limits", name, r.function, name))
		}
		option(r)
	}
}

// onRoute marks an option of a RateLimit on a route or a group.
func onRoute(name string, option Option) Option {
	return whole(name, func(r *rule) {
		r.mustBeOfRoute(name, "which have no route")
		option(r)
	})
}

// mustBeOfRoute panics for the limits in the configuration, of which it says why.
func (r *rule) mustBeOfRoute(option, why string) {
	if r.ofConfiguration() {
		panic(fmt.Sprintf("ratelimiter: %s is an option of RateLimit, not of the limits in the configuration, %s", option, why))
	}
}

// ofConfiguration reports whether the options are those of a configuration key.
func (r *rule) ofConfiguration() bool { return strings.HasPrefix(r.function, keyPrefix) }

// whole marks an option that is for a RateLimit and not for one limit of it.
func whole(name string, option Option) Option {
	return func(r *rule) {
		if r.function == "WithLimit" {
			panic(fmt.Sprintf("ratelimiter: %s is an option of RateLimit, not of WithLimit", name))
		}
		option(r)
	}
}
