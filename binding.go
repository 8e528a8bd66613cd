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

// binding is a rule on a route: everything that is the same for all requests of the
// route. It is built at the first request and does not change afterwards.
type binding struct {
	*rule
	settings  *settings
	limiter   *RateLimiter
	engine    *gin.Engine
	route     route
	routeName string   // the route as text, such as "GET /users/:id"
	earlier   *binding // the previous RateLimit of the route; nil for the first
	position  int      // among the RateLimits (or Concurrents) of the request, from 1; see storedKey
	onRoute   bool     // it is called by Gin and not by a handler
	passed    int      // number of RateLimits registered on the route, up to this one
	limits    []boundLimit

	// plain is true if a request needs nothing but its scope; see takePlain.
	plain bool
	// sharing is true if two limits of a request may have the same counter; see payer.
	sharing  bool
	handlers routeHandlers
	// replaced is true if a later RateLimit of the route has WithoutGroup.
	replaced bool
	// defaults is true if the default limits may apply after this binding; see
	// takeDefaults.
	defaults       bool
	defaultsChoice defaultsChoice // by the RateLimits up to this one
	alwaysLimited  bool           // a RateLimit up to this one can reject every request

	headerSet
	policy string // RateLimit-Policy; "" if it depends on the request
	// oneLimit is true if writeHeaders can write the headers: they describe a single
	// limit whose policy is known.
	oneLimit bool
}

// boundLimit is a limit of a binding.
type boundLimit struct {
	*limitRule
	quota backends.Quota // complete except for the scope and the results of functions
	key   string         // the public key; "" if functions determine it
	name  string         // unique on the route
	seen  *seenKeys      // results of key functions; see Status
	// The parts of a response that are the same for all requests; empty if a function
	// determines the limit.
	number    string        // for X-RateLimit-Limit
	rejection []byte        // used if only this limit rejects a request
	listed    *listedLimits // for a function that returns a list; otherwise nil
}

// route is a route of the application. For a request that matches no route, path is empty
// and method is the status of the response, because the method is whatever the client
// sent.
type route struct{ method, path string }

// unmatched is the name of the route of requests that match no route (404 and 405).
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

// String returns the route as text: "GET /users/:id".
func (r route) String() string {
	if r.path == "" {
		return unmatched
	}
	return r.method + " " + r.path
}

// bindings holds the bindings of a rule by route. Most rules are on one route.
type bindings struct {
	latest atomic.Pointer[binding]
	known  atomic.Pointer[map[bindingID]*binding] // copy-on-write
	mu     sync.Mutex                             // serialises writers of known
}

// bindingID identifies the place where a rule is used. The same route may exist on
// several engines.
type bindingID struct {
	route
	engine   *gin.Engine
	position int
}

// bindingFor returns the binding of a rule for a request, and builds it if necessary.
func (r *RateLimiter) bindingFor(c *gin.Context, s *settings, rule *rule, earlier *binding) *binding {
	route, engine := routeOf(c), clientip.EngineOf(c)
	if b := rule.bindings.latest.Load(); b != nil && b.fits(s, route, engine, earlier) {
		return b
	}
	id := bindingID{route, engine, earlier.nextPosition(rule)}
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

// nextPosition returns the position of a rule after a binding, which may be nil.
// Configured limits have no position of their own.
func (b *binding) nextPosition(rule *rule) int {
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

// isConfigured reports whether the limits come from the configuration.
func (r *rule) isConfigured() bool { return r.configured != nil }

// bind builds the binding of a rule on a route.
func (r *RateLimiter) bind(c *gin.Context, s *settings, rule *rule, earlier *binding, id bindingID) *binding {
	b := &binding{
		rule: rule, settings: s, limiter: r, engine: id.engine,
		route: id.route, routeName: id.route.String(), earlier: earlier, position: id.position,
	}
	b.handlers = findHandlers(c.HandlerNames())
	b.onRoute = isCalledByGin()
	if b.countIf != nil && !b.onRoute && !b.isConfigured() {
		panic("ratelimiter: WithCountIf was used in a RateLimit that a handler calls directly, so it cannot see the outcome of the request; register the RateLimit on the route, or call SetCost(c, 0) if the request should not count")
	}
	if b.isConcurrent() && !b.onRoute {
		panic("ratelimiter: a handler called Concurrent directly, so it cannot see when the request ends; register the Concurrent on the route")
	}
	if earlier != nil {
		b.passed = earlier.passed
	}
	if b.onRoute && !b.isConfigured() && !b.isConcurrent() {
		b.passed++
		b.replaced = b.passed <= b.handlers.replaced
	}
	b.bindLimits()
	b.bindDefaults()
	b.bindHeaders()
	b.plain = b.isPlain()
	r.known.addBound(b)
	rule.bindings.keep(id, b)
	return b
}

// keep stores a binding and replaces one that no longer fits.
func (bs *bindings) keep(id bindingID, b *binding) {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	known := map[bindingID]*binding{}
	if before := bs.known.Load(); before != nil {
		known = maps.Clone(*before)
	}
	known[id] = b
	bs.known.Store(&known)
	bs.latest.Store(b)
}

// bindLimits fills in everything about the quotas that is known without a request.
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
		if !l.isDynamic() {
			bound.number = strconv.FormatInt(capacity(&bound.quota), 10)
			bound.rejection = l.rejection(l.limit, []string{bound.name})
		}
		if name, ok := l.staticKey(b.route); ok {
			bound.key = name
			bound.quota.Key = l.storedKey(b.settings, l.namespace, b.position, name)
		}
		b.sharing = b.sharing || b.mayShare(i)
	}
}

// quota returns the quota of a limit without key and scope.
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

// staticKey returns the key of a limit if it does not depend on the request.
func (l *limitRule) staticKey(route route) (name string, ok bool) {
	switch l.namespace {
	case routeNamespace, defaultNamespace, fallbackNamespace:
		return route.String(), true
	case applicationNamespace:
		return applicationKey, true
	}
	return sharedName(l.key)
}

// hasName reports whether a name is taken by an earlier limit on the route, or by another
// limit of the same rule.
func (b *binding) hasName(name string, i int) bool {
	for j := range b.rule.limits {
		if j < i && b.mayHaveName(j, name) || j > i && b.rule.limits[j].name == name {
			return true
		}
	}
	for e := b.earlier; e != nil; e = e.earlier {
		for j := range e.limits {
			if !e.replaced && e.mayHaveName(j, name) {
				return true
			}
		}
	}
	return false
}

// mayShare reports whether limit i and an earlier limit of the request may have the same
// counter. Only the results of key functions, and added limits with another scope, can.
func (b *binding) mayShare(i int) bool {
	l := &b.limits[i]
	same := func(o *boundLimit) bool {
		samePer := o.quota.Per == l.quota.Per || o.listed != nil || l.listed != nil
		sameAlgorithm := o.quota.Algorithm == l.quota.Algorithm || o.mayFollowCalendar(b.settings) || l.mayFollowCalendar(b.settings) // a list may use both
		return samePer && sameAlgorithm && o.quota.Shadow == l.quota.Shadow
	}
	for j := range i { // regardless of the namespace, because an empty key means the route
		if !b.isConfigured() && same(&b.limits[j]) {
			return true
		}
	}
	for e := b.earlier; e != nil && l.namespace == keyNamespace; e = e.earlier {
		for j := range e.limits {
			if o := &e.limits[j]; !e.replaced && o.namespace == keyNamespace && e.settings == b.settings && same(o) {
				return true
			}
		}
	}
	return false
}

// bindDefaults determines whether the default limits may apply after this binding: after
// the last RateLimit of the route, or after the application limits if there is no
// RateLimit.
func (b *binding) bindDefaults() {
	if b.earlier != nil {
		b.defaultsChoice, b.alwaysLimited = b.earlier.defaultsChoice, b.earlier.alwaysLimited
	}
	due := b.handlers.limiters > 0 && !b.handlers.exempt
	if b.isConfigured() {
		b.defaults = due && b.handlers.rateLimits == 0 && b.rule == b.configured.first && b.rule == b.configured.applicationRule
		return
	}
	if b.replaced || b.isConcurrent() {
		return
	}
	if b.rule.defaults != defaultsUnlessLimited {
		b.defaultsChoice = b.rule.defaults
	}
	b.alwaysLimited = b.alwaysLimited || b.alwaysLimits()
	last := b.passed >= b.handlers.rateLimits
	b.defaults = due && last && b.defaultsChoice != defaultsNever && (b.defaultsChoice == defaultsAlways || !b.alwaysLimited)
}

func (b *binding) bindHeaders() {
	b.headerSet = b.settings.sent
	if b.sendHeaders != nil {
		b.headerSet = headerSet{}
		if *b.sendHeaders {
			b.headerSet = b.settings.switchedOn
		}
	}
	if b.isConcurrent() { // these headers describe a window, and there is none
		b.xHeaders, b.draft7Headers, b.draft6Headers = false, false, false
	}
	if b.settings.secret != "" {
		return
	}
	var policy []byte
	for i := range b.limits {
		l := &b.limits[i]
		switch {
		case l.isDynamic():
			return
		case l.limit >= 0 && !l.shadow:
			policy = l.appendPolicy(headers.AppendSeparator(policy), l.limit)
		}
	}
	b.policy = string(policy)
	b.oneLimit = len(b.limits) == 1 && b.policy != "" && b.earlier == nil && !b.hasEarlierDrafts() && !b.isConcurrent()
}

// isPlain reports whether requests can take the fast path: they need nothing but their
// scope, and the counters are in memory.
func (b *binding) isPlain() bool {
	special := len(b.skip) > 0 || b.countIf != nil || b.ban != nil || b.longestWait > 0 || b.neverReject ||
		b.mixed || b.sharing || b.defaults || b.replaced || b.earlier != nil || b.isConcurrent()
	if special || b.settings.memory == nil || len(b.limits) > maxPlain || b.standardHeaders && b.policy == "" {
		return false
	}
	for i := range b.limits {
		l := &b.limits[i]
		if l.isDynamic() || l.costFunc != nil || l.shadow || l.limit < 0 || l.key == "" || l.quota.Prepare() != nil {
			return false
		}
	}
	return true
}
