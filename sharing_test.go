package ratelimiter_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

// Two of the allocations are the map of the gin.Context, one is the decision with its
// header values.
func TestARequestAllocatesLittle(t *testing.T) {
	for name, test := range map[string]struct {
		headers bool
		limit   int
		want    float64
	}{
		"no headers":  {false, 1 << 40, 3},
		"all headers": {true, 1 << 40, 3},
		"rejected":    {true, 1, 12},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // where no minute ends
				w := &nowhere{http.Header{}}
				c, engine := gin.CreateTestContext(w)
				limiter, err := ratelimiter.New(engine, nil)
				require.NoError(t, err)
				engine.GET("/users/:id", limiter.RateLimit(test.limit, time.Minute, ratelimiter.WithHeaders(test.headers)), func(*gin.Context) {})
				c.Request = httptest.NewRequest(http.MethodGet, "/users/7", nil)
				require.Equal(t, test.want, testing.AllocsPerRun(1000, func() {
					clear(w.header)
					engine.HandleContext(c)
				}))
			})
		})
	}
}

var allHeaders = []string{"X-Ratelimit-Limit", "X-Ratelimit-Remaining", "X-Ratelimit-Reset", "Ratelimit-Policy", "Ratelimit"}

func TestResponsesDoNotShareHeaderValues(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.GET("/one", limiter.RateLimit(100, time.Hour), ok)
	engine.GET("/two", limiter.RateLimit(100, time.Hour, ratelimiter.WithLimit(1000, 24*time.Hour)), ok)
	for _, path := range []string{"/one", "/two"} {
		first := get(engine, path).Header()
		before := first.Clone()
		second := get(engine, path).Header()
		require.Equal(t, before, first, "a later request changes nothing")
		for _, name := range allHeaders {
			require.Len(t, second[name], 1)
			second[name][0] = "changed"
			second[name] = append(second[name], "added")
		}
		require.Equal(t, before, first)
		third := get(engine, path).Header()
		for _, name := range allHeaders {
			require.Len(t, third[name], 1)
			require.NotEqual(t, "changed", third[name][0])
		}
	}
}

func TestACopyOfAContextKeepsTheDecision(t *testing.T) {
	engine, limiter := application(t, nil)
	var copies []*gin.Context
	engine.GET("/", limiter.RateLimit(100, time.Hour), func(c *gin.Context) { copies = append(copies, c.Copy()) })
	for i := range 50 {
		get(engine, "/", from(fmt.Sprintf("192.0.2.%d:80", i)))
	}
	for i, c := range copies {
		info, found := ratelimiter.FromContext(c)
		require.True(t, found)
		require.Equal(t, fmt.Sprintf("192.0.2.%d", i), info.Scope)
		require.EqualValues(t, 99, info.Remaining)
	}
}

func TestAReusedContextHasNoEarlierDecision(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.GET("/limited", limiter.RateLimit(100, time.Hour), func(c *gin.Context) {
		_, found := ratelimiter.FromContext(c)
		require.True(t, found)
	})
	engine.GET("/free", func(c *gin.Context) {
		_, found := ratelimiter.FromContext(c)
		require.False(t, found)
	})
	c := gin.CreateTestContextOnly(httptest.NewRecorder(), engine)
	for range 3 {
		for _, path := range []string{"/limited", "/free"} {
			c.Request = httptest.NewRequest(http.MethodGet, path, nil)
			engine.HandleContext(c)
		}
	}
}

func TestTheDecisionIsFoundAfterAnotherMiddlewareChangedTheRequest(t *testing.T) {
	engine, limiter := application(t, nil)
	change := func(c *gin.Context) {
		c.Request = c.Request.Clone(context.WithValue(c.Request.Context(), http.ServerContextKey, nil))
	}
	engine.GET("/", limiter.RateLimit(5, time.Hour), change, limiter.RateLimit(3, time.Minute), change, func(c *gin.Context) {
		info, found := ratelimiter.FromContext(c)
		require.True(t, found)
		require.EqualValues(t, 3, info.Limit)
	})
	get(engine, "/")
}

func TestResetIsRelativeToTheDecision(t *testing.T) {
	for _, headers := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			engine, limiter := application(t, nil)
			var early, late ratelimiter.Info
			engine.GET("/", limiter.RateLimit(5, time.Minute, ratelimiter.WithAlgorithm(ratelimiter.FixedWindow), ratelimiter.WithHeaders(headers)), func(c *gin.Context) {
				early, _ = ratelimiter.FromContext(c)
				pass(10 * time.Second)
				late, _ = ratelimiter.FromContext(c.Copy())
			})
			pass(20 * time.Second)
			due := time.Now().Add(40 * time.Second)
			get(engine, "/")
			require.WithinDuration(t, due, early.Reset, 0)
			require.Equal(t, early, late)
		})
	}
}

func TestConcurrentRequestsKeepTheirOwnDecisions(t *testing.T) {
	engine, limiter := application(t, nil)
	var copies sync.WaitGroup
	engine.Use(limiter.RateLimit(100000, time.Hour))
	engine.GET("/", limiter.RateLimit(100, time.Minute, ratelimiter.WithAlgorithm(ratelimiter.SlidingLog)), func(c *gin.Context) {
		copied, client := c.Copy(), c.RemoteIP()
		copies.Go(func() {
			if info, found := ratelimiter.FromContext(copied); !found || info.Scope != client {
				t.Errorf("%+v is not the decision for %s", info, client)
			}
		})
	})
	var clients sync.WaitGroup
	for client := range 8 {
		clients.Go(func() {
			var left []string
			for range 101 {
				left = append(left, header(get(engine, "/", from(fmt.Sprintf("192.0.2.%d:80", client))), "X-RateLimit-Remaining"))
			}
			var want []string
			for n := 99; n >= 0; n-- {
				want = append(want, strconv.Itoa(n))
			}
			if !slices.Equal(append(want, "0"), left) {
				t.Errorf("client %d was told %v", client, left)
			}
		})
	}
	clients.Wait()
	copies.Wait()
}

func TestHeadersOnlyShowLimitsThatApplied(t *testing.T) {
	hour := func(c *gin.Context) int {
		limit, err := strconv.Atoi(c.GetHeader("X-Limit"))
		if err != nil {
			return ratelimiter.Unlimited
		}
		return limit
	}
	engine, limiter := application(t, nil)
	engine.GET("/static", limiter.RateLimit(ratelimiter.Unlimited, time.Hour, ratelimiter.WithLimit(4, time.Minute)), ok)
	engine.GET("/dynamic", limiter.RateLimit(hour, time.Hour, ratelimiter.WithLimit(4, time.Minute)), ok)
	engine.GET("/alone", limiter.RateLimit(hour, time.Hour), ok)
	require.Equal(t, `"per-minute";q=4;w=60`, header(get(engine, "/static"), "RateLimit-Policy"))
	require.Equal(t, `"per-minute";q=4;w=60`, header(get(engine, "/dynamic"), "RateLimit-Policy"))
	require.Equal(t, "4", header(get(engine, "/dynamic", from("192.0.2.2:80")), "X-RateLimit-Limit"))
	response := get(engine, "/dynamic", withHeader("X-Limit", "3"), from("192.0.2.3:80"))
	require.Equal(t, `"per-hour";q=3;w=3600, "per-minute";q=4;w=60`, header(response, "RateLimit-Policy"))
	require.Equal(t, "3", header(response, "X-RateLimit-Limit"))
	require.Equal(t, "2", header(response, "X-RateLimit-Remaining"))
	for _, limit := range []string{"200", "7"} {
		response = get(engine, "/alone", withHeader("X-Limit", limit))
		require.Equal(t, limit, header(response, "X-RateLimit-Limit"))
		require.Equal(t, `"per-hour";q=`+limit+`;w=3600`, header(response, "RateLimit-Policy"))
	}
}

func TestHeadersShowTheConfiguredLimitsThatApply(t *testing.T) {
	engine, limiter := application(t, ratelimiter.Config{
		"RATELIMITER_DEFAULT_LIMITS": "5/minute", "RATELIMITER_APPLICATION_LIMITS": "9/hour",
	})
	engine.GET("/plain", ok)
	engine.GET("/own", limiter.RateLimit(7, time.Second), ok)
	policies := func(path string) string { return header(get(engine, path), "RateLimit-Policy") }
	require.Equal(t, `"application-per-hour";q=9;w=3600, "per-minute";q=5;w=60`, policies("/plain"))
	require.Equal(t, `"application-per-hour";q=9;w=3600, "per-second";q=7;w=1`, policies("/own"))
}

func TestARejectionNamesAllLimitsThatRejected(t *testing.T) {
	engine, limiter := application(t, nil)
	zero := func(*gin.Context) int { return 0 }
	engine.GET("/both", limiter.RateLimit(0, time.Minute, ratelimiter.WithLimit(0, time.Hour)), ok)
	engine.GET("/one", limiter.RateLimit(9, time.Minute, ratelimiter.WithLimit(1, 24*time.Hour)), ok)
	engine.GET("/dynamic", limiter.RateLimit(zero, time.Minute), ok)
	body := func(path string) string { return get(engine, path).Body.String() }
	require.Contains(t, body("/both"), `"violated-policies":["per-minute","per-hour"]`)
	body("/one")
	for range 2 {
		require.JSONEq(t, `{
			"type": "https://iana.org/assignments/http-problem-types#quota-exceeded", "title": "Rate limit was exceeded",
			"status": 429, "detail": "Limit: 1 request per day.", "violated-policies": ["per-day"]
		}`, body("/one"))
	}
	require.Contains(t, body("/dynamic"), `"detail":"No requests are allowed here at present.","violated-policies":["per-minute"]`)
}
