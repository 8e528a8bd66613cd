package pages_test

import (
	"log"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
	_ "time/tzdata"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

type customer struct{ ID, Plan string }

// planApplication is the application of the page limit-by-plan.md.
func planApplication(t *testing.T, customers map[string]customer) *gin.Engine {
	engine, limiter := application(t, nil)
	search := ok

	perHour := map[string]int{"free": 3, "pro": 10, "internal": ratelimiter.Unlimited}

	authenticate := func(c *gin.Context) {
		customer, known := customers[c.GetHeader("X-API-Key")]
		if !known {
			c.AbortWithStatus(http.StatusUnauthorized)
			return
		}
		c.Set("customer", customer.ID)
		c.Set("plan", customer.Plan)
	}
	byPlan := func(c *gin.Context) int { return perHour[c.GetString("plan")] }
	api, perCustomer := ratelimiter.WithKey(ratelimiter.Shared("api")), ratelimiter.WithScope(ratelimiter.ByContext("customer"))

	limited := limiter.RateLimit(byPlan, time.Hour, api, perCustomer,
		ratelimiter.WithLimit(100, time.Second))
	engine.GET("/reports", authenticate, limited, func(c *gin.Context) { c.String(http.StatusOK, "Here is your report.\n") })
	engine.GET("/charts", authenticate, limited, func(c *gin.Context) { c.String(http.StatusOK, "Here is your chart.\n") })

	plans := map[string][]ratelimiter.Limit{}
	for name, text := range map[string]string{"free": "3/hour; 1/second", "pro": "1000/hour; 20/minute"} {
		limits, err := ratelimiter.ParseLimits(text)
		if err != nil {
			log.Fatal(err)
		}
		plans[name] = limits
	}
	nothing := []ratelimiter.Limit{{Limit: 0, Per: time.Hour}}

	limitsOfPlan := func(c *gin.Context) []ratelimiter.Limit {
		if limits, known := plans[c.GetString("plan")]; known {
			return limits
		}
		return nothing
	}
	engine.GET("/search", authenticate, limiter.RateLimits(limitsOfPlan, perCustomer), search)

	free := limiter.RateLimit(byPlan, time.Hour, api, perCustomer, ratelimiter.WithCost(0), ratelimiter.WithOverLimit(nil))
	engine.GET("/usage", authenticate, free, func(c *gin.Context) {
		info, limited := ratelimiter.FromContext(c)
		if !limited {
			c.JSON(http.StatusOK, gin.H{"unlimited": true})
			return
		}
		c.JSON(http.StatusOK, gin.H{"limit": info.Limit, "remaining": info.Remaining})
	})

	engine.GET("/support/usage/:customer", func(c *gin.Context) {
		limits, err := limiter.Status(c.Request.Context(), "api", c.Param("customer"))
		if err != nil {
			_ = c.AbortWithError(http.StatusServiceUnavailable, err)
			return
		}
		c.JSON(http.StatusOK, limits)
	})
	export := ok
	zurich, err := time.LoadLocation("Europe/Zurich")
	if err != nil {
		log.Fatal(err)
	}
	engine.GET("/exports", authenticate, limiter.RateLimit(10_000, ratelimiter.Month, ratelimiter.WithCalendar(zurich)), export)
	return engine
}

func ours() map[string]customer {
	return map[string]customer{
		"key-of-ann": {"ann", "free"}, "another-key-of-ann": {"ann", "free"},
		"key-of-bob": {"bob", "pro"}, "key-of-ops": {"ops", "internal"},
		"key-of-eve": {"eve", "forgotten"},
	}
}

func reports(handler http.Handler, times int, key string) []int {
	return statuses(handler, times, http.MethodGet, "/reports", with("X-API-Key", key))
}

func TestAPlanSetsTheLimit(t *testing.T) {
	engine := planApplication(t, ours())
	typed(t, "limit-by-plan.md", engine)
}

func TestEachCustomerHasOneLimitForAllKeysAndRoutes(t *testing.T) {
	engine := planApplication(t, ours())
	require.Equal(t, []int{200}, reports(engine, 1, "key-of-ann"))
	require.Equal(t, []int{200}, reports(engine, 1, "another-key-of-ann"))
	require.Equal(t, []int{200, 429}, statuses(engine, 2, http.MethodGet, "/charts", with("X-API-Key", "key-of-ann")))
	require.Equal(t, []int{200}, reports(engine, 1, "key-of-bob"))
}

func TestMadeUpKeysAreRejectedBeforeTheyCount(t *testing.T) {
	engine := planApplication(t, ours())
	require.Equal(t, []int{401, 401, 401, 401}, reports(engine, 4, "made up"))
	require.Equal(t, []int{429}, reports(engine, 1, "key-of-eve"), "a plan that is missing from the map allows nothing")
}

func TestAChangeOfPlanTakesEffectAtOnce(t *testing.T) {
	customers := ours()
	engine := planApplication(t, customers)
	require.Equal(t, []int{200, 200, 200, 429}, reports(engine, 4, "key-of-ann"))
	customers["key-of-ann"] = customer{"ann", "pro"}
	require.Equal(t, []int{200, 200, 200, 200, 200, 200, 200, 429}, reports(engine, 8, "key-of-ann"), "it keeps the usage of three")
	customers["key-of-ann"] = customer{"ann", "internal"}
	response := ask(engine, http.MethodGet, "/reports", with("X-API-Key", "key-of-ann"))
	require.Equal(t, 200, response.Code)
	require.Equal(t, `"per-second";q=100;w=1`, header(response, "RateLimit-Policy"), "the other limit still applies")
}

func TestAPlanIsAListOfLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		customers := ours()
		engine := planApplication(t, customers)
		search := func(times int, key string) []int {
			return statuses(engine, times, http.MethodGet, "/search", with("X-API-Key", key))
		}
		for range 3 {
			require.Equal(t, []int{200, 429}, search(2, "key-of-ann"), "one a second")
			pass(2 * time.Second)
		}
		require.Equal(t, []int{429}, search(1, "another-key-of-ann"), "three an hour")
		require.Equal(t, []int{429}, search(1, "key-of-ops"), "a plan without a list allows nothing")
		customers["key-of-ann"] = customer{"ann", "pro"}
		response := ask(engine, http.MethodGet, "/search", with("X-API-Key", "key-of-ann"))
		require.Equal(t, `"per-hour";q=1000;w=3600, "per-minute";q=20;w=60`, header(response, "RateLimit-Policy"))
		require.Contains(t, header(response, "RateLimit"), `"per-hour";r=996;`, "it keeps the usage of three")
	})
}

func TestSupportSeesTheLimitsThatAreTheSameForEverybody(t *testing.T) {
	engine := planApplication(t, ours())
	response := ask(engine, http.MethodGet, "/support/usage/ann")
	require.Equal(t, 200, response.Code)
	require.Contains(t, response.Body.String(), `"name":"per-second","key":"api","scope":"ann","limit":100,"remaining":100,"per":1,"retry_after":0,`)
	require.NotContains(t, response.Body.String(), "per-hour")
}

func TestTheMonthlyQuotaStartsOverOnTheFirst(t *testing.T) {
	engine := planApplication(t, ours())
	answer := ask(engine, http.MethodGet, "/exports", with("X-API-Key", "key-of-ann"))
	seconds, err := strconv.ParseInt(answer.Header().Get("X-RateLimit-Reset"), 10, 64)
	require.NoError(t, err)
	zurich, err := time.LoadLocation("Europe/Zurich")
	require.NoError(t, err)
	require.Equal(t, "1 00:00:00", time.Unix(seconds, 0).In(zurich).Format("2 15:04:05"))
}
