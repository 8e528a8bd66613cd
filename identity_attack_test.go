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

// A client that has used up its limit tries to be somebody else.

// forged are headers with which a client at 198.51.100.7 may come to a proxy that appends to
// X-Forwarded-For, each as the application gets it.
func forged() map[string]http.Header {
	lists := map[string][]string{
		"an address":                   {"192.0.2.9, 198.51.100.7"},
		"many":                         {"192.0.2.1, 192.0.2.2, 192.0.2.3, 198.51.100.7"},
		"the address of the proxy":     {"10.0.0.1, 198.51.100.7"},
		"that of this machine":         {"127.0.0.1, ::1, 198.51.100.7"},
		"two lines":                    {"192.0.2.9", "198.51.100.7"},
		"empty parts before":           {",,, ,198.51.100.7"},
		"an unreadable part":           {"unknown, _hidden, 198.51.100.7"},
		"a line break":                 {"192.0.2.9\r\nX-Forwarded-For: 192.0.2.8\x00, 198.51.100.7"},
		"a port":                       {"192.0.2.9:80, 198.51.100.7:4711"},
		"another port":                 {"198.51.100.7:4712"},
		"as IPv6":                      {"::ffff:198.51.100.7"},
		"as IPv6, in hexadecimals":     {"::ffff:c633:6407"},
		"as IPv6, with a port":         {"[::ffff:198.51.100.7]:443"},
		"as IPv6, written out":         {"0:0:0:0:0:FFFF:198.51.100.7"},
		"through NAT64":                {"64:ff9b::c633:6407"},
		"with a zone":                  {"::ffff:198.51.100.7%eth0"},
		"white space":                  {"\t 198.51.100.7 \t"},
		"a hundred thousand commas":    {strings.Repeat(",", 100_000) + "198.51.100.7"},
		"a hundred thousand addresses": {strings.Repeat("192.0.2.9,", 100_000) + "198.51.100.7"},
	}
	headers := map[string]http.Header{}
	for name, lines := range lists {
		headers[name] = http.Header{"X-Forwarded-For": lines}
	}
	for _, name := range []string{"Forwarded", "X-Real-Ip", "True-Client-Ip", "Cf-Connecting-Ip", "X-Client-Ip", "X-Forwarded", "X-Appengine-Remote-Addr", "Fly-Client-Ip"} {
		headers[name] = http.Header{name: {"192.0.2.9"}, "X-Forwarded-For": {"198.51.100.7"}}
	}
	return headers
}

func TestNoForgedChainMakesANewClient(t *testing.T) {
	engine, limiter := application(t, nil)
	require.NoError(t, engine.SetTrustedProxies([]string{"10.0.0.0/8"}))
	engine.GET("/", limiter.RateLimit(1, time.Hour), ok)
	send := func(header http.Header) int {
		return get(engine, "/", from("10.0.0.1:1234"), func(r *http.Request) { r.Header = header }).Code
	}
	require.Equal(t, 200, send(http.Header{"X-Forwarded-For": {"198.51.100.7"}}))
	for name, header := range forged() {
		require.Equal(t, 429, send(header), name)
	}
}

func TestWithoutAProxyNoHeaderMakesANewClient(t *testing.T) {
	for name, trust := range map[string]func(engine *gin.Engine){
		"as Gin begins":   func(*gin.Engine) {},
		"nobody":          func(engine *gin.Engine) { require.NoError(t, engine.SetTrustedProxies(nil)) },
		"everybody":       func(engine *gin.Engine) { require.NoError(t, engine.SetTrustedProxies([]string{"0.0.0.0/0", "::/0"})) },
		"another network": func(engine *gin.Engine) { require.NoError(t, engine.SetTrustedProxies([]string{"10.0.0.0/8"})) },
	} {
		engine, limiter := application(t, nil)
		trust(engine)
		engine.GET("/", limiter.RateLimit(1, time.Hour), ok)
		require.Equal(t, 200, get(engine, "/", from("198.51.100.7:1")).Code)
		for forgery, header := range forged() {
			response := get(engine, "/", from("198.51.100.7:2"), func(r *http.Request) { r.Header = header })
			require.Equal(t, 429, response.Code, "%s: %s", name, forgery)
		}
		header := http.Header{"X-Forwarded-For": {"192.0.2.9"}}
		require.Equal(t, 429, get(engine, "/", from("198.51.100.7:2"), func(r *http.Request) { r.Header = header }).Code, name)
	}
}

// A part that cannot be read ends the chain at the proxy: clients who send one share a limit.
func TestAnUnreadableLastPartIsTheProxyAndNoFreePass(t *testing.T) {
	engine, limiter := application(t, nil)
	require.NoError(t, engine.SetTrustedProxies([]string{"10.0.0.1"}))
	engine.GET("/", limiter.RateLimit(1, time.Hour), ok)
	codes := map[int]int{}
	for _, last := range []string{"", "unknown", "_gazonk", "198.51.100.7.8", "198.51.100.07", "0x7f.1", "fe80::1%", "[::1", "198.51.100.7:80:80", "\x00"} {
		codes[get(engine, "/", from("10.0.0.1:1"), withHeader("X-Forwarded-For", "192.0.2.9, "+last)).Code]++
	}
	require.Equal(t, map[int]int{200: 1, 429: 9}, codes)
}

// Addresses of one client in other forms, as a dual-stack server sees them.
func TestEveryFormOfAnAddressIsOneClient(t *testing.T) {
	for _, forms := range [][]string{
		{"198.51.100.7:1", "198.51.100.7", "[::ffff:198.51.100.7]:2", "[::ffff:c633:6407%eth0]:3", "[64:ff9b::198.51.100.7]:4"},
		{"[2001:db8:0:1::1]:1", "[2001:db8:0:1:ffff:ffff:ffff:ffff]:1", "2001:db8:0:1::7", "[2001:DB8::1:0:0:0:1%1]:9"},
		{"[fe80::1%eth0]:1", "[fe80::1%eth1]:1", "[fe80::2]:1"},
		{"", "@", "nonsense", "[::1", "300.1.1.1:80"},
	} {
		engine, limiter := application(t, nil)
		engine.GET("/", limiter.RateLimit(1, time.Hour), ok)
		require.Equal(t, 200, get(engine, "/", from(forms[0])).Code)
		for _, form := range forms {
			require.Equal(t, 429, get(engine, "/", from(form)).Code, form)
		}
	}
}

// A middleware believes a header about who somebody is, and limits by it. Whoever sends the
// header chooses the counter.
func TestWhoeverForgesAnUncheckedScopeUsesUpTheLimitOfAnother(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.GET("/", limiter.RateLimit(1, time.Hour, ratelimiter.WithScope(ratelimiter.ByHeader("X-User")), ratelimiter.WithBan(2, time.Hour, time.Hour)), ok)
	victim, attacker := from("192.0.2.1:1"), from("198.51.100.7:1")
	for range 4 {
		get(engine, "/", attacker, withHeader("X-User", "ann"))
	}
	response := get(engine, "/", victim, withHeader("X-User", "ann"))
	require.Equal(t, 429, response.Code)
	require.Contains(t, response.Body.String(), "banned")
	require.Equal(t, 200, get(engine, "/", victim).Code, "a scope of addresses is not reached by it")
}

// Two limits of one RateLimit on one key, of which one goes by a text that clients send:
// that text may be the address of another. Limits with keys of their own are apart.
func TestAnAccountNamedLikeAnAddressCountsAgainstItUnlessTheKeysDiffer(t *testing.T) {
	byUser := ratelimiter.WithScope(ratelimiter.ByHeader("X-User"))
	for name, use := range map[string]struct {
		option ratelimiter.Option
		victim int
	}{
		"one key":           {ratelimiter.WithLimit(100, time.Hour, byUser), 429},
		"a key of its own":  {ratelimiter.WithLimit(100, time.Hour, byUser, ratelimiter.WithKey(ratelimiter.Shared("user"))), 200},
		"another period":    {ratelimiter.WithLimit(100, time.Minute, byUser), 200},
		"another algorithm": {ratelimiter.WithLimit(100, time.Hour, byUser, ratelimiter.WithAlgorithm(ratelimiter.FixedWindow)), 200},
	} {
		engine, limiter := application(t, nil)
		engine.GET("/", limiter.RateLimit(3, time.Hour, use.option), ok)
		for range 3 {
			require.Equal(t, 200, get(engine, "/", from("198.51.100.7:1"), withHeader("X-User", "192.0.2.1")).Code)
		}
		require.Equal(t, use.victim, get(engine, "/", from("192.0.2.1:1"), withHeader("X-User", "ann")).Code, name)
	}
}
