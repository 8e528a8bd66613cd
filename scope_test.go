package ratelimiter_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

// scopeOf sends a request to an engine and returns its scope.
func scopeOf(engine *gin.Engine, change ...func(*http.Request)) string {
	return get(engine, "/", change...).Body.String()
}

func tellScope(c *gin.Context) {
	info, _ := ratelimiter.FromContext(c)
	c.String(http.StatusOK, info.Scope)
}

func scopeApplication(t *testing.T, config ratelimiter.Config) *gin.Engine {
	engine, limiter := application(t, config)
	engine.GET("/", limiter.RateLimit(1000, time.Hour), tellScope)
	return engine
}

func forwarded(client string) func(*http.Request) { return withHeader("X-Forwarded-For", client) }

func TestADefaultEngineCannotBeFooledByForgedHeaders(t *testing.T) {
	engine := scopeApplication(t, nil)
	require.Equal(t, "203.0.113.9", scopeOf(engine, from("203.0.113.9:4711"), forwarded("1.2.3.4")))
	require.Equal(t, "203.0.113.9", scopeOf(engine, from("203.0.113.9:4711"), withHeader("X-Real-IP", "1.2.3.4")))

	engine, limiter := application(t, nil)
	engine.GET("/", limiter.RateLimit(1, time.Hour), ok)
	require.Equal(t, 200, get(engine, "/", forwarded("1.1.1.1")).Code)
	require.Equal(t, 429, get(engine, "/", forwarded("2.2.2.2")).Code)
}

func TestBehindATrustedProxyTheForwardedAddressCounts(t *testing.T) {
	engine := scopeApplication(t, nil)
	require.NoError(t, engine.SetTrustedProxies([]string{"10.0.0.0/8"}), "after InitApp is early enough")
	proxy := from("10.1.2.3:80")
	require.Equal(t, "198.51.100.7", scopeOf(engine, proxy, forwarded("198.51.100.7")))
	require.Equal(t, "198.51.100.7", scopeOf(engine, proxy, forwarded("6.6.6.6, 198.51.100.7")), "the part that the client sent is not trusted")
	require.Equal(t, "203.0.113.9", scopeOf(engine, from("203.0.113.9:80"), forwarded("198.51.100.7")), "an untrusted peer is not a proxy")
	require.Equal(t, "10.1.2.3", scopeOf(engine, proxy, forwarded("garbage")))
	require.Equal(t, "10.1.2.3", scopeOf(engine, proxy))
	require.Equal(t, "2001:db8:1:2::/64", scopeOf(engine, proxy, forwarded("2001:db8:1:2:3::4")))
}

func TestTheScopeOnAnEngineThatTrustsNoProxyOrAPlatform(t *testing.T) {
	engine := scopeApplication(t, nil)
	require.NoError(t, engine.SetTrustedProxies(nil))
	require.Equal(t, "203.0.113.9", scopeOf(engine, from("203.0.113.9:80"), forwarded("198.51.100.7")))

	engine = scopeApplication(t, nil)
	require.NoError(t, engine.SetTrustedProxies(nil))
	engine.TrustedPlatform = gin.PlatformCloudflare
	require.Equal(t, "198.51.100.7", scopeOf(engine, withHeader("CF-Connecting-IP", "198.51.100.7")))
}

func TestEachEngineHasItsOwnTrustedProxies(t *testing.T) {
	naive, limiter := application(t, nil)
	careful := gin.New()
	require.NoError(t, careful.SetTrustedProxies([]string{"10.0.0.0/8"}))
	require.NoError(t, limiter.InitApp(careful, nil))
	handler := limiter.RateLimit(1000, time.Hour)
	naive.GET("/", handler, tellScope)
	careful.GET("/", handler, tellScope)
	require.Equal(t, "10.1.2.3", scopeOf(naive, from("10.1.2.3:80"), forwarded("198.51.100.7")))
	require.Equal(t, "198.51.100.7", scopeOf(careful, from("10.1.2.3:80"), forwarded("198.51.100.7")))
	require.Equal(t, "203.0.113.9", scopeOf(careful, from("203.0.113.9:80"), forwarded("198.51.100.7")))
}

func TestAClientHasOneScopeHoweverItsAddressIsWritten(t *testing.T) {
	engine := scopeApplication(t, nil)
	for peer, want := range map[string]string{
		"192.0.2.7:80":                 "192.0.2.7",
		"[::ffff:192.0.2.7]:80":        "192.0.2.7",
		"[2001:db8:1:2:3:4:5:6]:80":    "2001:db8:1:2::/64",
		"[2001:db8:1:2::9]:80":         "2001:db8:1:2::/64",
		"[fe80::1%eth0]:80":            "fe80::/64",
		"[2001:DB8:1:2:FFFF::1]:65535": "2001:db8:1:2::/64",
	} {
		require.Equal(t, want, scopeOf(engine, from(peer)), peer)
	}
	engine = scopeApplication(t, ratelimiter.Config{"RATELIMITER_IPV6_PREFIX": 56})
	require.Equal(t, "2001:db8:1:200::/56", scopeOf(engine, from("[2001:db8:1:2ff::1]:80")))
}

func TestALinkLocalClientCannotGetASecondScopeWithAHeader(t *testing.T) {
	first := scopeApplication(t, nil)
	require.NoError(t, first.SetTrustedProxies([]string{"10.0.0.0/8"}))
	require.Equal(t, "fe80::/64", scopeOf(first, from("[fe80::1%eth0]:80"), forwarded("198.51.100.7")))

	second, limiter := application(t, nil)
	require.NoError(t, second.SetTrustedProxies(nil))
	other := gin.New()
	require.NoError(t, other.SetTrustedProxies(nil))
	require.NoError(t, limiter.InitApp(other, nil))
	second.GET("/", limiter.RateLimit(1000, time.Hour), tellScope)
	require.Equal(t, "fe80::/64", scopeOf(second, from("[fe80::1%eth0]:80"), forwarded("198.51.100.7")))
}

func TestRequestsWithoutAnAddressShareAScope(t *testing.T) {
	for _, peer := range []string{"", "@", "not an address", "300.1.1.1:80"} {
		engine, limiter := application(t, nil)
		engine.GET("/", limiter.RateLimit(1, time.Hour), ok)
		require.Equal(t, []int{200, 429}, statuses(engine, "/", 2, from(peer)), peer)
		require.Equal(t, "no address", scopeOf(scopeApplication(t, nil), from(peer)), peer)
	}
}
