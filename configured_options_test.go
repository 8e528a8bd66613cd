package ratelimiter_test

import (
	"context"
	"maps"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
)

// options returns the value of an options key.
func options(list ...ratelimiter.Option) []ratelimiter.Option { return list }

var byAccount = ratelimiter.WithScope(ratelimiter.ByHeader("X-Account"))

func isFailed(c *gin.Context) bool { return c.Writer.Status() >= 400 }

// kinds are configurations with a default limit of 2/hour and with an application limit
// of 2/hour.
var kinds = map[string]func(config ratelimiter.Config, list ...ratelimiter.Option) ratelimiter.Config{
	"default": func(config ratelimiter.Config, list ...ratelimiter.Option) ratelimiter.Config {
		return with(config, "RATELIMITER_DEFAULT_LIMITS", "2/hour", "RATELIMITER_DEFAULT_OPTIONS", list)
	},
	"application": func(config ratelimiter.Config, list ...ratelimiter.Option) ratelimiter.Config {
		return with(config, "RATELIMITER_APPLICATION_LIMITS", "2/hour", "RATELIMITER_APPLICATION_OPTIONS", list)
	},
	"both": func(config ratelimiter.Config, list ...ratelimiter.Option) ratelimiter.Config {
		return with(config, "RATELIMITER_APPLICATION_LIMITS", "2/hour", "RATELIMITER_APPLICATION_OPTIONS", list,
			"RATELIMITER_DEFAULT_LIMITS", "2/hour", "RATELIMITER_DEFAULT_OPTIONS", list)
	},
}

// with returns a configuration with additional keys and values.
func with(config ratelimiter.Config, pairs ...any) ratelimiter.Config {
	config = maps.Clone(config)
	for i := 0; i < len(pairs); i += 2 {
		config[pairs[i].(string)] = pairs[i+1]
	}
	return config
}

func TestOptionsApplyToConfiguredLimits(t *testing.T) {
	failing := withHeader("X-Fail", "yes")
	for name, test := range map[string]struct {
		options  []ratelimiter.Option
		requests []func(*http.Request)
		want     []int
	}{
		"no options": {nil, []func(*http.Request){from("192.0.2.7:1"), from("192.0.2.7:1"), from("192.0.2.7:1"), from("192.0.2.8:1")}, []int{200, 200, 429, 200}},
		"a scope":    {options(byAccount), []func(*http.Request){withHeader("X-Account", "ann"), withHeader("X-Account", "ann"), withHeader("X-Account", "ann"), withHeader("X-Account", "bob")}, []int{200, 200, 429, 200}},
		"a skip": {options(ratelimiter.WithSkip(func(c *gin.Context) bool { return c.GetHeader("X-Account") == "ops" })),
			[]func(*http.Request){withHeader("X-Account", "ops"), withHeader("X-Account", "ops"), withHeader("X-Account", "ops"), withHeader("X-Account", "bob")}, []int{200, 200, 200, 200}},
		"a cost":         {options(ratelimiter.WithCost(2)), []func(*http.Request){failing, failing}, []int{400, 429}},
		"a shadow":       {options(ratelimiter.WithShadow()), []func(*http.Request){failing, failing, failing}, []int{400, 400, 400}},
		"observe only":   {options(ratelimiter.WithObserveOnly()), []func(*http.Request){failing, failing, failing}, []int{400, 400, 400}},
		"an algorithm":   {options(ratelimiter.WithAlgorithm(ratelimiter.TokenBucket)), []func(*http.Request){failing, failing, failing}, []int{400, 400, 429}},
		"an answer":      {options(ratelimiter.WithOverLimit(func(c *gin.Context) { c.Status(420) })), []func(*http.Request){failing, failing, failing}, []int{400, 400, 420}},
		"counting fails": {options(ratelimiter.WithCountIf(isFailed)), []func(*http.Request){nil, nil, nil, failing, failing, nil}, []int{200, 200, 200, 400, 400, 429}},
		"a ban":          {options(ratelimiter.WithBan(1, time.Hour, ratelimiter.Day)), []func(*http.Request){failing, failing, failing, failing}, []int{400, 400, 429, 429}},
	} {
		for kind, of := range kinds {
			t.Run(name+" of "+kind, func(t *testing.T) {
				onEveryBackend(t, func(t *testing.T, config ratelimiter.Config) {
					engine, _ := application(t, of(config, test.options...))
					engine.GET("/", func(c *gin.Context) {
						if c.GetHeader("X-Fail") != "" {
							c.Status(http.StatusBadRequest)
						}
					})
					var got []int
					for _, request := range test.requests {
						if request == nil {
							request = func(*http.Request) {}
						}
						got = append(got, get(engine, "/", request).Code)
					}
					require.Equal(t, test.want, got)
				})
			})
		}
	}
}

func TestABanOfADefaultLimitOutlastsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, _ := application(t, kinds["default"](ratelimiter.Config{}, ratelimiter.WithBan(1, time.Hour, ratelimiter.Day)))
		engine.GET("/", ok)
		require.Equal(t, []int{200, 200, 429}, statuses(engine, "/", 3))
		pass(5 * time.Hour)
		require.Equal(t, []int{429}, statuses(engine, "/", 1))
		pass(ratelimiter.Day)
		require.Equal(t, []int{200}, statuses(engine, "/", 1))
	})
}

func TestRequestsCanWaitForDefaultLimits(t *testing.T) {
	for kind, of := range kinds {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				engine, _ := application(t, of(ratelimiter.Config{"RATELIMITER_ALGORITHM": "fixed-window"}, ratelimiter.WithWait(time.Hour)))
				engine.GET("/", ok)
				pass(time.Until(time.Now().Truncate(time.Hour).Add(time.Hour + 30*time.Minute)))
				start := time.Now()
				require.Equal(t, []int{200, 200, 200}, statuses(engine, "/", 3))
				require.Equal(t, 30*time.Minute, time.Since(start))
			})
		})
	}
}

// questions counts the calls to a backend.
type questions struct {
	backends.Backend
	calls  atomic.Int64
	quotas atomic.Int64
}

func (q *questions) Take(ctx context.Context, quotas []backends.Quota, verdicts []backends.Verdict) error {
	q.calls.Add(1)
	q.quotas.Add(int64(len(quotas)))
	return q.Backend.Take(ctx, quotas, verdicts)
}

func TestBothKindsOfLimitsTakeOneCallIfTheirOptionsAllowIt(t *testing.T) {
	for name, test := range map[string]struct {
		defaults, application []ratelimiter.Option
		want                  int64
	}{
		"without options":       {nil, nil, 1},
		"costs and a shadow":    {options(ratelimiter.WithCost(2)), options(ratelimiter.WithShadow()), 1},
		"a scope of defaults":   {options(byAccount), nil, 2},
		"a scope of the others": {nil, options(byAccount), 2},
		"a skip":                {options(ratelimiter.WithSkip(func(*gin.Context) bool { return false })), nil, 2},
		"a count":               {nil, options(ratelimiter.WithCountIf(func(*gin.Context) bool { return true })), 2},
	} {
		t.Run(name, func(t *testing.T) {
			memory, err := backends.NewMemory(nil)
			require.NoError(t, err)
			backend := &questions{Backend: memory}
			engine, _ := application(t, ratelimiter.Config{
				"RATELIMITER_BACKEND": backend, "RATELIMITER_DEFAULT_LIMITS": "9/hour", "RATELIMITER_DEFAULT_OPTIONS": test.defaults,
				"RATELIMITER_APPLICATION_LIMITS": "9/hour", "RATELIMITER_APPLICATION_OPTIONS": test.application,
			})
			engine.GET("/", ok)
			require.Equal(t, 200, get(engine, "/").Code)
			require.Equal(t, test.want, backend.calls.Load())
			require.Equal(t, int64(2), backend.quotas.Load())
		})
	}
}

func TestARequestRejectedByDefaultLimitsIsNotChargedToTheApplication(t *testing.T) {
	onEveryBackend(t, func(t *testing.T, config ratelimiter.Config) {
		engine, limiter := application(t, with(config, "RATELIMITER_DEFAULT_LIMITS", "1/hour", "RATELIMITER_DEFAULT_OPTIONS", options(byAccount),
			"RATELIMITER_APPLICATION_LIMITS", "9/hour", "RATELIMITER_APPLICATION_OPTIONS", options(ratelimiter.WithScope(ratelimiter.ByEveryone))))
		engine.GET("/", ok)
		require.Equal(t, []int{200, 429, 429}, statuses(engine, "/", 3, withHeader("X-Account", "ann")))
		left, err := limiter.Status(t.Context(), "application", "everyone")
		require.NoError(t, err)
		require.Equal(t, int64(8), left[0].Remaining)
		response := get(engine, "/", withHeader("X-Account", "bob"))
		require.Equal(t, `"application-per-hour";q=9;w=3600, "per-hour";q=1;w=3600`, header(response, "RateLimit-Policy"))
	})
}

func TestCountIfIsCalledOncePerKindOfLimitEvenForAPanic(t *testing.T) {
	var judged atomic.Int64
	counts := ratelimiter.WithCountIf(func(c *gin.Context) bool {
		judged.Add(1)
		return c.Writer.Status() == http.StatusInternalServerError
	})
	engine, limiter := application(t, kinds["both"](ratelimiter.Config{}, counts))
	engine.GET("/panic", gin.RecoveryWithWriter(nil), func(*gin.Context) { panic("a mistake") })
	engine.GET("/fine", ok)
	recovered := func(path string) {
		defer func() { _ = recover() }()
		get(engine, path)
	}
	engine.GET("/late", func(*gin.Context) { panic("a mistake") })
	recovered("/late")
	require.Equal(t, int64(2), judged.Load())
	require.Equal(t, 200, get(engine, "/fine").Code)
	require.Equal(t, int64(4), judged.Load())
	for key, want := range map[string]int64{"GET /late": 1, "GET /fine": 2, "application": 1} {
		left, err := limiter.Status(t.Context(), key, "192.0.2.1")
		require.NoError(t, err)
		require.Equal(t, want, left[0].Remaining, key)
	}
	judged.Store(0)
	require.Equal(t, 500, get(engine, "/panic").Code)
	require.Equal(t, 429, get(engine, "/panic").Code, "both application limits are used")
	require.Equal(t, int64(2), judged.Load(), "CountIf is not called for a rejected request")
}

func TestDefaultLimitsWithOptionsApplyAfterARateLimitToo(t *testing.T) {
	engine, limiter := application(t, kinds["both"](ratelimiter.Config{}, ratelimiter.WithCountIf(isFailed), byAccount))
	fail := func(c *gin.Context) { c.Status(http.StatusBadRequest) }
	engine.GET("/beside", limiter.RateLimit(9, time.Hour, ratelimiter.WithDefaults()), fail)
	engine.GET("/unlimited", limiter.RateLimit(ratelimiter.Unlimited, time.Hour), fail)
	engine.GET("/own", limiter.RateLimit(9, time.Hour), ok)
	require.Equal(t, []int{400, 400, 429}, statuses(engine, "/beside", 3, withHeader("X-Account", "ann")))
	require.Equal(t, []int{400, 400, 429}, statuses(engine, "/unlimited", 3, withHeader("X-Account", "bob")))
	require.Equal(t, []int{200, 200, 200}, statuses(engine, "/own", 3, withHeader("X-Account", "cid")))
}

// Configured limits are charged once, even if a handler calls a RateLimit.
func TestDefaultLimitsAreChargedOnceIfAHandlerCallsARateLimit(t *testing.T) {
	engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "2/hour"})
	unlimited := limiter.RateLimit(ratelimiter.Unlimited, time.Hour)
	engine.GET("/", func(c *gin.Context) { unlimited(c) })
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/", 3))
}

func TestSetCostAppliesToTheRateLimitAndNotToDefaultLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no minute ends
		engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "100/hour"})
		cost := func(c *gin.Context) { require.NoError(t, ratelimiter.SetCost(c, 40)) }
		engine.GET("/beside", limiter.RateLimit(100, time.Minute, ratelimiter.WithDefaults()), cost)
		engine.GET("/alone", cost)
		for path, want := range map[string][]int64{"/beside": {60, 99}, "/alone": {60}} {
			require.Equal(t, 200, get(engine, path).Code)
			left, err := limiter.Status(t.Context(), "GET "+path, "192.0.2.1")
			require.NoError(t, err)
			var remaining []int64
			for _, info := range left { // sorted by period
				remaining = append(remaining, info.Remaining)
			}
			require.Equal(t, want, remaining, path)
		}
	})
}

func TestUpdateKeepsTheOptions(t *testing.T) {
	config := with(kinds["both"](ratelimiter.Config{}, byAccount), "RATELIMITER_APPLICATION_LIMITS", "")
	engine, limiter := application(t, config)
	engine.GET("/", ok)
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/", 3, withHeader("X-Account", "ann")))
	require.NoError(t, limiter.Update(with(config, "RATELIMITER_DEFAULT_LIMITS", "3/hour", "RATELIMITER_APPLICATION_LIMITS", "9/day")))
	require.Equal(t, []int{200, 429}, statuses(engine, "/", 2, withHeader("X-Account", "ann")), "the counters are kept")
	require.Equal(t, []int{200, 200, 200, 429}, statuses(engine, "/", 4, withHeader("X-Account", "bob")))
	require.ErrorContains(t, limiter.Update(with(config, "RATELIMITER_DEFAULT_OPTIONS", options(byAccount, byAccount))),
		"RATELIMITER_DEFAULT_OPTIONS cannot change while the application runs")
}

func TestAnOptionThatDoesNotFitTheConfigurationIsAnError(t *testing.T) {
	shared := ratelimiter.WithKey(ratelimiter.Shared("api"))
	for says, option := range map[string]ratelimiter.Option{
		"WithKey is an option of RateLimit":            shared,
		"WithName applies to one limit":                ratelimiter.WithName("x"),
		"WithBurst applies to one limit":               ratelimiter.WithBurst(3),
		"which are a text; add the limit to that text": ratelimiter.WithLimit(1, time.Minute),
		"WithDefaults is an option of RateLimit":       ratelimiter.WithDefaults(),
		"WithoutDefaults is an option of RateLimit":    ratelimiter.WithoutDefaults(),
		"WithoutApplication is an option of RateLimit": ratelimiter.WithoutApplication(),
		"WithoutGroup is an option of RateLimit":       ratelimiter.WithoutGroup(),
		"contains a nil Option; remove it":             nil,
		"WithAlgorithm(9) is not an algorithm":         ratelimiter.WithAlgorithm(9),
	} {
		for _, limits := range []string{"1/hour", ""} {
			for key, value := range map[string]string{
				"RATELIMITER_DEFAULT_OPTIONS": "RATELIMITER_DEFAULT_LIMITS", "RATELIMITER_APPLICATION_OPTIONS": "RATELIMITER_APPLICATION_LIMITS",
			} {
				_, err := ratelimiter.New(gin.New(), ratelimiter.Config{key: options(option), value: limits})
				require.ErrorContains(t, err, says, key)
				require.ErrorContains(t, err, key)
			}
		}
	}
	_, err := ratelimiter.New(gin.New(), ratelimiter.Config{
		"RATELIMITER_DEFAULT_OPTIONS": options(ratelimiter.WithWait(time.Second), ratelimiter.WithShadow()),
	})
	require.ErrorContains(t, err, "RATELIMITER_DEFAULT_OPTIONS: WithWait needs limits that reject")
}
