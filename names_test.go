package ratelimiter_test

import (
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

func TestLimitsOnARequestHaveUniqueNames(t *testing.T) {
	engine, first := application(t, ratelimiter.Config{"RATELIMITER_PARTITION_SECRET": "a secret of 20 bytes"})
	second, err := ratelimiter.New(engine, nil)
	require.NoError(t, err)
	seen := notebook{}
	defer first.AddObserver(&seen)()
	group := engine.Group("/", first.RateLimit(9, time.Hour))
	group.GET("/", first.RateLimit(3, time.Hour, ratelimiter.WithLimit(2, time.Hour, ratelimiter.WithScope(ratelimiter.ByEveryone))),
		second.RateLimit(5, time.Hour), func(c *gin.Context) {
			info, _ := ratelimiter.FromContext(c)
			c.String(http.StatusOK, info.Name)
		})
	quotas := map[string]int64{"per-hour": 9, "per-hour-3": 3, "per-hour-2": 2, "per-hour-4": 5}
	for _, status := range []int{200, 200, 429} {
		response := get(engine, "/")
		require.Equal(t, status, response.Code)
		policies := parameters(t, response.Header().Values("RateLimit-Policy"))
		limits := parameters(t, response.Header().Values("RateLimit"))
		require.Len(t, limits, len(policies))
		for name := range policies {
			require.Contains(t, limits, name)
			require.Equal(t, policies[name]["pk"], limits[name]["pk"])
		}
		if status == 429 {
			require.Contains(t, response.Body.String(), `"violated-policies":["per-hour-2"]`)
			continue
		}
		require.Equal(t, "per-hour-2", response.Body.String())
		require.Len(t, policies, 4)
		for name, quota := range quotas {
			require.Equal(t, quota, policies[name]["q"], name)
		}
	}
	require.Equal(t, []string{"per-hour allowed", "per-hour-3 allowed", "per-hour-2 allowed"}, seen.read()[:3])
	left, err := first.Status(t.Context(), "GET /", "192.0.2.1")
	require.NoError(t, err)
	found := map[string]int64{}
	for _, info := range left {
		found[info.Name] = info.Limit
	}
	require.Equal(t, map[string]int64{"per-hour": 9, "per-hour-3": 3, "per-hour-2": 2}, found)
}

func TestANumberedNameIsUnique(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.GET("/", limiter.RateLimit(9, time.Hour), limiter.RateLimit(8, time.Hour,
		ratelimiter.WithLimit(7, time.Minute, ratelimiter.WithName("per-hour-2"))), ok)
	require.Equal(t, `"per-hour";q=9;w=3600, "per-hour-3";q=8;w=3600, "per-hour-2";q=7;w=60`, header(get(engine, "/"), "RateLimit-Policy"))
	engine.GET("/hidden", limiter.RateLimit(9, time.Hour, ratelimiter.WithHeaders(false)), limiter.RateLimit(1, time.Hour), ok)
	for range 2 {
		response := get(engine, "/hidden")
		require.Equal(t, `"per-hour-2";q=1;w=3600`, header(response, "RateLimit-Policy"))
		require.Contains(t, header(response, "RateLimit"), `"per-hour-2";r=0;t=`)
	}
	require.Contains(t, get(engine, "/hidden").Body.String(), `["per-hour-2"]`)
}

func TestTheXHeadersShowTheStrictestVisibleLimit(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.GET("/", limiter.RateLimit(2, time.Hour, ratelimiter.WithHeaders(false)),
		limiter.RateLimit(50, time.Minute), limiter.RateLimit(20, time.Second), limiter.RateLimit(30, time.Second), ok)
	response := get(engine, "/")
	require.Equal(t, []string{"20", "19"}, []string{header(response, "X-RateLimit-Limit"), header(response, "X-RateLimit-Remaining")})
}

func TestAForwardedRequestListsNoLimitTwice(t *testing.T) {
	engine := gin.New()
	engine.Use(func(c *gin.Context) {
		if policies := c.Writer.Header(); policies["Ratelimit-Policy"] == nil {
			policies["Ratelimit-Policy"] = []string{`"foreign";x="a, \"a, b\"" ,"another"`}
		}
	})
	limiter, err := ratelimiter.New(engine, ratelimiter.Config{"RATELIMITER_APPLICATION_LIMITS": "10/day"})
	require.NoError(t, err)
	engine.GET("/old", limiter.RateLimit(5, time.Hour, ratelimiter.WithName("a, b")), func(c *gin.Context) {
		c.Request.URL.Path = "/new"
		engine.HandleContext(c)
	})
	engine.GET("/new", limiter.RateLimit(4, time.Minute, ratelimiter.WithLimit(3, time.Hour, ratelimiter.WithName("a, b"))), ok)
	response := get(engine, "/old")
	policies := parameters(t, response.Header().Values("RateLimit-Policy"))
	require.Len(t, policies, 5)
	require.Equal(t, `a, "a, b"`, policies["foreign"]["x"])
	require.EqualValues(t, 3, policies["a, b"]["q"], "the limit that was checked last")
	require.EqualValues(t, 8, parameters(t, response.Header().Values("RateLimit"))["application-per-day"]["r"], "the request was charged twice")
}

func TestARejectionShowsEarlierLimitsAfterTheirRefund(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no minute ends
		engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_APPLICATION_LIMITS": "1000/day", "RATELIMITER_PARTITION_SECRET": "a secret of 20 bytes"})
		group := engine.Group("/", limiter.RateLimit(100, time.Hour, ratelimiter.WithCost(30), ratelimiter.WithName("cost, in units")))
		group.GET("/", limiter.RateLimit(1, time.Minute), ok)
		allowed := parameters(t, get(engine, "/").Header().Values("RateLimit"))
		for range 2 {
			rejected := get(engine, "/")
			require.Equal(t, 429, rejected.Code)
			limits := parameters(t, rejected.Header().Values("RateLimit"))
			require.Equal(t, allowed, limits, "nothing was charged")
			require.EqualValues(t, 70, limits["cost, in units"]["r"])
			require.Len(t, parameters(t, rejected.Header().Values("RateLimit-Policy")), 3)
		}
	})
}

func TestOfTwoLimitsWithTheSameRemainingTheOneThatIsFullLaterIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_ALGORITHM": "token-bucket"})
		slow := func(*gin.Context) { pass(10 * time.Minute) }
		show := func(c *gin.Context) {
			info, _ := ratelimiter.FromContext(c)
			c.String(http.StatusOK, info.Name)
		}
		engine.GET("/long-first", limiter.RateLimit(5, time.Hour, ratelimiter.WithLimit(5, time.Minute)), show)
		engine.GET("/long-second", limiter.RateLimit(5, time.Minute, ratelimiter.WithLimit(5, time.Hour)), show)
		engine.GET("/two", limiter.RateLimit(5, time.Minute), limiter.RateLimit(5, time.Hour), show)
		// The first is full 12 minutes after the request began, the second 15 minutes.
		engine.GET("/slow", limiter.RateLimit(5, time.Hour), slow, limiter.RateLimit(5, 25*time.Minute), show)
		for path, name := range map[string]string{"/long-first": "per-hour", "/long-second": "per-hour", "/two": "per-hour", "/slow": "per-25m"} {
			began := time.Now()
			response := get(engine, path)
			require.Equal(t, name, response.Body.String(), path)
			full := map[string]time.Duration{"per-hour": 12 * time.Minute, "per-25m": 15 * time.Minute}[name]
			require.Equal(t, strconv.FormatInt(began.Add(full).Unix(), 10), header(response, "X-RateLimit-Reset"), path)
		}
	})
}
