package ratelimiter_test

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dunglas/httpsfv"
	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

// parameters parses a list of named items with an independent parser.
func parameters(t *testing.T, values []string) map[string]map[string]any {
	list, err := httpsfv.UnmarshalList(values)
	require.NoError(t, err)
	found := map[string]map[string]any{}
	for _, member := range list {
		item := member.(httpsfv.Item)
		params := map[string]any{}
		for _, name := range item.Params.Names() {
			params[name], _ = item.Params.Get(name)
		}
		found[item.Value.(string)] = params
	}
	require.Len(t, found, len(list), "the names are unique")
	return found
}

func TestTheRateLimitHeadersAreStructuredFields(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no minute ends
		for _, secret := range []string{"", "a secret of 20 bytes"} {
			engine, limiter := application(t, ratelimiter.Config{
				"RATELIMITER_APPLICATION_LIMITS": "100/day", "RATELIMITER_PARTITION_SECRET": secret,
			})
			group := engine.Group("/", limiter.RateLimit(50, time.Hour, ratelimiter.WithName("it's; a, name=1")))
			group.GET("/", limiter.RateLimit(2, time.Minute,
				ratelimiter.WithLimit(9, time.Minute, ratelimiter.WithScope(ratelimiter.ByEveryone)),
				ratelimiter.WithLimit(1, time.Second, ratelimiter.WithShadow())), ok)
			var keys []any
			for request, status := range []int{200, 200, 429} {
				response := get(engine, "/")
				require.Equal(t, status, response.Code)
				policies := parameters(t, response.Header().Values("RateLimit-Policy"))
				limits := parameters(t, response.Header().Values("RateLimit"))
				require.Len(t, policies, 4)
				for name, policy := range policies {
					left := limits[name]
					require.Contains(t, []int64{2, 9, 50, 100}, policy["q"])
					require.Contains(t, []int64{60, 3600, 86400}, policy["w"])
					require.GreaterOrEqual(t, left["r"], int64(0))
					require.LessOrEqual(t, left["r"], policy["q"])
					require.Positive(t, left["t"])
					require.Equal(t, policy["pk"], left["pk"])
					require.Equal(t, secret != "", policy["pk"] != nil)
				}
				require.Equal(t, []any{int64(max(0, 1-request)), int64(2)}, []any{limits["per-minute"]["r"], policies["per-minute"]["q"]})
				keys = append(keys, policies["per-minute"]["pk"])
				require.Equal(t, policies["per-minute"]["pk"] == nil, policies["per-minute-2"]["pk"] == nil)
				if secret != "" {
					require.NotEqual(t, policies["per-minute"]["pk"], policies["per-minute-2"]["pk"], "another scope")
					other := parameters(t, get(engine, "/", from("192.0.2.9:1")).Header().Values("RateLimit-Policy"))
					require.NotEqual(t, policies["per-minute"]["pk"], other["per-minute"]["pk"], "another client")
					require.Len(t, policies["per-minute"]["pk"], 12)
				}
			}
			require.Equal(t, []any{keys[0], keys[0], keys[0]}, keys)
		}
		_, err := ratelimiter.New(gin.New(), ratelimiter.Config{"RATELIMITER_PARTITION_SECRET": "short, and not shown"[:5]})
		require.ErrorContains(t, err, "RATELIMITER_PARTITION_SECRET has 5 bytes")
		require.NotContains(t, err.Error(), "short")
		_, _ = application(t, ratelimiter.Config{"RATELIMITER_PARTITION_SECRET": "16 bytes will do"})
	})
}

func TestABrowserGetsAnHTMLPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no minute ends
		engine, limiter := application(t, nil)
		engine.GET("/", limiter.RateLimit(1, time.Minute, ratelimiter.WithAlgorithm(ratelimiter.TokenBucket), ratelimiter.WithName("a<b")), ok)
		get(engine, "/")
		for accept, page := range map[string]bool{
			"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": true,
			"text/html":                           true,
			"application/json;q=0.5, text/html":   true,
			"":                                    false,
			"*/*":                                 false,
			"application/json":                    false,
			"application/json, text/html;q=0.9":   false,
			"text/html;q=0, */*":                  false,
			"application/problem+json, text/html": false,
			"text/html;;;q":                       false,
		} {
			response := get(engine, "/", withHeader("Accept", accept))
			require.Equal(t, 429, response.Code)
			require.Equal(t, "60", header(response, "Retry-After"), accept)
			require.Equal(t, "Accept", header(response, "Vary"))
			if page {
				require.Equal(t, "text/html; charset=utf-8", header(response, "Content-Type"), accept)
				require.Contains(t, response.Body.String(), "<h1>Rate limit was exceeded</h1>")
				require.Contains(t, response.Body.String(), "Try again in 60 seconds.")
				continue
			}
			require.Equal(t, "application/problem+json", header(response, "Content-Type"), accept)
			require.True(t, json.Valid(response.Body.Bytes()))
		}
	})
}

func TestThePolicyContainsALimitOfZero(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.GET("/", limiter.RateLimit(0, time.Minute, ratelimiter.WithLimit(5, time.Hour)), ok)
	require.Equal(t, `"per-minute";q=0;w=60, "per-hour";q=5;w=3600`, header(get(engine, "/"), "RateLimit-Policy"))
}

func TestARateLimitHeaderOfAnotherMiddlewareIsKept(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.Use(func(c *gin.Context) { c.Header("RateLimit", `"other";r=3;t=60`) })
	engine.GET("/", limiter.RateLimit(5, time.Hour, ratelimiter.WithAlgorithm(ratelimiter.TokenBucket)), ok)
	require.Equal(t, `"other";r=3;t=60, "per-hour";r=4;t=720`, header(get(engine, "/"), "RateLimit"))
}

// After a refund, the headers are written again, but only those that the limits of the
// request have written.
func TestXHeadersOfAnotherMiddlewareStayAfterARefund(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.Use(func(c *gin.Context) { c.Header("X-RateLimit-Remaining", "7") })
	never := ratelimiter.WithCountIf(func(*gin.Context) bool { return false })
	engine.GET("/hidden", limiter.RateLimit(5, time.Hour, never, ratelimiter.WithHeaders(false)), func(*gin.Context) {})
	engine.GET("/shadow", limiter.RateLimit(5, time.Hour, never, ratelimiter.WithShadow()), func(*gin.Context) {})
	for _, path := range []string{"/hidden", "/shadow"} {
		require.Equal(t, "7", header(get(engine, path), "X-RateLimit-Remaining"), path)
	}
}
