package ratelimiter_test

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"pgregory.net/rapid"
)

// drawnApplication is a random application and the actions of its clients. The routes /a
// and /b have the rules of the group and of the route, /c only has those of the route,
// and /plain has none.
type drawnApplication struct {
	algorithm             ratelimiter.Algorithm
	application, defaults *modelLimit // configured limits; nil for none
	group, route          []*modelRule
	actions               []action
}

// action is a request or a reset.
type action struct {
	after time.Duration
	reset bool
	// scope is the scope of Reset and Status.
	scope string
	modelRequest
}

var drawnPeriods = map[time.Duration]string{time.Second: "second", time.Minute: "minute", time.Hour: "hour"}

// drawing draws a drawnApplication.
type drawing struct {
	*rapid.T
	numbers []int64
	// common is the form of most limits if counters should often be shared; otherwise
	// nil.
	common *modelLimit
}

func (d *drawing) sometimes(label string) bool { return rapid.IntRange(0, 3).Draw(d.T, label) == 3 }

func (d *drawing) text(label string, of ...string) string {
	return rapid.SampledFrom(of).Draw(d.T, label)
}

func (d *drawing) number() (number int64) {
	number, d.numbers = d.numbers[0], d.numbers[1:]
	return number
}

func (d *drawing) period() time.Duration {
	return rapid.SampledFrom([]time.Duration{time.Second, time.Minute, time.Hour}).Draw(d.T, "period")
}

// counted draws an algorithm whose counters the model supports.
func (d *drawing) counted() ratelimiter.Algorithm {
	return rapid.SampledFrom([]ratelimiter.Algorithm{ratelimiter.FixedWindow, ratelimiter.SlidingLog}).Draw(d.T, "algorithm")
}

func drawApplication(t *rapid.T) *drawnApplication {
	d := &drawing{T: t, numbers: rapid.Permutation([]int64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}).Draw(t, "numbers")}
	a := &drawnApplication{algorithm: d.counted()}
	if rapid.Bool().Draw(t, "shared counters") {
		d.common = &modelLimit{per: d.period(), key: d.text("key", "shared", "header"), algorithm: a.algorithm}
	}
	if d.sometimes("application limits") {
		a.application = &modelLimit{number: d.number(), per: d.period(), key: "application", algorithm: a.algorithm}
	}
	if rapid.Bool().Draw(t, "default limits") {
		a.defaults = &modelLimit{number: d.number(), per: d.period(), key: "default", algorithm: a.algorithm}
	}
	for range rapid.IntRange(0, 1).Draw(t, "rules of the group") {
		a.group = append(a.group, d.rule(a))
	}
	for range rapid.IntRange(1, 2).Draw(t, "rules of the route") {
		a.route = append(a.route, d.rule(a))
	}
	for range rapid.IntRange(1, 40).Draw(t, "actions") {
		a.actions = append(a.actions, d.action())
	}
	return a
}

func (d *drawing) rule(a *drawnApplication) *modelRule {
	first := &modelLimit{algorithm: a.algorithm}
	if d.common != nil && !d.sometimes("another key") {
		first.key = d.common.key
	}
	first = d.limit(first, true)
	r := &modelRule{
		limits: []*modelLimit{first}, skips: d.sometimes("skips"), counts: d.sometimes("counts"),
		observesOnly: d.sometimes("observes only"), keepDefaults: d.sometimes("keeps defaults"),
	}
	for range rapid.IntRange(0, 2).Draw(d.T, "more limits") {
		l := d.limit(first, false)
		if slices.ContainsFunc(r.limits, func(o *modelLimit) bool { return !o.isApart() && o.per == l.per && o.shadow == l.shadow }) && !l.isApart() {
			l.ownScope = true // otherwise RateLimit panics
			if l.scope == "" {
				l.scope = "address"
			}
		}
		r.limits = append(r.limits, l)
	}
	if !first.shadow && !r.observesOnly && d.sometimes("bans") {
		r.after, r.banPer, r.ban = rapid.IntRange(1, 3).Draw(d.T, "after"), d.period(), d.period()
	}
	return r
}

// isApart reports whether an added limit has its own key or scope.
func (l *modelLimit) isApart() bool { return l.ownKey || l.ownScope }

// limit draws a limit that differs from another one only in its options.
func (d *drawing) limit(like *modelLimit, first bool) *modelLimit {
	l := &modelLimit{number: d.number(), per: d.period(), key: like.key, scope: like.scope, cost: like.cost, shadow: like.shadow, algorithm: like.algorithm}
	if d.common != nil && !d.sometimes("another period") {
		l.per = d.common.per
	}
	if d.sometimes("own key") {
		l.key, l.ownKey = d.text("key", "shared", "header"), !first
	}
	if d.sometimes("own scope") {
		l.scope, l.ownScope = d.text("scope", "address", "everyone", "header"), !first
	}
	if d.sometimes("own algorithm") {
		l.algorithm = d.counted()
	}
	if d.sometimes("own cost") {
		l.cost = d.text("cost", "two", "header")
	}
	l.shadow, l.staffFree = l.shadow || d.sometimes("shadow"), d.sometimes("unlimited for staff")
	return l
}

func (d *drawing) action() action {
	q := modelRequest{
		path:    d.text("path", "/a", "/a", "/b", "/c", "/plain"),
		address: d.text("address", "192.0.2.1", "192.0.2.1", "192.0.2.2"),
		key:     d.text("key", "", "tenant", "tenant", "shared", "GET /a", "application"),
		header:  d.text("header", "", "user", "192.0.2.1", "everyone", "address:192.0.2.1"),
		cost:    d.text("units", "0", "1", "3"),
		staff:   d.sometimes("staff"), skipped: d.sometimes("skipped"), discarded: d.sometimes("discarded"),
	}
	return action{
		after: rapid.SampledFrom([]time.Duration{0, 0, time.Millisecond, 400 * time.Millisecond, time.Second, 20 * time.Second, 20 * time.Minute}).Draw(d.T, "gap"),
		reset: rapid.IntRange(0, 19).Draw(d.T, "reset") == 19,
		scope: d.text("status", q.address, q.address, "address:"+q.address, "everyone", "user"), modelRequest: q,
	}
}

// keys returns the keys that a client may have used.
func (a *action) keys() []string {
	return []string{"GET " + a.path, "shared", "tenant", "application"}
}

// rules returns the rules on a path: the configured limits, the RateLimits and the
// default limits that may follow.
func (a *drawnApplication) rules(path string) (configured, defaults *modelRule, route []*modelRule) {
	both := &modelRule{}
	if a.application != nil {
		both.limits = append(both.limits, a.application)
	}
	if a.defaults != nil {
		defaults = &modelRule{limits: []*modelLimit{a.defaults}}
	}
	switch path {
	case "/plain":
		if a.defaults != nil {
			both.limits, defaults = append(both.limits, a.defaults), nil
		}
	case "/c":
		route = a.route
	default:
		route = slices.Concat(a.group, a.route)
	}
	if len(both.limits) > 0 {
		configured = both
	}
	return configured, defaults, route
}

// find returns the limit with a number and its rule.
func (a *drawnApplication) find(number int64) (*modelRule, *modelLimit) {
	configured := &modelRule{limits: []*modelLimit{a.application, a.defaults}}
	for _, r := range slices.Concat(a.group, a.route, []*modelRule{configured}) {
		for _, l := range r.limits {
			if l != nil && l.number == number {
				return r, l
			}
		}
	}
	return nil, nil
}

// options returns the options of a limit.
func (l *modelLimit) options(first bool) (limit any, options []ratelimiter.Option) {
	options = append(options, ratelimiter.WithAlgorithm(l.algorithm))
	if l.key != "" && (first || l.ownKey) {
		key := map[string]func(*gin.Context) string{"shared": ratelimiter.Shared("shared"), "header": ratelimiter.ByHeader("X-Key")}[l.key]
		options = append(options, ratelimiter.WithKey(key))
	}
	if l.scope != "" && (first || l.ownScope) {
		scope := map[string]func(*gin.Context) string{
			"everyone": ratelimiter.ByEveryone, "header": ratelimiter.ByHeader("X-Header"), "address": func(*gin.Context) string { return "" },
		}[l.scope]
		options = append(options, ratelimiter.WithScope(scope))
	}
	switch l.cost {
	case "two":
		options = append(options, ratelimiter.WithCost(2))
	case "header":
		options = append(options, ratelimiter.WithCost(func(c *gin.Context) int { units, _ := strconv.Atoi(c.GetHeader("X-Cost")); return units }))
	}
	if l.shadow {
		options = append(options, ratelimiter.WithShadow())
	}
	if !l.staffFree {
		return int(l.number), options
	}
	return func(c *gin.Context) int {
		if c.GetHeader("X-Staff") != "" {
			return ratelimiter.Unlimited
		}
		return int(l.number)
	}, options
}

func (r *modelRule) handler(limiter *ratelimiter.RateLimiter) gin.HandlerFunc {
	limit, options := r.limits[0].options(true)
	for _, l := range r.limits[1:] {
		more, own := l.options(false)
		options = append(options, ratelimiter.WithLimit(more, l.per, own...))
	}
	if r.skips {
		options = append(options, ratelimiter.WithSkip(func(c *gin.Context) bool { return c.GetHeader("X-Skip") != "" }))
	}
	if r.counts {
		options = append(options, ratelimiter.WithCountIf(func(c *gin.Context) bool { return c.GetHeader("X-Discard") == "" }))
	}
	if r.observesOnly {
		options = append(options, ratelimiter.WithObserveOnly())
	}
	if r.keepDefaults {
		options = append(options, ratelimiter.WithDefaults())
	}
	if r.after > 0 {
		options = append(options, ratelimiter.WithBan(r.after, r.banPer, r.ban))
	}
	return limiter.RateLimit(limit, r.limits[0].per, options...)
}

// String describes the application.
func (a *drawnApplication) String() (text string) {
	for _, path := range []string{"/a", "/c", "/plain"} {
		configured, defaults, route := a.rules(path)
		for _, r := range slices.Concat([]*modelRule{configured}, route, []*modelRule{defaults}) {
			if r == nil {
				continue
			}
			text += fmt.Sprintf("\n%s skips %v counts %v observes only %v defaults %v after %d per %v ban %v:", path, r.skips, r.counts, r.observesOnly, r.keepDefaults, r.after, r.banPer, r.ban)
			for _, l := range r.limits {
				text += fmt.Sprintf("\n    %d per %v key %q scope %q %v cost %q shadow %v staff %v own key %v own scope %v", l.number, l.per, l.key, l.scope, l.algorithm, l.cost, l.shadow, l.staffFree, l.ownKey, l.ownScope)
			}
		}
	}
	return text + "\n"
}
