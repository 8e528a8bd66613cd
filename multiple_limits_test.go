package ratelimiter_test

import (
	"encoding/json"
	"errors"
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

// Several limits on one request, in one RateLimit and in several, are compared with a
// model that keeps every charge. The random applications are in
// multiple_limits_draw_test.go, the model is in multiple_limits_model_test.go.

func TestMultipleLimitsMatchAModelThatKeepsEveryCharge(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a := drawApplication(rt)
		var answers []answer
		synctest.Test(t, func(t *testing.T) { answers = a.run(t) })
		m := newModel()
		for i, act := range a.actions {
			if act.reset {
				for _, key := range act.keys() {
					m.reset(key, act.scope)
				}
				continue
			}
			configured, defaults, route := a.rules(act.path)
			want := m.serve(configured, defaults, route, answers[i].at, act.modelRequest)
			context := fmt.Sprintf("action %d: %+v at %v: %v", i, act, answers[i].at, a)
			want.check(rt, m, context, act.modelRequest, answers[i])
			for _, info := range answers[i].status {
				require.Contains(rt, a.remaining(m, info, answers[i].at), info.Remaining, "%s%+v", context, info)
			}
		}
	})
}

// answer is what a client gets.
type answer struct {
	at       time.Time
	response *httptest.ResponseRecorder
	peeked   []ratelimiter.Info // after the handlers
	status   []ratelimiter.Info // for all possible keys
}

// run builds the application and performs the actions of its clients.
func (a *drawnApplication) run(t *testing.T) (answers []answer) {
	limiter, engine := &ratelimiter.RateLimiter{}, gin.New()
	var peeked []ratelimiter.Info
	engine.Use(func(c *gin.Context) {
		c.Next()
		var err error
		peeked, err = limiter.Peek(c)
		require.NoError(t, err)
	})
	a.register(t, limiter, engine)
	defer func() { require.NoError(t, limiter.Close()) }()
	for _, act := range a.actions {
		pass(act.after)
		got := answer{at: time.Now()}
		for _, key := range act.keys() {
			if act.reset {
				require.NoError(t, limiter.Reset(t.Context(), key, act.scope))
			}
		}
		if !act.reset {
			got.response = get(engine, act.path, act.change)
			got.peeked = peeked
			got.status = act.askStatus(t, limiter)
		}
		answers = append(answers, got)
	}
	return answers
}

func (a *drawnApplication) register(t *testing.T, limiter *ratelimiter.RateLimiter, engine *gin.Engine) {
	config := ratelimiter.Config{"RATELIMITER_ALGORITHM": a.algorithm}
	for name, l := range map[string]*modelLimit{"RATELIMITER_APPLICATION_LIMITS": a.application, "RATELIMITER_DEFAULT_LIMITS": a.defaults} {
		if l != nil {
			config[name] = fmt.Sprintf("%d/%s", l.number, drawnPeriods[l.per])
		}
	}
	require.NoError(t, limiter.InitApp(engine, config))
	engine.GET("/plain", ok)
	group := engine.Group("/")
	for _, r := range a.group {
		group.Use(r.handler(limiter))
	}
	var handlers []gin.HandlerFunc
	for _, r := range a.route {
		handlers = append(handlers, r.handler(limiter))
	}
	handlers = append(handlers, ok)
	group.GET("/a", handlers...)
	group.GET("/b", handlers...)
	engine.GET("/c", handlers...)
}

func (a *action) askStatus(t *testing.T, limiter *ratelimiter.RateLimiter) (all []ratelimiter.Info) {
	for _, key := range a.keys() {
		infos, err := limiter.Status(t.Context(), key, a.scope)
		if !errors.Is(err, ratelimiter.ErrUnknownKey) {
			require.NoError(t, err)
		}
		all = append(all, infos...)
	}
	return all
}

// remaining returns the values that Status may report for a limit: a key may be a route,
// at several positions, and a key that a client has sent.
func (a *drawnApplication) remaining(m *model, info ratelimiter.Info, now time.Time) (list []int64) {
	r, l := a.find(info.Limit)
	keys := []counterKey{{namespace: map[string]string{"shared": "key", "header": "key"}[l.key], name: info.Key}}
	switch l.key {
	case "default", "application":
		keys[0].namespace = l.key
	case "":
		keys = nil
	}
	if l.key == "" || l.key == "header" {
		for position := range 3 {
			keys = append(keys, counterKey{"route", position + 1, info.Key})
		}
	}
	for _, key := range keys {
		list = append(list, m.remaining(r, l, counter{key, info.Scope, l.algorithm, l.per, l.shadow}, now))
	}
	return list
}

func (want *result) check(t *rapid.T, m *model, context string, q modelRequest, got answer) {
	status := map[bool]int{true: 200, false: 429}[want.rejecting == nil]
	require.Equal(t, status, got.response.Code, context)
	context += fmt.Sprint(got.response.Header())
	policies := want.checkHeaders(t, context, got)
	peeked, names := map[int64]int64{}, map[string]bool{}
	for _, info := range got.peeked {
		peeked[info.Limit], names[info.Name] = info.Remaining, true
	}
	require.Equal(t, want.peeked, peeked, context)
	require.Len(t, names, len(peeked), context)
	if want.rejecting != nil {
		want.checkRejection(t, m, context, q, got, policies)
	}
}

// checkHeaders compares the headers with the model, and returns the policies by name.
func (want *result) checkHeaders(t *rapid.T, context string, got answer) map[string]map[string]any {
	policies, limits := itemsOf(t, got.response.Header().Values("RateLimit-Policy")), itemsOf(t, got.response.Header().Values("RateLimit"))
	shown, strictest, lowest := map[int64]int64{}, map[int64]bool{}, int64(math.MaxInt64)
	for _, s := range want.steps {
		for _, o := range s.outcomes {
			switch rank := o.rank(); {
			case o.limit.shadow:
				continue
			case rank < lowest:
				strictest, lowest = map[int64]bool{}, rank
				fallthrough
			case rank == lowest:
				strictest[o.limit.number] = true
			}
			shown[o.limit.number] = o.remaining
		}
	}
	found := map[int64]int64{}
	for name, item := range limits {
		require.Contains(t, policies, name, context)
		found[policies[name]["q"].(int64)] = item["r"].(int64)
	}
	require.Len(t, policies, len(limits), context)
	require.Equal(t, shown, found, context)
	if len(shown) == 0 {
		require.Empty(t, header(got.response, "X-RateLimit-Limit"), context)
		return policies
	}
	number, err := strconv.ParseInt(header(got.response, "X-RateLimit-Limit"), 10, 64)
	require.NoError(t, err, context)
	require.Equal(t, fmt.Sprint(shown[number]), header(got.response, "X-RateLimit-Remaining"), context)
	require.Contains(t, strictest, number, context)
	return policies
}

func (want *result) checkRejection(t *rapid.T, m *model, context string, q modelRequest, got answer, policies map[string]map[string]any) {
	var document struct {
		Violated []string `json:"violated-policies"`
	}
	require.NoError(t, json.Unmarshal(got.response.Body.Bytes(), &document), context)
	var denied, violated []int64
	hopeless := false
	for _, o := range want.rejecting.outcomes {
		if !o.allowed && !o.limit.shadow {
			denied, hopeless = append(denied, o.limit.number), hopeless || o.hopeless
		}
	}
	for _, name := range document.Violated {
		violated = append(violated, policies[name]["q"].(int64))
	}
	require.ElementsMatch(t, denied, violated, context)
	if hopeless {
		require.Empty(t, got.response.Header().Values("Retry-After"), context)
		return
	}
	seconds, err := strconv.Atoi(header(got.response, "Retry-After"))
	require.NoError(t, err, context)
	rejected := func(at time.Time) bool {
		_, exceeded := m.evaluate(want.rejecting.rule, want.rejecting.position, q, at, want.rejecting.before)
		return exceeded
	}
	later := got.at.Add(time.Duration(seconds) * time.Second)
	require.True(t, rejected(later.Add(-time.Second)), context)
	if !want.rejecting.meets() {
		require.False(t, rejected(later), context)
	}
}

// meets reports whether two limits of the rule share a counter. Each of them only knows
// how long it denies the request itself.
func (s *step) meets() bool {
	seen := map[counter]bool{}
	return slices.ContainsFunc(s.outcomes, func(o *outcome) bool {
		met := seen[o.counter]
		seen[o.counter] = true
		return met
	})
}

// itemsOf parses a header of named items, and fails if a name occurs twice.
func itemsOf(t *rapid.T, values []string) map[string]map[string]any {
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
