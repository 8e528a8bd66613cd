package ratelimiter_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

func TestSpellingsOfAHostAreTheSameHost(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.GET("/", limiter.RateLimit(100, time.Hour, ratelimiter.WithScope(ratelimiter.ByHeader("host"))), tellScope)
	for _, test := range []struct{ sent, want string }{
		{"shop.example", "shop.example"},
		{"Shop.EXAMPLE", "shop.example"},
		{"shop.example.", "shop.example"},
		{"shop.example:80", "shop.example"},
		{"shop.example:443", "shop.example"},
		{"SHOP.example.:443", "shop.example"},
		{"shop.example:", "shop.example"},
		{"shop.example:8080", "shop.example:8080"},
		{"shop.example.:8080", "shop.example:8080"},
		{"[2001:DB8::1]:443", "[2001:db8::1]"},
		{"[2001:db8::80]", "[2001:db8::80]"},
		{"[2001:db8::1]:8080", "[2001:db8::1]:8080"},
		{"2001:db8::80", "2001:db8::80"}, // invalid, but not cut to another host
	} {
		got := get(engine, "/", func(r *http.Request) { r.Host = test.sent }).Body.String()
		require.Equal(t, test.want, got, test.sent)
	}
}

type account int

func TestAWholeNumberOfAnyTypeIsAScope(t *testing.T) {
	for _, test := range []struct {
		value any
		want  string
	}{
		{float64(12345), "12345"}, {float64(1e15), "1000000000000000"}, {float32(7), "7"}, {float64(-3), "-3"},
		{int64(1) << 60, "1152921504606846976"}, {uint8(7), "7"}, {account(7), "7"}, {"seven", "seven"},
		{float64(1<<53 - 1), "9007199254740991"}, {float64(1 << 53), "address:192.0.2.1"}, // larger ones may be rounded
		{time.Minute, "1m0s"},
		{float64(1.5), "address:192.0.2.1"}, {1e300, "address:192.0.2.1"}, {true, "address:192.0.2.1"},
		{[]string{"a"}, "address:192.0.2.1"}, {nil, "address:192.0.2.1"}, {"", "address:192.0.2.1"},
	} {
		engine, limiter := application(t, nil)
		engine.Use(func(c *gin.Context) { c.Set("user", test.value) })
		engine.GET("/", limiter.RateLimit(1, time.Hour, ratelimiter.WithScope(ratelimiter.ByContext("user"))), tellScope)
		require.Equal(t, test.want, get(engine, "/").Body.String(), "%T %v", test.value, test.value)
	}
}

func TestAValueThatCannotBeAScopeIsReportedOnce(t *testing.T) {
	engine, limiter := application(t, nil)
	var reported []string
	engine.Use(func(c *gin.Context) {
		c.Set("user", map[string]any{"id": 7})
		c.Next()
		reported = append(reported, c.Errors.Errors()...)
	})
	engine.GET("/", limiter.RateLimit(100, time.Hour, ratelimiter.WithScope(ratelimiter.ByContext("user"))), ok)
	engine.GET("/absent", limiter.RateLimit(100, time.Hour, ratelimiter.WithScope(ratelimiter.ByContext("nobody"))), ok)
	statuses(engine, "/", 3)
	statuses(engine, "/absent", 3)
	require.Equal(t, []string{"ratelimiter: the context value user is of type map[string]interface {}, which cannot be a key or scope; store a string, a whole number or a fmt.Stringer"}, reported)
}

func TestAnAccountCannotUseTheCounterOfAnAddress(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.GET("/", limiter.RateLimit(1, time.Hour, ratelimiter.WithScope(ratelimiter.ByHeader("X-Account"))), tellScope)
	require.Equal(t, "address:192.0.2.1", get(engine, "/").Body.String())
	require.Equal(t, 200, get(engine, "/", withHeader("X-Account", "192.0.2.1")).Code)
	require.Equal(t, 200, get(engine, "/", withHeader("X-Account", "address:192.0.2.1")).Code)
	require.Equal(t, 429, get(engine, "/").Code)
	require.NoError(t, limiter.Reset(t.Context(), "GET /", "address:192.0.2.1"))
	require.Equal(t, 200, get(engine, "/").Code)
}

func TestByPathSharesACounterBetweenMethods(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.Any("/each/:id", limiter.RateLimit(1, time.Hour), ok)
	engine.Any("/path/:id", limiter.RateLimit(1, time.Hour, ratelimiter.WithKey(ratelimiter.ByPath)), func(c *gin.Context) {
		info, _ := ratelimiter.FromContext(c)
		c.String(200, info.Key)
	})
	put := func(r *http.Request) { r.Method = http.MethodPut }
	require.Equal(t, []int{200, 200}, []int{get(engine, "/each/1").Code, get(engine, "/each/2", put).Code}, "each method is a separate route")
	require.Equal(t, "/path/:id", get(engine, "/path/1").Body.String())
	require.Equal(t, 429, get(engine, "/path/2", put).Code)
	engine.NoRoute(limiter.RateLimit(1, time.Hour, ratelimiter.WithKey(ratelimiter.ByPath)))
	require.Equal(t, []int{404, 429}, []int{get(engine, "/none").Code, get(engine, "/other").Code})
}
