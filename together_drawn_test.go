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

// anApplication is one that was drawn, and who visits it.
type anApplication struct {
	algorithm           ratelimiter.Algorithm
	application, routes *aLimit // in the configuration, nil for none
	group, route        []*aRule
	visits              []visitor
}

type visitor struct {
	after time.Duration
	reset bool // in place of a request
	aRequest
}

var periodsDrawn = map[time.Duration]string{time.Second: "second", time.Minute: "minute", time.Hour: "hour"}

func drawApplication(t *rapid.T) *anApplication {
	numbers := rapid.Permutation([]int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}).Draw(t, "numbers")
	next := func() (number int64) { number, numbers = numbers[0], numbers[1:]; return number }
	one := func(label string) bool { return rapid.IntRange(0, 3).Draw(t, label) == 3 }
	period := func() time.Duration {
		return rapid.SampledFrom([]time.Duration{time.Second, time.Minute, time.Hour}).Draw(t, "per")
	}
	counted := rapid.SampledFrom([]ratelimiter.Algorithm{ratelimiter.FixedWindow, ratelimiter.SlidingLog})
	a := &anApplication{algorithm: counted.Draw(t, "algorithm")}
	configured := func(label, key string) *aLimit {
		if !one(label) {
			return nil
		}
		return &aLimit{number: next(), per: period(), key: key, algorithm: a.algorithm}
	}
	a.application, a.routes = configured("application limits", "application"), configured("default limits", "")
	limit := func(first *aLimit) *aLimit {
		l := &aLimit{number: next(), per: period(), algorithm: a.algorithm}
		if first != nil {
			l.key, l.scope, l.cost, l.shadow, l.algorithm = first.key, first.scope, first.cost, first.shadow, first.algorithm
		}
		if one("own key") {
			l.key, l.elsewhere = rapid.SampledFrom([]string{"shared", "header"}).Draw(t, "key"), first != nil
		}
		if rapid.Bool().Draw(t, "own scope") {
			l.scope, l.elsewhere = rapid.SampledFrom([]string{"address", "everyone", "header"}).Draw(t, "scope"), first != nil
		}
		if one("own algorithm") {
			l.algorithm = counted.Draw(t, "algorithm")
		}
		if one("own cost") {
			l.cost = rapid.SampledFrom([]string{"two", "header"}).Draw(t, "cost")
		}
		l.shadow, l.staffFree = l.shadow || one("shadow"), one("unlimited for staff")
		return l
	}
	rule := func() *aRule {
		r := &aRule{limits: []*aLimit{limit(nil)}, skips: one("skips"), counts: one("counts"), tells: one("refuses nobody")}
		for range rapid.IntRange(0, 2).Draw(t, "more limits") {
			l := limit(r.limits[0])
			if slices.ContainsFunc(r.limits, func(o *aLimit) bool { return !o.elsewhere && o.per == l.per && o.shadow == l.shadow }) {
				l.elsewhere = true
			}
			r.limits = append(r.limits, l)
		}
		if !r.limits[0].shadow && !r.tells && one("bans") {
			r.after, r.banPer, r.ban = rapid.IntRange(1, 3).Draw(t, "after"), period(), period()
		}
		return r
	}
	for range rapid.IntRange(0, 1).Draw(t, "rules of the group") {
		a.group = append(a.group, rule())
	}
	for range rapid.IntRange(1, 2).Draw(t, "rules of the route") {
		a.route = append(a.route, rule())
	}
	for range rapid.IntRange(1, 40).Draw(t, "visits") {
		a.visits = append(a.visits, visitor{
			after: rapid.SampledFrom([]time.Duration{0, 0, time.Millisecond, 400 * time.Millisecond, time.Second, 20 * time.Second, 20 * time.Minute}).Draw(t, "gap"),
			reset: rapid.IntRange(0, 19).Draw(t, "reset") == 19,
			aRequest: aRequest{
				path: rapid.SampledFrom([]string{"/a", "/a", "/b", "/plain"}).Draw(t, "path"), address: rapid.SampledFrom([]string{"192.0.2.1", "192.0.2.1", "192.0.2.2"}).Draw(t, "address"),
				key: rapid.SampledFrom([]string{"", "tenant"}).Draw(t, "key"), header: rapid.SampledFrom([]string{"", "user", "192.0.2.1", "everyone"}).Draw(t, "header"), cost: rapid.SampledFrom([]string{"0", "1", "3"}).Draw(t, "units"),
				staff: one("staff"), skipped: one("skipped"), discarded: one("discarded"),
			},
		})
	}
	return a
}

// keys are those that a visitor may have used.
func (v *visitor) keys() []string {
	return []string{"GET " + v.path, "shared", "tenant", "application"}
}

// rules are those of a path, in order.
func (a *anApplication) rules(path string) []*aRule {
	configured, own := &aRule{}, slices.Concat(a.group, a.route)
	if a.application != nil {
		configured.limits = append(configured.limits, a.application)
	}
	if path == "/plain" {
		own = nil
		if a.routes != nil {
			configured.limits = append(configured.limits, a.routes)
		}
	}
	if len(configured.limits) == 0 {
		return own
	}
	return slices.Concat([]*aRule{configured}, own)
}

// left is what a key and scope have left of a limit.
func (a *anApplication) left(number int64, now time.Time, key, scope string) int64 {
	for _, r := range slices.Concat(a.rules("/a"), a.rules("/plain")) {
		for _, l := range r.limits {
			if l.number == number && !(r.guards(l) && r.banned(now, key, scope)) {
				return max(0, number-l.used(now, key, scope))
			}
		}
	}
	return 0
}

// options are what makes a limit what it is.
func (l *aLimit) options(first bool) (limit any, options []ratelimiter.Option) {
	scope := map[string]func(*gin.Context) string{
		"everyone": ratelimiter.ByEveryone, "header": ratelimiter.ByHeader("X-Header"),
		"": func(*gin.Context) string { return "" }, "address": func(*gin.Context) string { return "" },
	}[l.scope]
	cost := func(c *gin.Context) int { units, _ := strconv.Atoi(c.GetHeader("X-Cost")); return units }
	key := map[string]func(*gin.Context) string{"shared": ratelimiter.Shared("shared"), "header": ratelimiter.ByHeader("X-Key")}[l.key]
	options = append(options, ratelimiter.WithAlgorithm(l.algorithm))
	if key != nil && (first || l.elsewhere) {
		options = append(options, ratelimiter.WithKey(key))
	}
	if first && l.scope != "" || l.elsewhere {
		options = append(options, ratelimiter.WithScope(scope))
	}
	switch l.cost {
	case "two":
		options = append(options, ratelimiter.WithCost(2))
	case "header":
		options = append(options, ratelimiter.WithCost(cost))
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

func (r *aRule) handler(limiter *ratelimiter.RateLimiter) gin.HandlerFunc {
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
	if r.tells {
		options = append(options, ratelimiter.WithOverLimit(nil))
	}
	if r.after > 0 {
		options = append(options, ratelimiter.WithBan(r.after, r.banPer, r.ban))
	}
	return limiter.RateLimit(limit, r.limits[0].per, options...)
}

// String tells of what was drawn.
func (a *anApplication) String() (text string) {
	for _, path := range []string{"/a", "/plain"} {
		for _, r := range a.rules(path) {
			text += fmt.Sprintf("\n%s skips %v counts %v tells %v after %d per %v ban %v:", path, r.skips, r.counts, r.tells, r.after, r.banPer, r.ban)
			for _, l := range r.limits {
				text += fmt.Sprintf("\n    %d per %v key %q scope %q %v cost %q shadow %v staff %v elsewhere %v", l.number, l.per, l.key, l.scope, l.algorithm, l.cost, l.shadow, l.staffFree, l.elsewhere)
			}
		}
	}
	return text + "\n"
}
