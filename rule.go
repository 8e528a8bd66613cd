package ratelimiter

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/internal/headers"
)

// rule is what a RateLimit was asked for: everything that depends on neither the
// route nor the request. It does not change after registration.
type rule struct {
	limits      []limitRule
	skip        []func(*gin.Context) bool
	sendHeaders *bool                   // nil for what the configuration says
	overLimit   gin.HandlerFunc         // nil for the problem document
	neverReject bool                    // record only
	countIf     func(*gin.Context) bool // nil to count every request
	ban         *ban                    // nil for none
	longestWait time.Duration           // for a turn; 0 to reject at once
	defaults    defaultsChoice          // see WithDefaults
	configured  *configured             // that the limits are of, nil for a RateLimit

	local bool // the limits are asked in this process; see fallback_limits.go

	withoutApplication bool // see WithoutApplication
	withoutGroup       bool // see WithoutGroup

	function string // whose options are applied, as not all options suit all of them
	mixed    bool   // not all limits are on the same key and scope

	bindings bindings
}

// defaultsChoice is whether the default limits apply on a route with a RateLimit.
type defaultsChoice uint8

const (
	defaultsWhereNothingRejects defaultsChoice = iota // and no RateLimit before has chosen
	defaultsBeside                                    // see WithDefaults
	defaultsNever                                     // see WithoutDefaults
)

// limitRule is one limit of a rule.
type limitRule struct {
	namespace namespace
	limit     int64
	limitFunc func(c *gin.Context, key, scope string) int // nil where limit says it
	listFunc  func(*gin.Context) []Limit                  // the limits are in a list; see limit_list.go
	per       time.Duration
	name      string
	burst     int64

	key       []func(*gin.Context) string // none for the route
	scope     []func(*gin.Context) string // none for the client address
	algorithm *Algorithm                  // nil for what the configuration says
	calendar  bool                        // see WithCalendar
	inList    bool                        // follows the calendar where RATELIMITER_TIME_ZONE is set
	zone      *time.Location              // of the calendar; nil for what the configuration says
	cost      int64                       // where there is no function
	costFunc  func(*gin.Context) int64
	hasCost   bool // WithCost was given; see SetCost
	shadow    bool
	ownKey    bool // an added limit on a key or scope of its own
	tentative bool // units may be refunded; see backends.Quota
	ban       *ban // that its rejections lead to, nil for none

	// concurrent is set on the limit of a Concurrent, whose period is the length of a lease.
	concurrent bool
}

func newRule(limit any, per time.Duration, options []Option) *rule {
	r := &rule{}
	r.add("RateLimit", limit, per)
	r.apply("RateLimit", options)
	return r.finish()
}

// finish settles what depends on all options, in whatever order they came.
func (r *rule) finish() *rule {
	r.inherit()
	r.checkConcurrent()
	r.checkBan()
	r.checkWait()
	return r
}

// apply lets options change the first limit, and the rule.
func (r *rule) apply(function string, options []Option) {
	r.function = function
	listed := len(r.limits) // those of WithLimit come behind them
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
	r.checkCalendar()
	r.spreadCalendar(listed)
}

// inherit gives added limits what the first one has and they lack.
func (r *rule) inherit() {
	first := &r.limits[0]
	for i := range r.limits {
		l := &r.limits[i]
		l.ownKey = i > 0 && (l.key != nil || l.scope != nil)
		r.mixed = r.mixed || l.ownKey
		if l.key == nil {
			l.key = first.key
		}
		if l.scope == nil {
			l.scope = first.scope
		}
		if l.algorithm == nil {
			l.algorithm = first.algorithm
		}
		if !l.hasCost {
			l.cost, l.costFunc, l.hasCost = first.cost, first.costFunc, first.hasCost
		}
		if l.key != nil {
			l.namespace = ofKey
		}
		l.tentative = l.hasCost || r.countIf != nil || l.concurrent
		l.shadow = l.shadow || first.shadow
		if slices.ContainsFunc(r.limits[:i], l.sameCounter) {
			panic(fmt.Sprintf("ratelimiter: WithLimit was given a limit for %v, and there is a limit for %v already; keep one of them", l.per, l.per))
		}
		if l.shadow && l.name == l.usualName() {
			l.name = shadowPrefix + l.name
		}
	}
	r.dedupeNames()
}

// shadowPrefix begins the names of shadows that were given none.
const shadowPrefix = "shadow-"

// usualName is the name of a limit that was given none.
func (l *limitRule) usualName() string {
	if l.concurrent {
		return concurrentName
	}
	return headers.PolicyName(l.per)
}

// period is what people read as the period of a limit.
func (l *limitRule) period() time.Duration {
	if l.concurrent {
		return 0
	}
	return l.per
}

// dedupeNames numbers the second and further limits of one name.
func (r *rule) dedupeNames() {
	taken := map[string]bool{}
	for i := range r.limits {
		r.limits[i].name = uniqueName(r.limits[i].name, func(name string) bool { return taken[name] })
		taken[r.limits[i].name] = true
	}
}

// uniqueName appends the first number that makes a name differ from those taken.
func uniqueName(name string, taken func(string) bool) string {
	unique := name
	for n := 2; taken(unique); n++ {
		unique = name + "-" + strconv.Itoa(n)
	}
	return unique
}

// sameCounter reports whether another limit of the rule would share its counter.
func (l *limitRule) sameCounter(other limitRule) bool {
	return !l.ownKey && !other.ownKey && l.per == other.per && l.shadow == other.shadow
}

// varies reports whether a function decides the limit, request by request.
func (l *limitRule) varies() bool { return l.limitFunc != nil || l.listFunc != nil }

// alwaysAsks reports whether every request is asked about a limit that can reject it.
func (r *rule) alwaysAsks() bool {
	return !r.neverReject && len(r.skip) == 0 &&
		slices.ContainsFunc(r.limits, func(l limitRule) bool { return !l.shadow && !l.varies() && l.limit >= 0 })
}

// add checks a limit as far as it is known when a route is registered.
func (r *rule) add(function string, limit any, per time.Duration) {
	added := limitRule{per: per, cost: 1}
	shown := fmt.Sprintf("%T", limit)
	if number, ok := wholeNumber(limit); ok {
		shown = strconv.FormatInt(number, 10)
	}
	call := fmt.Sprintf("ratelimiter: %s(%s, %v)", function, shown, per)
	if function == "Concurrent" { // whose period is the length of a lease, see WithLease
		call = fmt.Sprintf("ratelimiter: %s(%s)", function, shown)
	}
	switch limit := limit.(type) {
	case int, int64:
		added.limit, _ = wholeNumber(limit)
		if added.limit > backends.MaxLimit {
			panic(fmt.Sprintf("%s: the limit is more than %d; write ratelimiter.Unlimited for no limit", call, backends.MaxLimit))
		}
	case func(*gin.Context) int:
		mustFunc(function, limit)
		added.limitFunc = func(c *gin.Context, _, _ string) int { return limit(c) }
	case func(c *gin.Context, key, scope string) int:
		added.limitFunc = limit
		if limit == nil {
			panic(fmt.Sprintf("ratelimiter: %s was given a nil function; write a number or a function that returns one", function))
		}
	default:
		panic(fmt.Sprintf("ratelimiter: the limit of %s is a %T; write an int, a func(*gin.Context) int, or a func(c *gin.Context, key, scope string) int", function, limit))
	}
	mustPeriod(call, "period", per)
	added.name = headers.PolicyName(per)
	r.limits = append(r.limits, added)
}

func wholeNumber(limit any) (int64, bool) {
	switch limit := limit.(type) {
	case int:
		return int64(limit), true
	case int64:
		return limit, true
	}
	return 0, false
}

// mustPeriod panics on what is no period of a limit or a ban.
func mustPeriod(call, what string, d time.Duration) {
	if err := checkPeriod(call, what, d); err != nil {
		panic(err.Error())
	}
}

// checkPeriod reports what is no period of a limit or a ban.
func checkPeriod(call, what string, d time.Duration) error {
	switch {
	case d <= 0:
		return fmt.Errorf("%s: the %s must be over zero; write for example time.Minute", call, what)
	case d < backends.MinPer:
		return fmt.Errorf("%s: the %s %v is shorter than %v; a bare number counts nanoseconds, so write %d*time.Second if seconds were meant", call, what, d, backends.MinPer, int64(d))
	case d > backends.MaxPer:
		return fmt.Errorf("%s: the %s is longer than %v (366 days)", call, what, backends.MaxPer)
	}
	return nil
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
