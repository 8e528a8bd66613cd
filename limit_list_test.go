package ratelimiter_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
)

// listed parses the X-List header of a request as limits.
func listed(c *gin.Context) []ratelimiter.Limit {
	list, err := ratelimiter.ParseLimits(c.GetHeader("X-List"))
	if err != nil {
		return nil
	}
	return list
}

func withList(text string) func(*http.Request) { return withHeader("X-List", text) }

func TestTheLimitsOfAListAreChargedTogether(t *testing.T) {
	onEveryBackend(t, func(t *testing.T, config ratelimiter.Config) {
		engine, limiter := application(t, config)
		list := []ratelimiter.Limit{{Limit: 5, Per: ratelimiter.Day}, {Limit: 2, Per: time.Hour}}
		engine.GET("/text", limiter.RateLimits("5/day; 2/hour"), ok)
		engine.GET("/list", limiter.RateLimits(list), ok)
		engine.GET("/function", limiter.RateLimits(func(*gin.Context) []ratelimiter.Limit { return list }), ok)
		for _, path := range []string{"/text", "/list", "/function"} {
			require.Equal(t, []int{200, 200, 429, 429}, statuses(engine, path, 4), path)
			response := get(engine, path)
			require.Equal(t, `"per-day";q=5;w=86400, "per-hour";q=2;w=3600`, header(response, "RateLimit-Policy"), path)
			require.Equal(t, int64(3), parameters(t, response.Header().Values("RateLimit"))["per-day"]["r"], "a rejected request is not charged")
			require.Equal(t, "2", header(response, "X-RateLimit-Limit"))
			require.Contains(t, response.Body.String(), `"violated-policies":["per-hour"]`)
		}
	})
}

func TestALimitThatIsNotReturnedKeepsItsHistory(t *testing.T) {
	onEveryBackend(t, func(t *testing.T, config ratelimiter.Config) {
		engine, limiter := application(t, config)
		engine.GET("/", limiter.RateLimits(listed), ok)
		require.Equal(t, []int{200, 200}, statuses(engine, "/", 2, withList("3/day; 9/second")))
		require.Equal(t, []int{200, 200, 200}, statuses(engine, "/", 3, withList("7/second")))
		require.Equal(t, []int{200, 429}, statuses(engine, "/", 2, withList("3/day")), "two of three units were already used")
		require.Equal(t, []int{200, 429}, statuses(engine, "/", 2, withList("4/day")), "a larger plan continues the counter")
	})
}

// The short period ends long before the long one, and must not end it.
func TestALimitThatIsReturnedAgainContinuesItsCounter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, nil)
		engine.GET("/", limiter.RateLimits(listed), ok)
		require.Equal(t, []int{200, 200}, statuses(engine, "/", 2, withList("3/day")))
		for range 9 {
			require.Equal(t, []int{200}, statuses(engine, "/", 1, withList("1/second")))
			pass(2 * time.Second)
		}
		require.Equal(t, []int{200, 429}, statuses(engine, "/", 2, withList("3/day")))
	})
}

func TestAnEmptyListDoesNotLimit(t *testing.T) {
	list := []ratelimiter.Limit(nil)
	engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "3/hour"})
	engine.GET("/", limiter.RateLimits(func(*gin.Context) []ratelimiter.Limit { return list }), func(c *gin.Context) {
		info, _ := ratelimiter.FromContext(c)
		c.String(http.StatusOK, info.Name+" "+strconv.FormatInt(info.Limit, 10))
	})
	require.Equal(t, "per-hour-2 3", get(engine, "/").Body.String(), "the default limits replace an empty list")
	list = []ratelimiter.Limit{{Limit: ratelimiter.Unlimited, Per: time.Hour}}
	require.Equal(t, "per-hour-2 3", get(engine, "/").Body.String(), "and an unlimited list")
	list = append(list, ratelimiter.Limit{Limit: 1 << 62, Per: time.Minute})
	require.Equal(t, fmt.Sprintf("per-minute %d", backends.MaxLimit), get(engine, "/").Body.String())
	for _, list = range [][]ratelimiter.Limit{{{Limit: 0, Per: time.Minute}}, {{Limit: 5, Per: time.Minute}, {Limit: 0, Per: time.Minute}}} {
		response := get(engine, "/")
		require.Equal(t, 429, response.Code)
		require.Equal(t, `"per-minute";q=0;w=60`, header(response, "RateLimit-Policy"), "of two limits, the smaller one applies")
	}
}

func TestAListMayHaveTheShortestAndTheLongestPeriod(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.GET("/", limiter.RateLimits(func(*gin.Context) []ratelimiter.Limit {
		return []ratelimiter.Limit{{Limit: 5, Per: backends.MinPer}, {Limit: 5, Per: backends.MaxPer}}
	}), ok)
	require.Equal(t, `"per-millisecond";q=5;w=1, "per-366d";q=5;w=31622400`, header(get(engine, "/"), "RateLimit-Policy"))
}

func TestAnInvalidLimitOfAShadowListLeavesOutThatLimit(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.GET("/", limiter.RateLimits(func(*gin.Context) []ratelimiter.Limit {
		return []ratelimiter.Limit{{Limit: 5, Per: 60}, {Limit: 7, Per: time.Hour}}
	}, ratelimiter.WithShadow()), func(c *gin.Context) {
		info, found := ratelimiter.FromContext(c)
		require.True(t, found)
		require.EqualValues(t, 7, info.Limit)
	})
	require.Equal(t, 200, get(engine, "/").Code)
}

func TestAnInvalidListDoesNotAllowTheRequest(t *testing.T) {
	var reported []string
	var list []ratelimiter.Limit
	returned := func(*gin.Context) []ratelimiter.Limit { return list }
	engine, limiter := application(t, nil)
	engine.Use(func(c *gin.Context) {
		c.Next()
		reported = c.Errors.Errors()
	})
	engine.GET("/", limiter.RateLimits(returned), ok)
	engine.GET("/shadow", limiter.RateLimits(returned, ratelimiter.WithShadow()), ok)
	engine.GET("/observed", limiter.RateLimits(returned, ratelimiter.WithObserveOnly()), ok)

	for _, per := range []time.Duration{0, -time.Hour, 60, backends.MinPer - 1, backends.MaxPer + 1} {
		list = []ratelimiter.Limit{{Limit: 5, Per: time.Hour}, {Limit: 7, Per: per}}
		require.Equal(t, 500, get(engine, "/").Code, per)
		require.Len(t, reported, 1)
		require.Contains(t, reported[0], fmt.Sprintf("the limit of 7 per %v that a function returned on GET /: the period must be from 1ms to 8784h0m0s", per))
		for _, path := range []string{"/shadow", "/observed"} {
			response := get(engine, path)
			require.Equal(t, 200, response.Code, "limits that never reject let the request continue")
			require.Len(t, reported, 1)
		}
	}

	for _, twice := range [][]int64{{1, 5}, {5, 1}, {1, 1}, {5, 1, 5}, {1, ratelimiter.Unlimited, 3}} {
		list = nil
		for _, limit := range twice {
			list = append(list, ratelimiter.Limit{Limit: limit, Per: time.Hour})
		}
		require.NoError(t, limiter.Reset(t.Context(), "GET /", "192.0.2.1"))
		require.Equal(t, []int{200, 429}, statuses(engine, "/", 2), "the smaller limit applies, and is charged once: %v", twice)
		require.Contains(t, reported[0], "the smaller limit applies", twice)
		require.Equal(t, `"per-hour";q=1;w=3600`, header(get(engine, "/"), "RateLimit-Policy"))
	}
}

func TestOptionsApplyToAllLimitsOfAList(t *testing.T) {
	for name, limits := range map[string]any{"text": "3/hour; 4/day", "function": listed} {
		t.Run(name, func(t *testing.T) {
			engine, limiter := application(t, nil)
			free := func(c *gin.Context) bool { return c.GetHeader("X-Free") != "" }
			engine.GET("/", limiter.RateLimits(limits,
				ratelimiter.WithKey(ratelimiter.Shared("api")), ratelimiter.WithScope(ratelimiter.ByHeader("X-Customer")),
				ratelimiter.WithCost(2), ratelimiter.WithAlgorithm(ratelimiter.SlidingLog), ratelimiter.WithSkip(free),
				ratelimiter.WithLimit(6, time.Hour, ratelimiter.WithScope(ratelimiter.ByEveryone))), func(c *gin.Context) {
				infos, err := limiter.Peek(c)
				require.NoError(t, err)
				for _, info := range infos {
					c.String(http.StatusOK, "%s %s %s %d; ", info.Name, info.Key, info.Scope, info.Remaining)
				}
			})
			plan := withList("3/hour; 4/day")
			first := map[string]string{
				"text":     "per-hour api ann 1; per-day api ann 2; per-hour-2 api everyone 4; ",
				"function": "per-hour-2 api ann 1; per-day api ann 2; per-hour api everyone 4; ",
			}[name]
			require.Equal(t, first, get(engine, "/", plan, withHeader("X-Customer", "ann")).Body.String())
			require.Equal(t, 429, get(engine, "/", plan, withHeader("X-Customer", "ann")).Code)
			require.Equal(t, 200, get(engine, "/", plan, withHeader("X-Customer", "bob")).Code)
			require.Equal(t, 200, get(engine, "/", plan, withHeader("X-Free", "yes")).Code)
			require.Equal(t, []int{200, 429}, []int{
				get(engine, "/", plan, withHeader("X-Customer", "cid")).Code,
				get(engine, "/", plan, withHeader("X-Customer", "dan")).Code,
			}, "all customers together have six units")
		})
	}
}

func TestAListCanBeAShadow(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.GET("/", limiter.RateLimits(listed, ratelimiter.WithShadow()), func(c *gin.Context) {
		info, _ := ratelimiter.FromContext(c)
		c.String(http.StatusOK, "%s %v", info.Name, info.Exceeded)
	})
	require.Equal(t, "shadow-per-hour false", get(engine, "/", withList("1/hour")).Body.String())
	require.Equal(t, "shadow-per-hour true", get(engine, "/", withList("1/hour")).Body.String())
}

func TestLimitsOfAListHaveUniqueNames(t *testing.T) {
	engine, limiter := application(t, nil)
	group := engine.Group("/", limiter.RateLimits(listed))
	group.GET("/", limiter.RateLimits(listed, ratelimiter.WithScope(ratelimiter.ByEveryone)), limiter.RateLimit(99, time.Minute),
		limiter.RateLimit(98, time.Hour, ratelimiter.WithName("per-user")), ok)
	require.Equal(t, `"per-minute-3";q=99;w=60, "per-user";q=98;w=3600`, header(get(engine, "/"), "RateLimit-Policy"),
		"whatever a list may still hold has a name that is kept for it")
	require.Equal(t, `"per-minute";q=7;w=60, "per-5m";q=8;w=300, "per-minute-2";q=7;w=60, "per-5m-2";q=8;w=300, "per-minute-3";q=99;w=60, "per-user";q=98;w=3600`,
		header(get(engine, "/", withList("7/minute; 8 per 5 minutes")), "RateLimit-Policy"))
}

// Functions can return an unlimited number of periods.
func TestUnboundedPeriodsAreCountedButNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no minute ends
		engine, limiter := application(t, nil)
		engine.GET("/", limiter.RateLimits(listed), ok)
		for seconds := 100; seconds < 300; seconds++ {
			list := withList(fmt.Sprintf("1 per %d seconds", seconds))
			require.Equal(t, []int{200, 429}, statuses(engine, "/", 2, list))
		}
		require.Equal(t, []string{"GET /"}, limiter.Keys())
		require.NoError(t, limiter.Reset(t.Context(), "GET /", "192.0.2.1"))
		require.Equal(t, []int{200, 429}, statuses(engine, "/", 2, withList("1 per 299 seconds")))
	})
}

func TestAListThatSharesACounterIsChargedOnce(t *testing.T) {
	engine, limiter := application(t, nil)
	shared := ratelimiter.WithKey(ratelimiter.Shared("api"))
	engine.GET("/", limiter.RateLimit(4, time.Hour, shared), limiter.RateLimits(listed, shared, ratelimiter.WithLimit(3, time.Hour)), ok)
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/", 3, withList("2/hour")))
	require.Equal(t, []int{200, 429}, statuses(engine, "/", 2, withList("9/hour")), "the strictest limit on the counter decides")
}

func TestAFixedListIsAsFastAsAddedLimits(t *testing.T) {
	added := allocations(t, nil, func(limiter *ratelimiter.RateLimiter) gin.HandlerFunc {
		return limiter.RateLimit(1<<40, time.Minute, ratelimiter.WithLimit(1<<30, time.Second))
	})
	require.Equal(t, added, allocations(t, nil, func(limiter *ratelimiter.RateLimiter) gin.HandlerFunc {
		return limiter.RateLimits("1000000M/minute; 1000M/second")
	}))
}

func TestFourLimitsTakeAsManyAllocationsAsTwo(t *testing.T) {
	for name, config := range map[string]ratelimiter.Config{"plain": nil, "observed": {"RATELIMITER_OBSERVER": idle{}}} {
		list := func(text string) float64 {
			return allocations(t, config, func(limiter *ratelimiter.RateLimiter) gin.HandlerFunc { return limiter.RateLimits(text) })
		}
		two, four := list("1000000M/minute; 1000000M/second"), list("1000000M/day; 1000000M/hour; 1000000M/minute; 1000000M/second")
		require.Equal(t, two, four, name)
	}
}

func TestDefaultLimitsCostTheRateLimitThatReplacesThemNoAllocation(t *testing.T) {
	require.Equal(t, allocations(t, nil), allocations(t, ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "5/day"}))
}

// allocations returns the allocations of a request on a route with a middleware, or with
// one limit.
func allocations(t *testing.T, config ratelimiter.Config, middleware ...func(*ratelimiter.RateLimiter) gin.HandlerFunc) float64 {
	w := &nowhere{http.Header{}}
	c, engine := gin.CreateTestContext(w)
	limiter, err := ratelimiter.New(engine, config)
	require.NoError(t, err)
	handler := limiter.RateLimit(1<<40, time.Minute)
	if middleware != nil {
		handler = middleware[0](limiter)
	}
	engine.GET("/", handler, func(*gin.Context) {})
	c.Request = httptest.NewRequest(http.MethodGet, "/", nil)
	return testing.AllocsPerRun(100, func() {
		clear(w.header)
		engine.HandleContext(c)
	})
}

func TestAnInvalidListPanicsAtRegistration(t *testing.T) {
	var limiter ratelimiter.RateLimiter
	var noList func(*gin.Context) []ratelimiter.Limit
	for says, register := range map[string]func(){
		"nil *RateLimiter":                       func() { (*ratelimiter.RateLimiter)(nil).RateLimits("1/minute") },
		`write 100/minute`:                       func() { limiter.RateLimits("100 minute") },
		"contains no limit":                      func() { limiter.RateLimits("") },
		"empty list":                             func() { limiter.RateLimits([]ratelimiter.Limit{}) },
		"nil function":                           func() { limiter.RateLimits(noList) },
		"are of type int; pass a string such as": func() { limiter.RateLimits(100) },
		"60*time.Second":                         func() { limiter.RateLimits([]ratelimiter.Limit{{1, 60}}) },
		"two limits per 1m0s, 1 and 2":           func() { limiter.RateLimits([]ratelimiter.Limit{{1, time.Minute}, {2, time.Minute}}) },
		"use ratelimiter.Unlimited":              func() { limiter.RateLimits([]ratelimiter.Limit{{1 << 60, time.Minute}}) },
		"there already is a limit per 1m0s":      func() { limiter.RateLimits("1/minute", ratelimiter.WithLimit(2, time.Minute)) },
		"RateLimits was given a nil Option":      func() { limiter.RateLimits("1/minute", nil) },
		"RateLimits takes a list; use RateLimit(limit, per, WithName(": func() { limiter.RateLimits("1/minute", ratelimiter.WithName("x")) },
		"WithBurst applies to one limit":                               func() { limiter.RateLimits("1/minute", ratelimiter.WithBurst(2)) },
	} {
		t.Run(says, func(t *testing.T) {
			defer func() {
				said := fmt.Sprint(recover())
				require.Contains(t, said, "ratelimiter: ")
				require.Contains(t, said, says)
			}()
			register()
		})
	}
}

func TestALimitThatAFunctionReturnsIsPreparedOnce(t *testing.T) {
	list := []ratelimiter.Limit{{Limit: 1 << 40, Per: time.Minute}, {Limit: 1 << 40, Per: time.Hour}}
	returning := func(n int) float64 {
		return allocations(t, nil, func(limiter *ratelimiter.RateLimiter) gin.HandlerFunc {
			return limiter.RateLimits(func(*gin.Context) []ratelimiter.Limit { return list[:n] })
		})
	}
	require.LessOrEqual(t, returning(2)-returning(1), 2.0, "the second limit only makes the headers longer")
}
