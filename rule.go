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

// rule is what a RateLimit was asked for: everything that does not depend on
// the request.
type rule struct {
	limits    []ruleLimit
	skip      []func(*gin.Context) bool
	headers   *bool                   // nil for what the configuration says
	overLimit gin.HandlerFunc         // nil for the problem document
	never     bool                    // refuse nobody
	countIf   func(*gin.Context) bool // nil to count every request
	ban       *ban                    // nil for none
	wait      time.Duration           // the longest, for a turn; 0 to refuse at once
	// part is set for a limit that WithLimit adds, which only some options suit.
	part bool
	// mixed is set where not all limits are on the same key and scope.
	mixed bool

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

	key       []func(*gin.Context) string // none for the route
	scope     []func(*gin.Context) string // none for the client address
	algorithm *Algorithm                  // nil for what the configuration says
	cost      func(*gin.Context) int64    // nil for 1
	shadow    bool
	elsewhere bool // on a key or scope of its own
	tentative bool // units may be given back; see backends.Quota
	ban       *ban // that its refusals lead to, nil for none

	// What is the same in the answers to all requests; see prepare. It is
	// empty where a function says what the limit is.
	number  string
	refusal []byte

	noted *noted // the keys it was asked for on; see Status
}

// prepare writes what will not change, once the limits have their names.
func (r *rule) prepare() *rule {
	var policy []byte
	static := true
	for i := range r.limits {
		l := &r.limits[i]
		l.noted = &noted{}
		if l.ask != nil {
			static = false
			continue
		}
		l.number = strconv.FormatInt(l.limit, 10)
		l.refusal = refusal(l.limit, l.per, l.name)
		if l.limit >= 0 && !l.shadow {
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

func newRule(limit any, per time.Duration, options []Option) *rule {
	r := &rule{}
	r.add("RateLimit", limit, per)
	r.apply("RateLimit", options)
	r.inherit()
	r.guard()
	r.checkWait()
	return r.prepare()
}

// apply lets options change the first limit, and the rule.
func (r *rule) apply(function string, options []Option) {
	for _, option := range options {
		if option == nil {
			panic(fmt.Sprintf("ratelimiter: %s was given a nil Option; leave it out", function))
		}
		option(r)
	}
	first := &r.limits[0]
	if first.burst > 0 && first.algorithm == nil {
		bucket := TokenBucket
		first.algorithm = &bucket
	}
	if first.burst > 0 && *first.algorithm != TokenBucket {
		panic(fmt.Sprintf("ratelimiter: WithBurst is for the token bucket alone, not for %s; add WithAlgorithm(ratelimiter.TokenBucket) or leave it out", *first.algorithm))
	}
}

// inherit gives added limits what the first one has and they have not, and all
// of them names that differ. It is for when all options are known, in whatever
// order they came.
func (r *rule) inherit() {
	first := &r.limits[0]
	names := map[string]bool{}
	for i := range r.limits {
		l := &r.limits[i]
		l.elsewhere = i > 0 && (l.key != nil || l.scope != nil)
		r.mixed = r.mixed || l.elsewhere
		if l.key == nil {
			l.key = first.key
		}
		if l.scope == nil {
			l.scope = first.scope
		}
		if l.algorithm == nil {
			l.algorithm = first.algorithm
		}
		if l.cost == nil {
			l.cost = first.cost
		}
		l.tentative = l.cost != nil || r.countIf != nil
		l.shadow = l.shadow || first.shadow
		if slices.ContainsFunc(r.limits[:i], l.sameCounter) {
			panic(fmt.Sprintf("ratelimiter: WithLimit was given a limit for %v, and there is a limit for %v already; keep one of them", l.per, l.per))
		}
		if l.shadow && l.name == policyName(l.per) {
			l.name = "shadow-" + l.name
		}
		name := l.name
		for n := 2; names[l.name]; n++ {
			l.name = numbered(name, n)
		}
		names[l.name] = true
	}
}

// sameCounter tells whether another limit of the rule would count the same.
func (l *ruleLimit) sameCounter(other ruleLimit) bool {
	return !l.elsewhere && !other.elsewhere && l.per == other.per && l.shadow == other.shadow
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
	mustPeriod(call, "period", per)
	r.limits[len(r.limits)-1].name = policyName(per)
}

// mustPeriod panics on what is no period of a limit or a ban.
func mustPeriod(call, what string, d time.Duration) {
	switch {
	case d <= 0:
		panic(fmt.Sprintf("%s: the %s must be over zero; write for example time.Minute", call, what))
	case d < backends.MinPer:
		panic(fmt.Sprintf("%s: the %s %v is shorter than %v; a bare number counts nanoseconds, so write %d*time.Second if seconds were meant", call, what, d, backends.MinPer, int64(d)))
	case d > backends.MaxPer:
		panic(fmt.Sprintf("%s: the %s is longer than %v (366 days)", call, what, backends.MaxPer))
	}
}

func mustFuncs(option string, functions []func(*gin.Context) string) {
	if len(functions) == 0 {
		panic(fmt.Sprintf("ratelimiter: %s was given no function; leave the option out", option))
	}
	for _, f := range functions {
		mustFunc(option, f)
	}
}

func mustFunc[F ~func(*gin.Context) R, R any](option string, f F) F {
	if f == nil {
		panic(fmt.Sprintf("ratelimiter: %s was given a nil function; leave the option out", option))
	}
	return f
}
