package ratelimiter

import (
	"maps"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/internal/clientip"
	"github.com/gin-ratelimiter/ratelimiter/internal/headers"
)

// binding is a rule on a route: all that the requests of the route have in common,
// resolved at the first of them. It does not change afterwards.
type binding struct {
	*rule
	settings *settings
	limiter  *RateLimiter
	engine   *gin.Engine
	route    route
	shown    string   // the route as people read it
	earlier  *binding // of the RateLimit before it on the route; nil for the first
	position int      // among the RateLimits, or the Concurrents, of the request, from 1; see storedKey
	onRoute  bool     // Gin calls it, and not a handler
	passed   int      // RateLimits that stand on the route, up to and with this one
	limits   []boundLimit

	// plain is set where a request needs nothing but its scope: see takePlain.
	plain bool
	// sharing is set where two limits of a request may have one counter; see payer.
	sharing bool
	kinds   kinds
	// leftOut is set for a RateLimit that a later one of the route leaves out.
	leftOut bool
	// defaults is set where the default limits apply behind this binding, to a request
	// that no RateLimit of the route can reject, or to all; see takeDefaults.
	defaults       bool
	defaultsChoice defaultsChoice // of the RateLimits up to this one
	mustAsk        bool           // one of those up to this one can reject every request

	headerSet
	policy string // RateLimit-Policy; empty where it depends on the request
	// oneLimit is set where the headers tell of one limit whose policy is known, in the
	// form that writeHeaders has; see addHeaders.
	oneLimit bool
}

// boundLimit is a limit of a binding.
type boundLimit struct {
	*limitRule
	quota backends.Quota // all but the scope, and what functions say
	key   string         // as people read it; empty where functions say it
	name  string         // which no other limit on the route has
	seen  *seenKeys      // those that functions have said; see Status
	// What is in the answers to all requests, empty where a function says the limit.
	number    string        // for X-RateLimit-Limit
	rejection []byte        // when this limit alone rejects a request
	listed    *listedLimits // of a function that returns lists; nil for any other
}

// route is a route of the application. Requests that match none have no path, and
// the status of their answer in place of the method, which may be any word.
type route struct{ method, path string }

// unmatched is the route of requests that match none (404 and 405), as people read it.
const unmatched = "unmatched"

func routeOf(c *gin.Context) route {
	if path := c.FullPath(); path != "" {
		return route{c.Request.Method, path}
	}
	if c.Writer.Status() == http.StatusMethodNotAllowed {
		return route{"405", ""}
	}
	return route{"404", ""}
}

// String is the route as people read it: "GET /users/:id".
func (r route) String() string {
	if r.path == "" {
		return unmatched
	}
	return r.method + " " + r.path
}

// bindings are those of one rule, by route. Most rules stand on one route.
type bindings struct {
	latest atomic.Pointer[binding]
	known  atomic.Pointer[map[bindingID]*binding] // replaced, never changed
	mu     sync.Mutex                             // held while it is replaced
}

// bindingID is where a rule stands. The same route may exist on several engines.
type bindingID struct {
	route
	engine   *gin.Engine
	position int
}

// bindingFor finds the binding of a rule for a request, or makes it.
func (r *RateLimiter) bindingFor(c *gin.Context, s *settings, rule *rule, earlier *binding) *binding {
	route, engine := routeOf(c), clientip.EngineOf(c)
	if b := rule.bindings.latest.Load(); b != nil && b.fits(s, route, engine, earlier) {
		return b
	}
	id := bindingID{route, engine, earlier.next(rule)}
	if known := rule.bindings.known.Load(); known != nil {
		if b := (*known)[id]; b != nil && b.fits(s, route, engine, earlier) {
			return b
		}
	}
	return r.bind(c, s, rule, earlier, id)
}

func (b *binding) fits(s *settings, route route, engine *gin.Engine, earlier *binding) bool {
	return b.route == route && b.earlier == earlier && b.engine == engine && b.settings == s
}

// next is the position of a rule behind a binding, which may be nil. Configured
// limits have no position.
func (b *binding) next(rule *rule) int {
	position := 0
	for e := b; e != nil && position == 0; e = e.earlier {
		if !e.isConfigured() && e.isConcurrent() == rule.isConcurrent() {
			position = e.position
		}
	}
	if rule.isConfigured() {
		return position
	}
	return position + 1
}

// isConfigured reports whether the limits are those of the configuration.
func (r *rule) isConfigured() bool { return r.configured != nil }

// bind resolves a rule on a route.
func (r *RateLimiter) bind(c *gin.Context, s *settings, rule *rule, earlier *binding, id bindingID) *binding {
	b := &binding{
		rule: rule, settings: s, limiter: r, engine: id.engine,
		route: id.route, shown: id.route.String(), earlier: earlier, position: id.position,
	}
	b.kinds = kindsOf(c.HandlerNames())
	b.onRoute = isCalledByGin()
	if b.countIf != nil && !b.onRoute && !b.isConfigured() {
		panic("ratelimiter: WithCountIf was used in a RateLimit that a handler calls itself, where nothing is left to run and to judge; put the RateLimit on the route, or call SetCost(c, 0) when the request is not to count")
	}
	if b.isConcurrent() && !b.onRoute {
		panic("ratelimiter: a handler called Concurrent itself, where nothing is left to run that could be in progress; put the Concurrent on the route")
	}
	if earlier != nil {
		b.passed = earlier.passed
	}
	if b.onRoute && !b.isConfigured() && !b.isConcurrent() {
		b.passed++
		b.leftOut = b.passed <= b.kinds.leftOut
	}
	b.bindLimits()
	b.bindDefaults()
	b.bindHeaders()
	b.plain = b.isPlain()
	if rule.bindings.keep(id, b) {
		r.known.learn(b)
	}
	return b
}

// maxBindings is how many bindings of a rule are remembered. Applications have fewer routes,
// but a middleware may let clients choose the method. Further ones are made for each request.
const maxBindings = 2048

// keep remembers a binding, in the place of one that no longer fits. It reports whether
// there was room.
func (bs *bindings) keep(id bindingID, b *binding) bool {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	known := map[bindingID]*binding{}
	if before := bs.known.Load(); before != nil {
		if len(*before) >= maxBindings && (*before)[id] == nil {
			return false
		}
		known = maps.Clone(*before)
	}
	known[id] = b
	bs.known.Store(&known)
	bs.latest.Store(b)
	return true
}

// bindLimits fills in all that is known of the quotas.
func (b *binding) bindLimits() {
	b.limits = make([]boundLimit, len(b.rule.limits))
	for i := range b.limits {
		l := &b.rule.limits[i]
		bound := &b.limits[i]
		bound.limitRule = l
		bound.quota = l.quota(b.settings)
		bound.seen = &seenKeys{}
		bound.name = uniqueName(l.name, func(name string) bool { return b.hasName(name, i) })
		if l.listFunc != nil {
			bound.listed = &listedLimits{}
		}
		if !l.varies() {
			bound.number = strconv.FormatInt(mostAtOnce(&bound.quota), 10)
			bound.rejection = l.rejection(l.limit, []string{bound.name})
		}
		if name, ok := l.staticKey(b.route); ok {
			bound.key = name
			bound.quota.Key = l.storedKey(b.settings, l.namespace, b.position, name)
		}
		b.sharing = b.sharing || b.mayShare(i)
	}
}

// quota is what a limit asks of all clients alike.
func (l *limitRule) quota(s *settings) backends.Quota {
	algorithm := s.algorithm
	if l.algorithm != nil {
		algorithm = *l.algorithm
	}
	zone := l.calendarZone(s)
	if zone != nil {
		algorithm = FixedWindow
	}
	return backends.Quota{
		Algorithm: algorithm, Limit: l.limit, Per: l.per, Burst: l.burst, Cost: l.cost,
		Shadow: l.shadow, Tentative: l.tentative, Calendar: zone,
	}
}

// staticKey is the key of a limit, if no request is needed to tell it.
func (l *limitRule) staticKey(route route) (name string, ok bool) {
	switch l.namespace {
	case ofRoute, ofDefault, ofFallback:
		return route.String(), true
	case ofApplication:
		return applicationKey, true
	}
	return sharedName(l.key)
}

// hasName reports whether the limit of a name stands before limit i on the route, or
// elsewhere in the same rule.
func (b *binding) hasName(name string, i int) bool {
	for j := range b.rule.limits {
		if j < i && b.mayName(j, name) || j > i && b.rule.limits[j].name == name {
			return true
		}
	}
	for e := b.earlier; e != nil; e = e.earlier {
		for j := range e.limits {
			if !e.leftOut && e.mayName(j, name) {
				return true
			}
		}
	}
	return false
}

// mayShare reports whether an earlier limit on the route may have the counter of limit i
// for some requests. Only keys of functions, and added limits on another scope, can.
func (b *binding) mayShare(i int) bool {
	l := &b.limits[i]
	same := func(o *boundLimit) bool {
		samePer := o.quota.Per == l.quota.Per || o.listed != nil || l.listed != nil
		sameAlgorithm := o.quota.Algorithm == l.quota.Algorithm || o.mayFollowCalendar(b.settings) || l.mayFollowCalendar(b.settings) // those of a list have several
		return samePer && sameAlgorithm && o.quota.Shadow == l.quota.Shadow
	}
	for j := range i { // no namespace is compared, as an empty key is the route
		if !b.isConfigured() && same(&b.limits[j]) {
			return true
		}
	}
	for e := b.earlier; e != nil && l.namespace == ofKey; e = e.earlier {
		for j := range e.limits {
			if o := &e.limits[j]; !e.leftOut && o.namespace == ofKey && e.settings == b.settings && same(o) {
				return true
			}
		}
	}
	return false
}

// bindDefaults finds out whether the default limits are asked behind this binding: the last
// RateLimit of the route, or the application limits where the route has none.
func (b *binding) bindDefaults() {
	if b.earlier != nil {
		b.defaultsChoice, b.mustAsk = b.earlier.defaultsChoice, b.earlier.mustAsk
	}
	due := b.kinds.configured > 0 && !b.kinds.exempt
	if b.isConfigured() {
		b.defaults = due && b.kinds.limits == 0 && b.rule == b.configured.first && b.rule == b.configured.applicationRule
		return
	}
	if b.leftOut || b.isConcurrent() {
		return
	}
	if b.rule.defaults != defaultsWhereNothingRejects {
		b.defaultsChoice = b.rule.defaults
	}
	b.mustAsk = b.mustAsk || b.alwaysAsks()
	last := b.passed >= b.kinds.limits
	b.defaults = due && last && b.defaultsChoice != defaultsNever && (b.defaultsChoice == defaultsBeside || !b.mustAsk)
}

func (b *binding) bindHeaders() {
	b.headerSet = b.settings.sent
	if b.sendHeaders != nil {
		b.headerSet = headerSet{}
		if *b.sendHeaders {
			b.headerSet = b.settings.switchedOn
		}
	}
	if b.isConcurrent() { // which has no window, and nothing for X-RateLimit-Reset
		b.xHeaders, b.draft7Headers, b.draft6Headers = false, false, false
	}
	if b.settings.secret != "" {
		return
	}
	var policy []byte
	for i := range b.limits {
		l := &b.limits[i]
		switch {
		case l.varies():
			return
		case l.limit >= 0 && !l.shadow:
			policy = l.appendPolicy(headers.AppendSeparator(policy), l.limit)
		}
	}
	b.policy = string(policy)
	b.oneLimit = len(b.limits) == 1 && b.policy != "" && b.earlier == nil && !b.ofEarlierDrafts() && !b.isConcurrent()
}

// isPlain reports whether a request needs nothing but its scope to be decided, in
// the memory of this process. Anything else goes the general way.
func (b *binding) isPlain() bool {
	special := len(b.skip) > 0 || b.countIf != nil || b.ban != nil || b.longestWait > 0 || b.neverReject ||
		b.mixed || b.sharing || b.defaults || b.leftOut || b.earlier != nil || b.isConcurrent()
	if special || b.settings.memory == nil || len(b.limits) > maxPlain || b.standardHeaders && b.policy == "" {
		return false
	}
	for i := range b.limits {
		l := &b.limits[i]
		if l.varies() || l.costFunc != nil || l.shadow || l.limit < 0 || l.key == "" || l.quota.Prepare() != nil {
			return false
		}
	}
	return true
}
