package ratelimiter_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

// respond responds with the key and the scope of the decision.
func respond(c *gin.Context) {
	info, _ := ratelimiter.FromContext(c)
	c.String(http.StatusOK, info.Key+" "+info.Scope)
}

func TestKeysAndScopesCanHaveSeveralParts(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.Use(func(c *gin.Context) {
		c.Set("user", 7)
		c.Set("thing", struct{ secret string }{"x"})
	})
	for _, test := range []struct {
		name   string
		option ratelimiter.Option
		want   string
	}{
		{"a shared key", ratelimiter.WithKey(ratelimiter.Shared("uploads")), "uploads 192.0.2.1"},
		{"a shared key and a parameter", ratelimiter.WithKey(ratelimiter.Shared("uploads"), ratelimiter.ByParam("id")), "uploads|5 192.0.2.1"},
		{"a key with an empty part is the route", ratelimiter.WithKey(ratelimiter.Shared("uploads"), ratelimiter.ByHeader("X-None")), "ROUTE 192.0.2.1"},
		{"a parameter", ratelimiter.WithScope(ratelimiter.ByParam("id")), "ROUTE 5"},
		{"a header", ratelimiter.WithScope(ratelimiter.ByHeader("X-API-Key")), "ROUTE k-1"},
		{"a value of the context", ratelimiter.WithScope(ratelimiter.ByContext("user")), "ROUTE 7"},
		{"a value that is no name is no scope", ratelimiter.WithScope(ratelimiter.ByContext("thing")), "ROUTE address:192.0.2.1"},
		{"a value that is not there", ratelimiter.WithScope(ratelimiter.ByContext("none")), "ROUTE address:192.0.2.1"},
		{"everyone", ratelimiter.WithScope(ratelimiter.ByEveryone), "ROUTE everyone"},
		{"the route as a scope", ratelimiter.WithScope(ratelimiter.ByRoute), "ROUTE ROUTE"},
		{"a network", ratelimiter.WithScope(limiter.ByAddress(24, 48)), "ROUTE 192.0.2.0/24"},
		{"several", ratelimiter.WithScope(ratelimiter.ByHeader("X-API-Key"), ratelimiter.ByParam("id")), "ROUTE k-1|5"},
		{"the address takes the place of an empty part", ratelimiter.WithScope(ratelimiter.ByHeader("X-None"), ratelimiter.ByParam("id")), "ROUTE address:192.0.2.1|5"},
	} {
		path := "/" + strings.ReplaceAll(test.name, " ", "-") + "/:id"
		engine.GET(path, limiter.RateLimit(5, time.Hour, test.option), respond)
		got := get(engine, strings.Replace(path, ":id", "5", 1), withHeader("X-API-Key", "k-1")).Body.String()
		require.Equal(t, strings.ReplaceAll(test.want, "ROUTE", "GET "+path), got, test.name)
	}
}

func TestLongAndUnprintableScopesAreHashed(t *testing.T) {
	engine, limiter := application(t, nil)
	one := ratelimiter.WithScope(ratelimiter.ByHeader("X-User"))
	two := ratelimiter.WithScope(ratelimiter.ByHeader("X-User"), ratelimiter.ByHeader("X-Team"))
	engine.GET("/one", limiter.RateLimit(1, time.Hour, one), respond)
	engine.GET("/two", limiter.RateLimit(1, time.Hour, two), respond)
	long := strings.Repeat("a", 129)
	for _, odd := range []string{long, "a\tb", "a\u200bb", "\xff"} {
		scope := strings.TrimPrefix(get(engine, "/one", withHeader("X-User", odd)).Body.String(), "GET /one ")
		require.Regexp(t, `^sha256:[\w-]{22}$`, scope, "%q", odd)
	}
	for _, plain := range []string{"Zoë 1", strings.Repeat("a", 128), strings.Repeat("é", 64)} {
		require.Equal(t, "GET /one "+plain, get(engine, "/one", withHeader("X-User", plain)).Body.String())
	}
	require.Equal(t, 429, get(engine, "/one", withHeader("X-User", long)).Code)
	require.Equal(t, 200, get(engine, "/one", withHeader("X-User", long+"a")).Code)
	require.NoError(t, limiter.Reset(t.Context(), "GET /one", long))
	require.Equal(t, 200, get(engine, "/one", withHeader("X-User", long)).Code)

	apart := func(user, team string) int {
		return get(engine, "/two", withHeader("X-User", user), withHeader("X-Team", team)).Code
	}
	require.Equal(t, []int{200, 200, 200, 429}, []int{apart("a|b", "c"), apart("a", "b|c"), apart("a", "b"), apart("a", "b")})
}

func TestLimitsOfOneRateLimitMayHaveDifferentScopes(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.GET("/", limiter.RateLimit(2, time.Hour,
		ratelimiter.WithLimit(3, time.Hour, ratelimiter.WithScope(ratelimiter.ByEveryone), ratelimiter.WithName("all"))), ok)
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/", 3))
	other := get(engine, "/", from("192.0.2.2:1"))
	require.Equal(t, 200, other.Code)
	require.Equal(t, `"per-hour";q=2;w=3600, "all";q=3;w=3600`, header(other, "RateLimit-Policy"))
	require.Equal(t, 429, get(engine, "/", from("192.0.2.3:1")).Code, "each has used three units")

	engine.GET("/same", limiter.RateLimit(2, time.Hour, ratelimiter.WithScope(ratelimiter.ByEveryone),
		ratelimiter.WithLimit(2, time.Hour, ratelimiter.WithScope(ratelimiter.ByEveryone))), ok)
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/same", 3), "two limits never share a counter")
}

func TestByHeaderReadsTheHost(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.GET("/", limiter.RateLimit(1, time.Hour, ratelimiter.WithScope(ratelimiter.ByHeader("host"))), ok)
	host := func(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }
	require.Equal(t, []int{200, 429}, statuses(engine, "/", 2, host("one.example")))
	require.Equal(t, []int{200, 429}, statuses(engine, "/", 2, host("two.example")))
}

func TestSkippedRequestsAreChargedNothing(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.GET("/", limiter.RateLimit(1, time.Hour,
		ratelimiter.WithSkip(func(c *gin.Context) bool { return c.GetHeader("X-Staff") != "" }),
		ratelimiter.WithSkip(limiter.FromNetworks("10.0.0.0/8", "2001:db8::/32", "198.51.100.7"))), func(c *gin.Context) {
		_, found := ratelimiter.FromContext(c)
		c.String(http.StatusOK, map[bool]string{true: "limited", false: "free"}[found])
	})
	for _, peer := range []string{"10.1.2.3:1", "[2001:db8:9::1]:1", "[::ffff:10.0.0.1]:1", "198.51.100.7:1"} {
		require.Equal(t, []int{200, 200}, statuses(engine, "/", 2, from(peer)), peer)
	}
	free := get(engine, "/", withHeader("X-Staff", "yes"))
	require.Equal(t, "free", free.Body.String())
	require.Empty(t, free.Header().Values("RateLimit"))
	require.Equal(t, "limited", get(engine, "/").Body.String())
	require.Equal(t, 429, get(engine, "/").Code)
	require.Equal(t, []int{200, 429}, statuses(engine, "/", 2, from("11.0.0.1:1"), withHeader("X-Forwarded-For", "10.0.0.1")), "forged")
}

func TestInvalidOptionsPanicAtRegistration(t *testing.T) {
	var limiter ratelimiter.RateLimiter
	for want, register := range map[string]func(){
		"FromNetworks: \"10.0.0.0/99\" is neither":      func() { limiter.FromNetworks("10.0.0.0/99") },
		"ByAddress(0, 64) is out of range":              func() { limiter.ByAddress(0, 64) },
		"Shared was given an empty name":                func() { ratelimiter.Shared("") },
		"ByParam was given an empty name":               func() { ratelimiter.ByParam("") },
		"ByHeader was given an empty name":              func() { ratelimiter.ByHeader("") },
		"WithScope was given no function":               func() { ratelimiter.WithScope() },
		"WithKey was given a nil function":              func() { ratelimiter.WithKey(nil) },
		"WithSkip was given a nil function":             func() { ratelimiter.WithSkip(nil) },
		"WithCountIf was given a nil function":          func() { ratelimiter.WithCountIf(nil) },
		"the cost of WithCost is -1; it must be from 0": func() { ratelimiter.WithCost(-1) },
		"the cost of WithCost is of type string":        func() { ratelimiter.WithCost("1") },
		"WithHeaders is an option of RateLimit": func() {
			limiter.RateLimit(1, time.Hour, ratelimiter.WithLimit(1, time.Minute, ratelimiter.WithHeaders(true)))
		},
		"WithLimit was given a nil Option":    func() { limiter.RateLimit(1, time.Hour, ratelimiter.WithLimit(1, time.Minute, nil)) },
		"there already is a limit per 1h0m0s": func() { limiter.RateLimit(1, time.Hour, ratelimiter.WithLimit(1, time.Hour)) },
		"WithBurst requires the token bucket, not": func() {
			limiter.RateLimit(1, time.Hour, ratelimiter.WithLimit(1, time.Minute, ratelimiter.WithBurst(2), ratelimiter.WithAlgorithm(ratelimiter.FixedWindow)))
		},
	} {
		func() {
			defer func() { require.Contains(t, recover(), want) }()
			register()
		}()
	}
}
