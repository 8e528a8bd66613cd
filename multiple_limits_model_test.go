package ratelimiter_test

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
)

// The model of several limits on one request. It keeps every charge by counter, and knows
// nothing of bindings, ledgers and backends.

// modelLimit is one limit. Each has a unique number, which identifies it in the headers.
type modelLimit struct {
	number    int64
	per       time.Duration
	key       string // "shared" or "header" for WithKey, "default", "application", or "" for the route
	scope     string // "address", "everyone" or "header" for WithScope, or ""
	algorithm ratelimiter.Algorithm
	cost      string // "two", "header", or "" for one unit
	shadow    bool
	staffFree bool // unlimited for staff

	ownKey, ownScope bool // an added limit has its own WithKey or WithScope
}

// modelRule is one RateLimit, or the configured limits.
type modelRule struct {
	limits                                    []*modelLimit
	skips, counts, observesOnly, keepDefaults bool
	after                                     int // WithBan
	banPer, ban                               time.Duration
}

// modelRequest is what a client sends.
type modelRequest struct {
	path, address, key, header, cost string
	staff, skipped, discarded        bool
}

func (q modelRequest) change(request *http.Request) {
	request.RemoteAddr = q.address + ":80"
	for name, value := range map[string]string{"X-Key": q.key, "X-Header": q.header, "X-Cost": q.cost} {
		request.Header.Set(name, value)
	}
	for name, is := range map[string]bool{"X-Staff": q.staff, "X-Skip": q.skipped, "X-Discard": q.discarded} {
		if is {
			request.Header.Set(name, "yes")
		}
	}
}

// counter identifies what limits share: key, scope, algorithm, period and shadow.
type counter struct {
	key       counterKey
	scope     string
	algorithm ratelimiter.Algorithm
	per       time.Duration
	shadow    bool
}

// counterKey is a key in its namespace. For routes, the position is 1 or more.
type counterKey struct {
	namespace string
	position  int
	name      string
}

// banCounter identifies rejections that are counted together.
type banCounter struct {
	key   counterKey
	scope string
	per   time.Duration
}

// charge is a number of units that were charged.
type charge struct {
	at    time.Time
	units int64
}

// model is the history of all requests.
type model struct {
	charges    map[counter][]charge
	rejections map[banCounter][]time.Time
	bans       map[banCounter]time.Time // ends of the bans
}

func newModel() *model {
	return &model{map[counter][]charge{}, map[banCounter][]time.Time{}, map[banCounter]time.Time{}}
}

// counter returns the counter of a request, in a rule at a position among the RateLimits
// of the route.
func (l *modelLimit) counter(q modelRequest, position int) counter {
	route := "GET " + q.path
	key := counterKey{"route", position, route}
	switch {
	case l.key == "shared", l.key == "header" && q.key != "":
		key = counterKey{namespace: "key", name: map[string]string{"shared": "shared", "header": q.key}[l.key]}
	case l.key == "default":
		key = counterKey{namespace: "default", name: route}
	case l.key == "application":
		key = counterKey{namespace: "application", name: "application"}
	}
	return counter{key, l.scopeOf(q), l.algorithm, l.per, l.shadow}
}

func (l *modelLimit) scopeOf(q modelRequest) string {
	switch {
	case l.scope == "":
		return q.address
	case l.scope == "everyone":
		return "everyone"
	case l.scope == "address", q.header == "":
		return "address:" + q.address
	case strings.HasPrefix(q.header, "address:"):
		return "hash of " + q.header
	}
	return q.header
}

// units returns the cost of a request.
func (l *modelLimit) units(q modelRequest) int64 {
	switch l.cost {
	case "two":
		return 2
	case "header":
		units, _ := strconv.ParseInt(q.cost, 10, 64)
		return units
	}
	return 1
}

// used returns the units of a counter that still count.
func (m *model) used(of counter, now time.Time) (used int64) {
	for _, c := range m.charges[of] {
		counts := c.at.Add(of.per).After(now)
		if of.algorithm == ratelimiter.FixedWindow {
			counts = c.at.UnixNano()/int64(of.per) == now.UnixNano()/int64(of.per)
		}
		if counts {
			used += c.units
		}
	}
	return used
}

// bansOn returns the ban that a rejection by a limit counts towards. Limits with their
// own key or scope and shadow limits have none.
func (r *modelRule) bansOn(l *modelLimit, of counter) (id banCounter, guarded bool) {
	return banCounter{of.key, of.scope, r.banPer}, r.after > 0 && !l.ownKey && !l.ownScope && !l.shadow
}

func (m *model) banned(r *modelRule, l *modelLimit, of counter, now time.Time) bool {
	id, guarded := r.bansOn(l, of)
	return guarded && now.Before(m.bans[id])
}

// remaining returns what is left of a limit.
func (m *model) remaining(r *modelRule, l *modelLimit, of counter, now time.Time) int64 {
	if m.banned(r, l, of, now) {
		return 0
	}
	return max(0, l.number-m.used(of, now))
}

// outcome is the decision of one limit on a request.
type outcome struct {
	limit     *modelLimit
	counter   counter
	allowed   bool
	hopeless  bool  // waiting does not help
	units     int64 // the charge
	remaining int64
}

// rank orders limits; the limit that is closest to rejecting has the lowest rank.
func (o *outcome) rank() int64 {
	switch {
	case o.allowed:
		return o.remaining
	case o.hopeless:
		return -2
	}
	return -1
}

// evaluate decides one rule for a request to which the earlier rules have charged paid.
// It changes nothing.
func (m *model) evaluate(r *modelRule, position int, q modelRequest, now time.Time, paid map[counter]int64) (outcomes []*outcome, exceeded bool) {
	if r.skips && q.skipped {
		return nil, false
	}
	charged := maps.Clone(paid) // including the charges of this rule
	wanted := maps.Clone(paid)  // as if every limit of this rule allowed
	for _, l := range r.limits {
		if l.staffFree && q.staff {
			continue
		}
		o := &outcome{limit: l, counter: l.counter(q, position)}
		of := o.counter
		total := max(l.units(q), wanted[of])
		used := m.used(of, now) + charged[of]
		o.units, o.hopeless = total-wanted[of], total > l.number
		o.allowed = !o.hopeless && used+o.units <= l.number
		if !o.hopeless {
			wanted[of] = total
		}
		if o.allowed {
			charged[of] += o.units
		} else {
			o.units = 0
		}
		o.remaining = max(0, l.number-m.used(of, now)-charged[of])
		o.allowed = o.allowed && !m.banned(r, l, of, now)
		exceeded = exceeded || !o.allowed && !l.shadow
		outcomes = append(outcomes, o)
	}
	if exceeded {
		for _, o := range outcomes {
			o.units = 0
			o.remaining = max(0, o.limit.number-m.used(o.counter, now)-paid[o.counter])
			if m.banned(r, o.limit, o.counter, now) {
				o.remaining = 0
			}
		}
	}
	return outcomes, exceeded
}

// recordRejection counts a rejection towards the ban of a rule. All its limits have the
// same key and scope.
func (m *model) recordRejection(r *modelRule, now time.Time, outcomes []*outcome) {
	for _, o := range outcomes {
		id, guarded := r.bansOn(o.limit, o.counter)
		if !guarded {
			continue
		}
		rejects := func(o *outcome) bool {
			return !o.allowed && !o.limit.shadow && o.counter.key == id.key && o.counter.scope == id.scope
		}
		if now.Before(m.bans[id]) || !slices.ContainsFunc(outcomes, rejects) {
			return
		}
		m.rejections[id] = slices.DeleteFunc(append(m.rejections[id], now), func(at time.Time) bool { return !at.Add(r.banPer).After(now) })
		if len(m.rejections[id]) >= r.after {
			delete(m.rejections, id)
			m.bans[id] = now.Add(r.ban)
		}
		return
	}
}

// step is the application of one rule to a request.
type step struct {
	rule     *modelRule
	position int
	outcomes []*outcome
	exceeded bool
	before   map[counter]int64 // the charges of the earlier rules
}

// canReject reports whether the rule can reject this request.
func (s *step) canReject() bool {
	return !s.rule.observesOnly && slices.ContainsFunc(s.outcomes, func(o *outcome) bool { return !o.limit.shadow })
}

// result is the result of a request.
type result struct {
	steps     []*step
	rejecting *step // nil if the request is allowed
	peeked    map[int64]int64
}

// serve applies the rules of a route to a request. The default limits follow if none of
// the RateLimits can reject it; nil for none.
func (m *model) serve(configured, defaults *modelRule, route []*modelRule, now time.Time, q modelRequest) *result {
	res, paid := &result{}, map[counter]int64{}
	if configured != nil {
		m.take(res, configured, 0, q, now, paid)
	}
	keep := len(route) == 0
	protected := false
	for i, r := range route {
		if res.rejecting == nil {
			protected = m.take(res, r, i+1, q, now, paid).canReject() || protected
		}
		keep = keep || r.keepDefaults
	}
	if res.rejecting == nil && defaults != nil && (keep || !protected) {
		m.take(res, defaults, 0, q, now, paid)
	}
	if res.rejecting != nil {
		res.refund(m, now, paid)
	} else {
		m.charge(res, now, q)
	}
	res.peeked = map[int64]int64{}
	for _, s := range res.steps {
		for _, o := range s.outcomes {
			res.peeked[o.limit.number] = m.remaining(s.rule, o.limit, o.counter, now)
		}
	}
	return res
}

func (m *model) take(res *result, r *modelRule, position int, q modelRequest, now time.Time, paid map[counter]int64) *step {
	s := &step{rule: r, position: position, before: maps.Clone(paid)}
	s.outcomes, s.exceeded = m.evaluate(r, position, q, now, paid)
	res.steps = append(res.steps, s)
	if s.exceeded && !r.observesOnly {
		m.recordRejection(r, now, s.outcomes)
		s.outcomes, _ = m.evaluate(r, position, q, now, paid)
		res.rejecting = s
	}
	for _, o := range s.outcomes {
		paid[o.counter] += o.units
	}
	return s
}

// refund refunds the limits that have charged a rejected request, those of the last rule
// first.
func (res *result) refund(m *model, now time.Time, paid map[counter]int64) {
	for _, s := range slices.Backward(res.steps) {
		for _, o := range s.outcomes {
			if o.units > 0 {
				paid[o.counter] -= o.units
				o.remaining = max(0, o.limit.number-m.used(o.counter, now)-paid[o.counter])
			}
		}
	}
}

// charge records the final charges of an allowed request. A rule that does not count the
// request refunds its units, unless a later rule that counts it relies on them.
func (m *model) charge(res *result, now time.Time, q modelRequest) {
	counts := func(s *step) bool { return !s.rule.counts || !q.discarded }
	for i, s := range res.steps {
		for _, o := range s.outcomes {
			kept := counts(s) || slices.ContainsFunc(res.steps[i+1:], func(later *step) bool {
				return counts(later) && !later.exceeded && slices.ContainsFunc(later.outcomes, func(l *outcome) bool {
					return l.allowed && l.counter == o.counter
				})
			})
			if o.units > 0 && kept {
				m.charges[o.counter] = append(m.charges[o.counter], charge{now, o.units})
			}
		}
	}
}

// reset clears the counters of a scope on a key, in every namespace.
func (m *model) reset(key, scope string) {
	maps.DeleteFunc(m.charges, func(c counter, _ []charge) bool { return c.key.name == key && c.scope == scope })
	maps.DeleteFunc(m.rejections, func(c banCounter, _ []time.Time) bool { return c.key.name == key && c.scope == scope })
	maps.DeleteFunc(m.bans, func(c banCounter, _ time.Time) bool { return c.key.name == key && c.scope == scope })
}
