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

// rule is a RateLimit with its options: everything that depends on neither the route nor
// the request. It does not change after registration.
type rule struct {
	limits      []limitRule
	skip        []func(*gin.Context) bool
	sendHeaders *bool                   // nil for the configured default
	overLimit   gin.HandlerFunc         // nil for the problem document
	neverReject bool                    // observe only
	countIf     func(*gin.Context) bool // nil to count every request
	ban         *ban                    // nil for none
	longestWait time.Duration           // see WithWait; 0 to reject at once
	defaults    defaultsChoice          // see WithDefaults
	configured  *configured             // for configured limits; nil for a RateLimit

	local bool // the limits are counted in this process; see fallback_limits.go

	withoutApplication bool // see WithoutApplication
	withoutGroup       bool // see WithoutGroup

	function string // the function or configuration key whose options are being applied
	mixed    bool   // the limits have different keys or scopes

	bindings bindings
}

// defaultsChoice says whether the default limits apply on a route with a RateLimit.
type defaultsChoice uint8

const (
	defaultsUnlessLimited defaultsChoice = iota // unless an earlier RateLimit has chosen
	defaultsAlways                              // see WithDefaults
	defaultsNever                               // see WithoutDefaults
)

// limitRule is one limit of a rule.
type limitRule struct {
	namespace namespace
	limit     int64
	limitFunc func(c *gin.Context, key, scope string) int // nil if limit is fixed
	listFunc  func(*gin.Context) []Limit                  // for RateLimits with a function; see limit_list.go
	per       time.Duration
	name      string
	burst     int64

	key       []func(*gin.Context) string // empty for the route
	scope     []func(*gin.Context) string // empty for the client address
	algorithm *Algorithm                  // nil for the configured default
	calendar  bool                        // see WithCalendar
	inList    bool                        // follows the calendar if RATELIMITER_TIME_ZONE is set
	zone      *time.Location              // of the calendar; nil for the configured default
	cost      int64                       // used if costFunc is nil
	costFunc  func(*gin.Context) int64
	hasCost   bool // WithCost was given; see SetCost
	shadow    bool
	ownKey    bool // an added limit with its own key or scope
	tentative bool // units may be refunded; see backends.Quota
	ban       *ban // its rejections count towards this ban; nil for none

	// concurrent is set for a Concurrent. Its per is the length of a lease.
	concurrent bool
}

func newRule(limit any, per time.Duration, options []Option) *rule {
	r := &rule{}
	r.add("RateLimit", limit, per)
	r.apply("RateLimit", options)
	return r.finish()
}

// finish completes the rule when all options are known, regardless of their order.
func (r *rule) finish() *rule {
	r.inherit()
	r.checkConcurrent()
	r.checkBan()
	r.checkWait()
	return r
}

// apply applies options to the first limit and to the rule.
func (r *rule) apply(function string, options []Option) {
	r.function = function
	listed := len(r.limits) // WithLimit appends to these
	for _, option := range options {
		if option == nil {
			panic(fmt.Sprintf("ratelimiter: %s was given a nil Option; remove it", function))
		}
		option(r)
	}
	first := &r.limits[0]
	if first.burst > 0 && first.algorithm == nil {
		bucket := TokenBucket
		first.algorithm = &bucket
	}
	if first.burst > 0 && *first.algorithm != TokenBucket {
		panic(fmt.Sprintf("ratelimiter: WithBurst requires the token bucket, not %s; use WithAlgorithm(ratelimiter.TokenBucket) or remove WithBurst", *first.algorithm))
	}
	r.checkCalendar()
	r.spreadCalendar(listed)
}

// inherit copies the options of the first limit to the added limits that lack them.
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
			l.namespace = keyNamespace
		}
		l.tentative = l.hasCost || r.countIf != nil || l.concurrent
		l.shadow = l.shadow || first.shadow
		if slices.ContainsFunc(r.limits[:i], l.sameCounter) {
			panic(fmt.Sprintf("ratelimiter: WithLimit was given a limit per %v, but there already is a limit per %v with this key and scope; remove one of them", l.per, l.per))
		}
		if l.shadow && l.name == l.defaultName() {
			l.name = shadowPrefix + l.name
		}
	}
	r.dedupeNames()
}

// shadowPrefix begins the default names of shadow limits.
const shadowPrefix = "shadow-"

// defaultName returns the default name of a limit.
func (l *limitRule) defaultName() string {
	if l.concurrent {
		return concurrentName
	}
	return headers.PolicyName(l.per)
}

// period returns the period that Info reports.
func (l *limitRule) period() time.Duration {
	if l.concurrent {
		return 0
	}
	return l.per
}

// dedupeNames appends a number to every name that is already taken.
func (r *rule) dedupeNames() {
	taken := map[string]bool{}
	for i := range r.limits {
		r.limits[i].name = uniqueName(r.limits[i].name, func(name string) bool { return taken[name] })
		taken[r.limits[i].name] = true
	}
}

// uniqueName appends the lowest number that makes a name unique.
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

// isDynamic reports whether a function determines the limit for each request.
func (l *limitRule) isDynamic() bool { return l.limitFunc != nil || l.listFunc != nil }

// alwaysLimits reports whether every request meets a limit that can reject it.
func (r *rule) alwaysLimits() bool {
	return !r.neverReject && len(r.skip) == 0 &&
		slices.ContainsFunc(r.limits, func(l limitRule) bool { return !l.shadow && !l.isDynamic() && l.limit >= 0 })
}

// add validates a limit, as far as that is possible at registration, and appends it.
func (r *rule) add(function string, limit any, per time.Duration) {
	added := limitRule{per: per, cost: 1}
	limitText := fmt.Sprintf("%T", limit)
	if number, ok := wholeNumber(limit); ok {
		limitText = strconv.FormatInt(number, 10)
	}
	call := fmt.Sprintf("ratelimiter: %s(%s, %v)", function, limitText, per)
	if function == "Concurrent" { // per is the length of a lease here
		call = fmt.Sprintf("ratelimiter: %s(%s)", function, limitText)
	}
	switch limit := limit.(type) {
	case int, int64:
		added.limit, _ = wholeNumber(limit)
		if added.limit > backends.MaxLimit {
			panic(fmt.Sprintf("%s: the limit is over the maximum of %d; use ratelimiter.Unlimited for no limit", call, backends.MaxLimit))
		}
	case func(*gin.Context) int:
		mustFunc(function, limit)
		added.limitFunc = func(c *gin.Context, _, _ string) int { return limit(c) }
	case func(c *gin.Context, key, scope string) int:
		added.limitFunc = limit
		if limit == nil {
			panic(fmt.Sprintf("ratelimiter: %s was given a nil function; pass a number or a function that returns one", function))
		}
	default:
		panic(fmt.Sprintf("ratelimiter: the limit of %s is of type %T; pass an int, an int64, a func(*gin.Context) int or a func(c *gin.Context, key, scope string) int", function, limit))
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

// mustPeriod panics if a duration is not valid as the period of a limit or a ban.
func mustPeriod(call, what string, d time.Duration) {
	if err := checkPeriod(call, what, d); err != nil {
		panic(err.Error())
	}
}

// checkPeriod returns an error if a duration is not valid as the period of a limit or a
// ban.
func checkPeriod(call, what string, d time.Duration) error {
	switch {
	case d <= 0:
		return fmt.Errorf("%s: the %s must be positive, for example time.Minute", call, what)
	case d < backends.MinPer:
		return fmt.Errorf("%s: the %s %v is shorter than %v; a bare number is in nanoseconds, so use %d*time.Second if you meant seconds", call, what, d, backends.MinPer, int64(d))
	case d > backends.MaxPer:
		return fmt.Errorf("%s: the %s is longer than %v (366 days)", call, what, backends.MaxPer)
	}
	return nil
}

func mustFuncs(option string, functions []func(*gin.Context) string) {
	if len(functions) == 0 {
		panic(fmt.Sprintf("ratelimiter: %s was given no function; remove the option", option))
	}
	for _, f := range functions {
		mustFunc(option, f)
	}
}

func mustFunc[F ~func(*gin.Context) R, R any](option string, f F) F {
	if f == nil {
		panic(fmt.Sprintf("ratelimiter: %s was given a nil function; remove the option", option))
	}
	return f
}
