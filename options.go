package ratelimiter

import (
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter/backends"
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

// rule is what a RateLimit was asked for: everything that does not depend on
// the request.
type rule struct {
	limits    []ruleLimit
	key       func(*gin.Context) string // nil for the route
	scope     func(*gin.Context) string // nil for the client address
	headers   *bool                     // nil for what the configuration says
	overLimit gin.HandlerFunc           // nil for the problem document
	never     bool                      // refuse nobody

	burst     int64
	name      string
	algorithm *Algorithm // nil for what the configuration says

	policy string // of all limits, if none has a function; see prepare

	route atomic.Pointer[route] // of the last request, which is that of most
}

// ruleLimit is one limit of a rule, static unless it has a function.
type ruleLimit struct {
	limit int64
	ask   func(c *gin.Context, key, scope string) int
	per   time.Duration
	name  string
	burst int64

	// What is the same in the answers to all requests; see prepare. number and
	// refusal are empty where a function says what the limit is.
	left, number string
	refusal      []byte
}

// prepare writes what will not change, once the limits have their names.
func (r *rule) prepare() *rule {
	var policy []byte
	static := true
	for i := range r.limits {
		l := &r.limits[i]
		l.left = `"` + l.name + `";r=`
		if l.ask != nil {
			static = false
			continue
		}
		l.number = strconv.FormatInt(l.limit, 10)
		l.refusal = refusal(l.limit, l.per, l.name)
		if l.limit >= 0 {
			policy = appendPolicy(policy, len(policy), l.name, l.limit, l.per)
		}
	}
	if static {
		r.policy = string(policy)
	}
	return r
}

// sends tells whether the X-RateLimit and the RateLimit headers are to be sent.
func (r *rule) sends(s *settings) (x, standard bool) {
	if r.headers != nil {
		return *r.headers, *r.headers
	}
	return s.xHeaders, s.rateLimitHeaders
}

// WithKey says what is limited, in place of the route. Routes with the same key
// share their counters, if algorithm and period are the same too. An empty
// result means the route.
func WithKey(key func(*gin.Context) string) Option {
	return func(r *rule) { r.key = mustFunc("WithKey", key) }
}

// WithScope says who is limited, in place of the client address. An empty
// result means the client address.
func WithScope(scope func(*gin.Context) string) Option {
	return func(r *rule) { r.scope = mustFunc("WithScope", scope) }
}

// WithHeaders switches the X-RateLimit and RateLimit headers of this limit on or
// off, whatever the configuration says. Retry-After is always sent.
func WithHeaders(send bool) Option {
	return func(r *rule) { r.headers = &send }
}

// WithOverLimit sets what answers a request over the limit, in place of the
// problem document. The status is 429 unless the handler writes another one;
// the handlers behind it do not run. With nil nobody is refused: the handlers
// run, and FromContext tells them that the limit was exceeded.
func WithOverLimit(handler gin.HandlerFunc) Option {
	return func(r *rule) { r.overLimit, r.never = handler, handler == nil }
}

// WithAlgorithm chooses how the limits are counted, in place of
// RATELIMITER_ALGORITHM.
func WithAlgorithm(algorithm Algorithm) Option {
	return func(r *rule) {
		if !algorithm.Valid() {
			panic(fmt.Sprintf("ratelimiter: WithAlgorithm(%d) is none of %s; write for example ratelimiter.SlidingLog", algorithm, backends.AlgorithmNames()))
		}
		r.algorithm = &algorithm
	}
}

// WithBurst lets at most burst units of the first limit pass at once, which the
// token bucket alone can: it implies WithAlgorithm(TokenBucket). 0 means the
// limit itself.
func WithBurst(burst int) Option {
	return func(r *rule) {
		if burst < 0 || int64(burst) > backends.MaxLimit {
			panic(fmt.Sprintf("ratelimiter: WithBurst(%d) must be from 0 to %d", burst, backends.MaxLimit))
		}
		r.burst = int64(burst)
	}
}

// WithName names the first limit in Info and in the RateLimit headers. Without
// it a limit is called by its period, as "per-minute". A name is printable
// ASCII without quotes and backslashes.
func WithName(name string) Option {
	return func(r *rule) {
		if !validName(name) {
			panic(fmt.Sprintf("ratelimiter: WithName(%q) must be one or more printable ASCII characters without quotes and backslashes", name))
		}
		r.name = name
	}
}

// WithLimit adds another limit on the same key and scope. A request takes from
// all limits, or from none if any of them refuses. The limit is one of the types
// that RateLimit takes, and no two limits may have the same period.
func WithLimit(limit any, per time.Duration) Option {
	return func(r *rule) { r.add("WithLimit", limit, per) }
}

func newRule(limit any, per time.Duration, options []Option) *rule {
	r := &rule{}
	r.add("RateLimit", limit, per)
	for _, option := range options {
		if option == nil {
			panic("ratelimiter: RateLimit was given a nil Option; leave it out")
		}
		option(r)
	}
	if r.burst > 0 && r.algorithm == nil {
		bucket := TokenBucket
		r.algorithm = &bucket
	}
	if r.burst > 0 && *r.algorithm != TokenBucket {
		panic(fmt.Sprintf("ratelimiter: WithBurst is for the token bucket alone, not for %s; add WithAlgorithm(ratelimiter.TokenBucket) or leave it out", *r.algorithm))
	}
	r.limits[0].burst = r.burst
	if r.name != "" {
		r.limits[0].name = r.name
	}
	return r.prepare()
}

// add checks a limit as far as it is known when a route is registered.
func (r *rule) add(function string, limit any, per time.Duration) {
	added := ruleLimit{per: per}
	shown := fmt.Sprintf("%T", limit)
	if number, ok := limit.(int); ok {
		shown = strconv.Itoa(number)
	}
	call := fmt.Sprintf("ratelimiter: %s(%s, %v)", function, shown, per)
	switch limit := limit.(type) {
	case int:
		if int64(limit) > backends.MaxLimit {
			panic(fmt.Sprintf("%s: the limit is more than %d; write ratelimiter.Unlimited for no limit", call, backends.MaxLimit))
		}
		added.limit = int64(limit)
	case func(*gin.Context) int:
		mustFunc(function, limit)
		added.ask = func(c *gin.Context, _, _ string) int { return limit(c) }
	case func(c *gin.Context, key, scope string) int:
		added.ask = limit
		if limit == nil {
			panic(fmt.Sprintf("ratelimiter: %s was given a nil function; write a number or a function that returns one", function))
		}
	default:
		panic(fmt.Sprintf("ratelimiter: the limit of %s is a %T; write an int, a func(*gin.Context) int, or a func(c *gin.Context, key, scope string) int", function, limit))
	}
	r.limits = append(r.limits, added)
	last := &r.limits[len(r.limits)-1]
	switch {
	case per <= 0:
		panic(fmt.Sprintf("%s: the period must be over zero; write for example time.Minute", call))
	case per < backends.MinPer:
		panic(fmt.Sprintf("%s: the period %v is shorter than %v; a bare number counts nanoseconds, so write %d*time.Second if seconds were meant", call, per, backends.MinPer, int64(per)))
	case per > backends.MaxPer:
		panic(fmt.Sprintf("%s: the period is longer than %v (366 days)", call, backends.MaxPer))
	}
	last.name = policyName(per)
	if slices.ContainsFunc(r.limits[:len(r.limits)-1], func(other ruleLimit) bool { return other.per == per }) {
		panic(fmt.Sprintf("%s: there is a limit for %v already; keep one of them", call, per))
	}
}

func mustFunc[F ~func(*gin.Context) R, R any](option string, f F) F {
	if f == nil {
		panic(fmt.Sprintf("ratelimiter: %s was given a nil function; leave the option out", option))
	}
	return f
}

// validName accepts what a structured field writes in quotes without escapes.
func validName(name string) bool {
	for i := range len(name) {
		if name[i] < ' ' || name[i] > '~' || name[i] == '"' || name[i] == '\\' {
			return false
		}
	}
	return name != ""
}
