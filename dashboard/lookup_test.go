package dashboard_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/dashboard"
	"github.com/gin-ratelimiter/ratelimiter/internal/mask"
	"github.com/stretchr/testify/require"
)

const client = "192.0.2.77"

// answer is the response that the page reads.
type answer struct {
	Scope, Note, Error string
	Limits             []struct {
		Key, Name, Text  string
		Limit, Remaining int64
		Banned           bool
		Shadow           bool
	}
}

func read(t *testing.T, recorded *httptest.ResponseRecorder) (a answer) {
	require.Equal(t, "application/json", recorded.Header().Get("Content-Type"))
	require.Equal(t, "no-store", recorded.Header().Get("Cache-Control"))
	require.NoError(t, json.Unmarshal(recorded.Body.Bytes(), &a), recorded.Body.String())
	return a
}

// tokenOf returns the token of a page.
func tokenOf(t *testing.T, handler http.Handler) string {
	found := regexp.MustCompile(`name="dashboard-token" content="(\w+)"`).FindStringSubmatch(get(handler, "/limits/").Body.String())
	require.Len(t, found, 2)
	return found[1]
}

// post sends a request as the page does.
func post(t *testing.T, handler http.Handler, name, body string) *httptest.ResponseRecorder {
	return serve(handler, http.MethodPost, "/limits/"+name, body,
		"Content-Type", "application/json", "X-Dashboard-Token", tokenOf(t, handler),
		"Origin", "http://example.com", "Sec-Fetch-Site", "same-origin")
}

func TestALookupShowsWhatIsLeft(t *testing.T) {
	engine, _, _ := limited(t)
	found := read(t, post(t, engine, "lookup", `{"scope":"192.0.2.77"}`))
	require.Contains(t, found.Note, "No request has met a limit in this process yet")
	require.NotNil(t, found.Limits)

	require.Equal(t, http.StatusOK, get(engine, "/search").Code)
	for _, body := range []string{`{"scope":"192.0.2.77"}`, `{"scope":" 192.0.2.77 ","key":"GET /search"}`, `{"scope":"::ffff:192.0.2.77"}`} {
		found = read(t, post(t, engine, "lookup", body))
		require.Equal(t, client, found.Scope)
		require.Len(t, found.Limits, 1)
		require.Equal(t, "GET /search", found.Limits[0].Key)
		require.Equal(t, "2/hour", found.Limits[0].Text)
		require.EqualValues(t, 1, found.Limits[0].Remaining)
	}
	found = read(t, post(t, engine, "lookup", `{"scope":"192.0.2.77","key":"GET /other"}`))
	require.Contains(t, found.Error, `Unknown key "GET /other"`)
}

func TestAnIPv6AddressIsLookedUpAsItsNetwork(t *testing.T) {
	engine, limiter, _ := limited(t)
	get(engine, "/search")
	require.Equal(t, 64, limiter.Config()["RATELIMITER_IPV6_PREFIX"])
	found := read(t, post(t, engine, "lookup", `{"scope":"2001:db8:1:2::7"}`))
	require.Equal(t, "2001:db8:1:2::/64", found.Scope)
	require.Equal(t, "2001:db8:1:2::7 counts as 2001:db8:1:2::/64.", found.Note)
	found = read(t, post(t, engine, "lookup", `{"scope":"2001:db8:1:2::/64"}`))
	require.Empty(t, found.Note)
}

func TestAResetRestoresTheLimit(t *testing.T) {
	engine, _, _ := limited(t, dashboard.WithReset())
	for range 3 {
		get(engine, "/search")
	}
	require.Equal(t, http.StatusTooManyRequests, get(engine, "/search").Code)
	recorded := post(t, engine, "reset", `{"scope":"192.0.2.77"}`)
	require.Equal(t, http.StatusOK, recorded.Code)
	require.Contains(t, read(t, recorded).Note, "Reset on GET /search")
	require.Equal(t, http.StatusOK, get(engine, "/search").Code)
}

// Limits that functions decide cannot be looked up, and the page says so.
func TestAResetReachesLimitsThatFunctionsDecide(t *testing.T) {
	engine, limiter, _ := limited(t, dashboard.WithReset())
	byPlan := func(*gin.Context) int { return 1 }
	engine.GET("/plan", limiter.RateLimit(byPlan, time.Hour, ratelimiter.WithBan(1, time.Hour, time.Hour)), func(*gin.Context) {})
	for range 3 {
		get(engine, "/plan")
	}
	require.Equal(t, http.StatusTooManyRequests, get(engine, "/plan").Code)
	found := read(t, post(t, engine, "lookup", `{"scope":"192.0.2.77"}`))
	require.Equal(t, "Functions decide the limits on GET /plan for each request, so the remaining quota there is unknown.", found.Note)
	require.Empty(t, found.Error)
	get(engine, "/search")
	found = read(t, post(t, engine, "lookup", `{"scope":"192.0.2.77"}`))
	require.Len(t, found.Limits, 1, "the other limits are listed")
	require.Contains(t, read(t, post(t, engine, "reset", `{"scope":"192.0.2.77"}`)).Note, "Reset on 2 keys")
	require.Equal(t, http.StatusOK, get(engine, "/plan").Code)
}

func TestAMaskStandsForItsClientInALookup(t *testing.T) {
	engine, _, _ := limited(t, dashboard.WithReset())
	mark := mask.New().Scope(client) // as the log shows it
	found := read(t, post(t, engine, "lookup", `{"scope":"`+mark+`"}`))
	require.Contains(t, found.Note, "looks like a masked client")
	for range 3 {
		get(engine, "/search")
	}
	found = read(t, post(t, engine, "lookup", `{"scope":"`+mark+`"}`))
	require.Equal(t, mark, found.Scope, "it stays masked")
	require.Empty(t, found.Note)
	require.Zero(t, found.Limits[0].Remaining)
	post(t, engine, "reset", `{"scope":"`+mark+`"}`)
	require.Equal(t, http.StatusOK, get(engine, "/search").Code)
}

func TestUsageOfATokenBucketIsMeasuredAgainstItsBurst(t *testing.T) {
	engine, limiter, _ := limited(t)
	engine.GET("/bucket", limiter.RateLimit(100, time.Hour, ratelimiter.WithBurst(5)), func(*gin.Context) {})
	get(engine, "/bucket")
	found := read(t, post(t, engine, "lookup", `{"scope":"192.0.2.77","key":"GET /bucket"}`))
	require.Equal(t, "100/hour", found.Limits[0].Text)
	require.EqualValues(t, 5, found.Limits[0].Limit)
	require.EqualValues(t, 4, found.Limits[0].Remaining)
}

func TestABanIsShownAndAResetLiftsIt(t *testing.T) {
	engine, limiter, _ := limited(t, dashboard.WithReset())
	engine.GET("/login", limiter.RateLimit(1, time.Hour, ratelimiter.WithBan(1, time.Hour, time.Hour)), func(*gin.Context) {})
	standing := func() (remaining int64, banned bool) {
		found := read(t, post(t, engine, "lookup", `{"scope":"192.0.2.77","key":"GET /login"}`))
		require.Len(t, found.Limits, 1)
		return found.Limits[0].Remaining, found.Limits[0].Banned
	}
	get(engine, "/login")
	_, banned := standing()
	require.False(t, banned)
	require.Equal(t, http.StatusTooManyRequests, get(engine, "/login").Code)
	remaining, banned := standing()
	require.True(t, banned)
	require.Zero(t, remaining)
	require.Equal(t, http.StatusOK, post(t, engine, "reset", `{"scope":"192.0.2.77"}`).Code)
	_, banned = standing()
	require.False(t, banned)
	require.Equal(t, http.StatusOK, get(engine, "/login").Code)
}

func TestAResetNeedsThePermissionOfTheApplication(t *testing.T) {
	engine, _, _ := limited(t)
	for range 3 {
		get(engine, "/search")
	}
	recorded := post(t, engine, "reset", `{"scope":"192.0.2.77"}`)
	require.Equal(t, http.StatusForbidden, recorded.Code)
	require.Contains(t, read(t, recorded).Error, "dashboard.WithReset()")
	require.Equal(t, http.StatusTooManyRequests, get(engine, "/search").Code)
	require.NotContains(t, get(engine, "/limits/").Body.String(), `id="reset"`)
}

func TestAPageOfAnotherSiteCannotReset(t *testing.T) {
	engine, _, _ := limited(t, dashboard.WithReset())
	for range 3 {
		get(engine, "/search")
	}
	token := tokenOf(t, engine)
	for name, headers := range map[string][]string{
		"another origin, from an old browser": {"Content-Type", "application/json", "X-Dashboard-Token", token, "Origin", "https://evil.example"},
		"another site, from a new browser":    {"Content-Type", "application/json", "X-Dashboard-Token", token, "Sec-Fetch-Site", "cross-site"},
		"another origin of the same site":     {"Content-Type", "application/json", "X-Dashboard-Token", token, "Sec-Fetch-Site", "same-site"},
		"a hidden origin":                     {"Content-Type", "application/json", "X-Dashboard-Token", token, "Origin", "null"},
		"no token":                            {"Content-Type", "application/json"},
		"a wrong token":                       {"Content-Type", "application/json", "X-Dashboard-Token", "x" + token[1:]},
		"a form":                              {"Content-Type", "application/x-www-form-urlencoded", "X-Dashboard-Token", token},
		"a form that looks like JSON":         {"Content-Type", "text/plain", "X-Dashboard-Token", token},
		"no content type":                     {"X-Dashboard-Token", token},
	} {
		for _, address := range []string{"reset", "lookup"} {
			recorded := serve(engine, http.MethodPost, "/limits/"+address, `{"scope":"192.0.2.77"}`, headers...)
			require.Equal(t, http.StatusForbidden, recorded.Code, "%s: %s", address, name)
			require.NotEmpty(t, read(t, recorded).Error, name)
			require.Empty(t, recorded.Header().Get("Access-Control-Allow-Origin"), name)
		}
	}
	require.Equal(t, http.StatusMethodNotAllowed, get(engine, "/limits/reset?scope=192.0.2.77", "X-Dashboard-Token", token).Code)
	require.Equal(t, http.StatusMethodNotAllowed, serve(engine, http.MethodOptions, "/limits/reset", "").Code, "a preflight request gets no permission")
	require.Equal(t, http.StatusTooManyRequests, get(engine, "/search").Code, "nothing was reset")
}

func TestEveryDashboardHasItsOwnToken(t *testing.T) {
	engine, _, _ := limited(t)
	other, _, _ := limited(t)
	require.NotEqual(t, tokenOf(t, engine), tokenOf(t, other))
}

func TestInvalidQueriesAreRejected(t *testing.T) {
	engine, _, _ := limited(t, dashboard.WithReset())
	long := make([]byte, 5000)
	for i := range long {
		long[i] = 'x'
	}
	for body, status := range map[string]int{
		``:                                 http.StatusBadRequest,
		`{"scope":""}`:                     http.StatusBadRequest,
		`{"scope":7}`:                      http.StatusBadRequest,
		`{"scope":"a","more":1}`:           http.StatusBadRequest,
		`{"scope":"` + string(long) + `"}`: http.StatusBadRequest,
		`{"id":"0123456789abcdef"}`:        http.StatusNotFound,
	} {
		for _, address := range []string{"lookup", "reset"} {
			recorded := post(t, engine, address, body)
			require.Equal(t, status, recorded.Code, body)
			require.NotEmpty(t, read(t, recorded).Error)
		}
	}
}

func TestALookupBeforeInitAppFails(t *testing.T) {
	var limiter ratelimiter.RateLimiter
	page := dashboard.New(&limiter, dashboard.WithReset())
	t.Cleanup(page.Close)
	found := read(t, post(t, page, "lookup", `{"scope":"2001:db8::7","key":"GET /"}`))
	require.Contains(t, found.Error, "InitApp")
	recorded := post(t, page, "reset", `{"scope":"a","key":"GET /"}`)
	require.Equal(t, http.StatusBadGateway, recorded.Code)
	require.Contains(t, read(t, recorded).Error, "InitApp")
}
