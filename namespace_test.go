package ratelimiter_test

import (
	"testing"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

// Keys that clients send, routes, and the keys of configured limits are in separate
// namespaces, so no text can name the counter of another.

func TestATenantCannotUseTheSecondCounterOfAnother(t *testing.T) {
	engine, limiter := application(t, nil)
	tenant := ratelimiter.WithKey(ratelimiter.ByHeader("X-Tenant"))
	engine.GET("/", limiter.RateLimit(100, time.Hour, tenant), limiter.RateLimit(2, time.Hour, tenant), ok)
	for _, name := range []string{"acme", "acme#2", "route2/acme", "key/acme", "acme|2"} {
		require.Equal(t, []int{200, 200, 429}, statuses(engine, "/", 3, withHeader("X-Tenant", name)), name)
	}
}

func TestAKeyThatAClientSendsIsNotTheCounterOfARoute(t *testing.T) {
	engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "2/hour"})
	engine.GET("/projects", limiter.RateLimit(2, time.Hour, ratelimiter.WithKey(ratelimiter.ByHeader("X-Project"))), ok)
	group := engine.Group("/", limiter.RateLimit(2, time.Hour))
	group.GET("/checkout", limiter.RateLimit(2, time.Hour), ok)
	engine.GET("/plain", ok)
	for _, project := range []string{"GET /checkout", "route2/GET /checkout", "GET /plain", "default/GET /plain", "key/GET /plain"} {
		require.Equal(t, []int{200, 200, 429}, statuses(engine, "/projects", 3, withHeader("X-Project", project)), project)
	}
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/checkout", 3))
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/plain", 3))
	group.GET("/cart", ok)
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/cart", 3))
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/projects", 3, withHeader("X-Project", "GET /cart")), "and vice versa")
}

func TestAKeyNamedApplicationIsNotThatOfTheApplicationLimits(t *testing.T) {
	engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_APPLICATION_LIMITS": "3/hour"})
	engine.GET("/shared", limiter.RateLimit(2, time.Hour, ratelimiter.WithKey(ratelimiter.Shared("application"))), ok)
	engine.GET("/sent", limiter.RateLimit(2, time.Hour, ratelimiter.WithKey(ratelimiter.ByHeader("X-Key"))), ok)
	engine.GET("/plain", ok)
	require.Equal(t, []int{200}, statuses(engine, "/shared", 1))
	require.Equal(t, []int{200}, statuses(engine, "/sent", 1, withHeader("X-Key", "application")), "the same key, with two units used")
	require.Equal(t, []int{429}, statuses(engine, "/sent", 1, withHeader("X-Key", "application")))
	require.Equal(t, []int{200, 429}, statuses(engine, "/plain", 2), "two of three units were used by requests, none by keys")
}

// A client for which a scope function returns "" is not the account with that name.
func TestAnAccountNamedLikeAnAddressIsNotThatAddress(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.GET("/", limiter.RateLimit(1, time.Hour, ratelimiter.WithScope(ratelimiter.ByHeader("X-Account"))), ok)
	require.Equal(t, []int{200, 429}, statuses(engine, "/", 2))
	for _, account := range []string{"192.0.2.1", "address:192.0.2.1", ratelimiter.Join("address:192.0.2.1")} {
		require.Equal(t, []int{200, 429}, statuses(engine, "/", 2, withHeader("X-Account", account)), account)
	}
	require.NoError(t, limiter.Reset(t.Context(), "GET /", "address:192.0.2.1"))
	require.Equal(t, []int{200}, statuses(engine, "/", 1))
	require.Equal(t, []int{429}, statuses(engine, "/", 1, withHeader("X-Account", "192.0.2.1")))
}

func TestTheKeyPrefixAppliesToEveryNamespace(t *testing.T) {
	for _, prefix := range []string{"", "mine"} {
		engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_KEY_PREFIX": prefix, "RATELIMITER_DEFAULT_LIMITS": "1/hour", "RATELIMITER_APPLICATION_LIMITS": "9/hour"})
		engine.GET("/plain", ok)
		engine.GET("/route", limiter.RateLimit(5, time.Hour), limiter.RateLimit(1, time.Hour), ok)
		engine.GET("/key", limiter.RateLimit(1, time.Hour, ratelimiter.WithKey(ratelimiter.Shared("a"))), ok)
		for path, key := range map[string]string{"/plain": "GET /plain", "/route": "GET /route", "/key": "a"} {
			require.Equal(t, []int{200, 429}, statuses(engine, path, 2), path)
			require.NoError(t, limiter.Reset(t.Context(), key, "192.0.2.1"))
			require.Equal(t, []int{200, 429}, statuses(engine, path, 2), path)
		}
	}
}
