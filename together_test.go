package ratelimiter_test

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http/httptest"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dunglas/httpsfv"
	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
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

// answer is what a visitor got.
type answer struct {
	at       time.Time
	response *httptest.ResponseRecorder
	left     []ratelimiter.Info // from Peek, when all is over
}

// receive lets the visitors in.
func (a *anApplication) receive(t *testing.T) (answers []answer) {
	config := ratelimiter.Config{"RATELIMITER_ALGORITHM": a.algorithm}
	for name, l := range map[string]*aLimit{"RATELIMITER_APPLICATION_LIMITS": a.application, "RATELIMITER_DEFAULT_LIMITS": a.routes} {
		if l != nil {
			config[name] = fmt.Sprintf("%d/%s", l.number, periodsDrawn[l.per])
		}
	}
	limiter, engine := &ratelimiter.RateLimiter{}, gin.New()
	var left []ratelimiter.Info
	engine.Use(func(c *gin.Context) {
		c.Next()
		var err error
		left, err = limiter.Peek(c)
		require.NoError(t, err)
	})
	require.NoError(t, limiter.InitApp(engine, config))
	defer func() { require.NoError(t, limiter.Close()) }()
	engine.GET("/plain", ok)
	group := engine.Group("/")
	for _, r := range a.group {
		group.Use(r.handler(limiter))
	}
	var handlers []gin.HandlerFunc
	for _, r := range a.route {
		handlers = append(handlers, r.handler(limiter))
	}
	group.GET("/a", append(slices.Clone(handlers), ok)...)
	group.GET("/b", append(slices.Clone(handlers), ok)...)
	for _, v := range a.visits {
		pass(v.after)
		now := time.Now()
		if v.reset {
			for _, key := range v.keys() {
				require.NoError(t, limiter.Reset(t.Context(), key, v.address))
			}
			answers = append(answers, answer{at: now})
			continue
		}
		left = nil
		answers = append(answers, answer{now, get(engine, v.path, v.change), left})
	}
	return answers
}

// keys are those that a visitor may have used.
func (v *visitor) keys() []string {
	return []string{"GET " + v.path, "shared", "tenant", "application"}
}

func TestLimitsTogetherAreWhatEachIsAlone(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a := drawApplication(rt)
		var answers []answer
		synctest.Test(t, func(t *testing.T) { answers = a.receive(t) })
		for i, v := range a.visits {
			if v.reset {
				for _, r := range slices.Concat(a.rules("/a"), a.rules("/plain")) {
					r.reset(v.keys(), v.address)
				}
				continue
			}
			rules := a.rules(v.path)
			want := expect(rules, answers[i].at, v.aRequest)
			want.check(rt, fmt.Sprintf("request %d: %+v at %v: %v", i, v, answers[i].at, a), v.aRequest, answers[i])
		}
	})
}

func (want *expected) check(t *rapid.T, told string, request aRequest, got answer) {
	status := map[bool]int{true: 200, false: 429}[want.refusing == nil]
	require.Equal(t, status, got.response.Code, told)
	policies, limits := listed(t, got.response.Header()["RateLimit-Policy"]), listed(t, got.response.Header()["RateLimit"])
	shown, closest, fewest := map[int64]int64{}, map[int64]bool{}, int64(math.MaxInt64)
	for _, o := range want.shown {
		switch rank := o.rank(); {
		case o.limit.shadow:
			continue
		case rank < fewest:
			closest, fewest = map[int64]bool{}, rank
			fallthrough
		case rank == fewest:
			closest[o.limit.number] = true
		}
		shown[o.limit.number] = o.left
	}
	told += fmt.Sprint(got.response.Header())
	found := map[int64]int64{}
	for name, left := range limits {
		require.Contains(t, policies, name, told)
		found[policies[name]["q"].(int64)] = left["r"].(int64)
	}
	require.Len(t, policies, len(limits), told)
	require.Equal(t, shown, found, told)
	peeked, names := map[int64]int64{}, map[string]bool{}
	for _, info := range got.left {
		peeked[info.Limit], names[info.Name] = info.Remaining, true
	}
	require.Equal(t, want.after, peeked, told)
	require.Len(t, names, len(peeked), told)
	if len(shown) == 0 {
		require.Empty(t, header(got.response, "X-RateLimit-Limit"), told)
		return
	}
	number, err := strconv.ParseInt(header(got.response, "X-RateLimit-Limit"), 10, 64)
	require.NoError(t, err, told)
	require.Equal(t, fmt.Sprint(shown[number]), header(got.response, "X-RateLimit-Remaining"), told)
	require.Contains(t, closest, number, told)
	if want.refusing == nil {
		return
	}
	want.checkRefusal(t, told, request, got, policies, number)
}

func (want *expected) checkRefusal(t *rapid.T, told string, request aRequest, got answer, policies map[string]map[string]any, number int64) {
	var document struct {
		Violated []string `json:"violated-policies"`
	}
	require.NoError(t, json.Unmarshal(got.response.Body.Bytes(), &document), told)
	var denied, violated []int64
	hopeless := false
	for _, o := range want.denied {
		denied, hopeless = append(denied, o.limit.number), hopeless || o.hopeless
	}
	for _, name := range document.Violated {
		violated = append(violated, policies[name]["q"].(int64))
	}
	require.ElementsMatch(t, denied, violated, told)
	seconds, err := strconv.Atoi(header(got.response, "Retry-After"))
	require.NoError(t, err, told)
	if hopeless {
		return // waiting does not help
	}
	later := got.at.Add(time.Duration(seconds) * time.Second)
	_, refused := want.refusing.opinions(later, request)
	require.False(t, refused, told)
	_, refused = want.refusing.opinions(later.Add(-time.Second), request)
	require.True(t, refused, told)
}

// listed reads a header of named items, which must not have one name twice.
func listed(t *rapid.T, values []string) map[string]map[string]any {
	list, err := httpsfv.UnmarshalList(values)
	require.NoError(t, err)
	found := map[string]map[string]any{}
	for _, member := range list {
		item := member.(httpsfv.Item)
		name := item.Value.(string)
		require.NotContains(t, found, name)
		found[name] = map[string]any{}
		for _, p := range item.Params.Names() {
			found[name][p], _ = item.Params.Get(p)
		}
	}
	return found
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
