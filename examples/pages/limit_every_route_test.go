package pages_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

// everyRouteApplication is the application of the page limit-every-route.md.
func everyRouteApplication(t *testing.T) *gin.Engine {
	monitoring := ratelimiter.WithSkip(func(c *gin.Context) bool { return c.GetHeader("X-Monitoring") == "our secret" })
	config := ratelimiter.Config{
		"RATELIMITER_DEFAULT_LIMITS": "100/minute; 5/second",
		"RATELIMITER_DEFAULT_OPTIONS": []ratelimiter.Option{
			monitoring,
			ratelimiter.WithScope(ratelimiter.ByHeader("X-API-Key")),
			ratelimiter.WithBan(100, time.Hour, ratelimiter.Day),
		},
		"RATELIMITER_APPLICATION_LIMITS": "1000/second",
		"RATELIMITER_APPLICATION_OPTIONS": []ratelimiter.Option{
			monitoring,
			ratelimiter.WithScope(ratelimiter.ByEveryone),
			ratelimiter.WithWait(2 * time.Second),
		},
	}
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, config)

	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, limiter.Close()) })
	handler := ok

	engine.GET("/other", handler)
	engine.GET("/search", limiter.RateLimit(10, time.Minute), handler)
	engine.GET("/export", limiter.RateLimit(10, ratelimiter.Day, ratelimiter.WithDefaults()), handler)
	engine.GET("/stream", limiter.RateLimit(10, time.Minute, ratelimiter.WithoutApplication()), handler)
	engine.GET("/health", limiter.Exempt(), handler)

	admin := engine.Group("/admin", limiter.RateLimits("20/minute; 300/hour"))
	admin.GET("/users", handler)
	admin.POST("/import", limiter.RateLimit(3, time.Hour, ratelimiter.WithoutGroup()), handler)
	return engine
}

func TestEachRouteHasTheLimitsOfTheTable(t *testing.T) {
	engine := everyRouteApplication(t)
	rows := tableRows(t, "limit-every-route.md")
	require.Len(t, rows, 7)
	for _, row := range rows {
		method, path, _ := strings.Cut(strings.Trim(row[0], "`"), " ")
		policy := header(ask(engine, method, path), "RateLimit-Policy")
		application := strings.Contains(policy, `"application-per-second";q=1000;w=1`)
		defaults := strings.Contains(policy, `"per-minute";q=100;w=60, "per-second";q=5;w=1`)
		require.Equal(t, row[1] == "yes", defaults, row[0])
		require.Equal(t, row[2] == "yes", application, row[0])
		numbers := regexp.MustCompile(`\d+`).FindAllString(row[3], -1)
		require.Equal(t, len(numbers)+count(defaults, 2)+count(application, 1), strings.Count(policy, "q="), row[0])
		for _, number := range numbers {
			require.Contains(t, policy, ";q="+number+";", row[0])
		}
	}
}

func count(present bool, limits int) int {
	if present {
		return limits
	}
	return 0
}

func TestDefaultLimitsHaveOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no minute ends
		engine := everyRouteApplication(t)
		other := func(times int, name, value string) []int {
			return statuses(engine, times, http.MethodGet, "/other", with(name, value))
		}
		require.Equal(t, []int{200, 200, 200, 200, 200, 429}, other(6, "X-API-Key", "ann"))
		require.Equal(t, []int{200}, other(1, "X-API-Key", "bob"))
		require.Equal(t, []int{200, 200, 200, 200, 200, 200, 200}, other(7, "X-Monitoring", "our secret"))
	})
}
