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

// Several limits on one request, in one middleware and in several, are compared with
// a model in which no two limits have anything in common. What is drawn is in
// together_drawn_test.go, the model in together_model_test.go.

// answer is what a visitor got.
type answer struct {
	at       time.Time
	response *httptest.ResponseRecorder
	left     []ratelimiter.Info // from Peek, when all is over
	status   []ratelimiter.Info // of all keys that there may be
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
		got := answer{at: now, response: get(engine, v.path, v.change)}
		got.left = left
		for _, key := range v.keys() {
			infos, err := limiter.Status(t.Context(), key, v.address)
			if !errors.Is(err, ratelimiter.ErrUnknownKey) {
				require.NoError(t, err)
			}
			got.status = append(got.status, infos...)
		}
		answers = append(answers, got)
	}
	return answers
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
			told := fmt.Sprintf("request %d: %+v at %v: %v", i, v, answers[i].at, a)
			want.check(rt, told, v.aRequest, answers[i])
			for _, info := range answers[i].status {
				require.Equal(rt, a.left(info.Limit, answers[i].at, info.Key, info.Scope), info.Remaining, "%s%+v", told, info)
			}
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
	want.checkRefusal(t, told, request, got, policies)
}

func (want *expected) checkRefusal(t *rapid.T, told string, request aRequest, got answer, policies map[string]map[string]any) {
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
