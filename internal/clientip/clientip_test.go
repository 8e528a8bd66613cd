package clientip

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"
)

func init() {
	gin.SetMode(gin.TestMode)
	gin.DefaultErrorWriter = io.Discard
}

// engineOption changes an engine before its first request.
type engineOption = func(*gin.Engine)

func newEngine(options ...engineOption) *gin.Engine {
	engine := gin.New()
	for _, option := range options {
		option(engine)
	}
	return engine
}

func trust10(engine *gin.Engine) { trustProxies("10.0.0.0/8")(engine) }

func trustNobody(engine *gin.Engine) { trustProxies()(engine) }

func trustProxies(networks ...string) engineOption {
	return func(engine *gin.Engine) {
		if err := engine.SetTrustedProxies(networks); err != nil {
			panic(err)
		}
	}
}

func trustPlatform(header string) engineOption {
	return func(engine *gin.Engine) { engine.TrustedPlatform = header }
}

func ipHeaders(names ...string) engineOption {
	return func(engine *gin.Engine) { engine.RemoteIPHeaders = names }
}

func ignoreHeaders(engine *gin.Engine) { engine.ForwardedByClientIP = false }

func onAppEngine(engine *gin.Engine) { engine.AppEngine = true }

// request returns the context of a request. headers are names and values in turn; repeated
// names become several lines.
func request(engine *gin.Engine, remoteAddr string, headers ...string) *gin.Context {
	c := gin.CreateTestContextOnly(httptest.NewRecorder(), engine)
	c.Request = httptest.NewRequest(http.MethodGet, "/", nil)
	c.Request.RemoteAddr = remoteAddr
	for i := 0; i < len(headers); i += 2 {
		c.Request.Header.Add(headers[i], headers[i+1])
	}
	return c
}

// inBothWays runs a test with the engine read from the context, and without it.
func inBothWays(t *testing.T, test func(t *testing.T)) {
	t.Run("engine from the context", func(t *testing.T) {
		require.True(t, engineIsReadable, "this version of Gin has no field engine; trustFromContext is used instead, which is slow")
		test(t)
	})
	t.Run("without the engine", func(t *testing.T) {
		engineIsReadable = false
		defer func() { engineIsReadable = true }()
		test(t)
	})
}

func TestTheClientOfARequest(t *testing.T) {
	const (
		proxy    = "10.0.0.1:80"
		stranger = "203.0.113.9:4711"
		xff      = "X-Forwarded-For"
		realIP   = "X-Real-IP"
	)
	for _, test := range []struct {
		name    string
		engine  []engineOption
		peer    string
		headers []string
		want    string
	}{
		// Which peers an engine trusts.
		{"Gin's default engine trusts every address, so no header is used", nil, proxy, []string{xff, "198.51.100.7"}, "10.0.0.1"},
		{"nor the next header", nil, stranger, []string{realIP, "198.51.100.7"}, "203.0.113.9"},
		{"an engine that trusts all of IPv4", []engineOption{trustProxies("0.0.0.0/0")}, stranger, []string{xff, "198.51.100.7"}, "203.0.113.9"},
		{"an engine that trusts all of IPv6", []engineOption{trustProxies("::/0")}, stranger, []string{xff, "198.51.100.7"}, "203.0.113.9"},
		{"an engine that trusts all of IPv6, an IPv6 client", []engineOption{trustProxies("::/0")}, "[2001:db8::9]:80", []string{xff, "198.51.100.7"}, "2001:db8::9"},
		{"an engine that trusts all of IPv4 in two halves", []engineOption{trustProxies("0.0.0.0/1", "128.0.0.0/1")}, stranger, []string{xff, "198.51.100.7"}, "203.0.113.9"},
		{"an engine that trusts the public part of IPv6", []engineOption{trustProxies("2000::/3")}, "[2001:db8::9]:80", []string{xff, "198.51.100.7"}, "2001:db8::9"},
		{"an engine that trusts all of IPv4 in IPv6 form", []engineOption{trustProxies("::ffff:0:0/96")}, stranger, []string{xff, "198.51.100.7"}, "203.0.113.9"},
		{"an engine that trusts no address", []engineOption{trustNobody}, stranger, []string{xff, "198.51.100.7"}, "203.0.113.9"},
		{"an engine that trusts no address, behind a proxy", []engineOption{trustNobody}, proxy, []string{xff, "198.51.100.7"}, "10.0.0.1"},
		{"a trusted proxy", []engineOption{trust10}, proxy, []string{xff, "198.51.100.7"}, "198.51.100.7"},
		{"a trusted proxy without a header", []engineOption{trust10}, proxy, nil, "10.0.0.1"},
		{"an unknown peer is not a proxy", []engineOption{trust10}, stranger, []string{xff, "198.51.100.7"}, "203.0.113.9"},
		{"a proxy in the documentation ranges", []engineOption{trustProxies("203.0.113.0/24")}, stranger, []string{xff, "198.51.100.7"}, "198.51.100.7"},
		{"of IPv6", []engineOption{trustProxies("2001:db8::/32")}, "[2001:db8::9]:80", []string{xff, "198.51.100.7"}, "198.51.100.7"},
		{"a proxy that is a well-known resolver", []engineOption{trustProxies("8.8.8.8")}, "8.8.8.8:80", []string{xff, "198.51.100.7"}, "198.51.100.7"},
		{"a large network of proxies", []engineOption{trustProxies("8.0.0.0/8")}, "8.1.2.3:80", []string{xff, "198.51.100.7"}, "198.51.100.7"},
		{"all networks of a CDN", []engineOption{trustProxies("173.245.48.0/20", "103.21.244.0/22", "104.16.0.0/13", "172.64.0.0/13", "131.0.72.0/22", "2400:cb00::/32", "2606:4700::/32", "2a06:98c0::/29")},
			"104.16.1.1:80", []string{xff, "198.51.100.7"}, "198.51.100.7"},

		// What a trusted proxy has written.
		{"the client is what the last proxy has appended", []engineOption{trust10}, proxy, []string{xff, "6.6.6.6, 198.51.100.7"}, "198.51.100.7"},
		{"behind further trusted proxies", []engineOption{trust10}, proxy, []string{xff, "6.6.6.6, 198.51.100.7,10.0.0.2 , 10.0.0.3"}, "198.51.100.7"},
		{"an untrusted proxy is the client", []engineOption{trust10}, proxy, []string{xff, "198.51.100.7, 192.0.2.20"}, "192.0.2.20"},
		{"if all are trusted, the client is the leftmost", []engineOption{trust10}, proxy, []string{xff, "10.0.0.9, 10.0.0.2"}, "10.0.0.9"},
		{"lines are one list", []engineOption{trust10}, proxy, []string{xff, "6.6.6.6", xff, "198.51.100.7"}, "198.51.100.7"},
		{"each line may contain several addresses", []engineOption{trust10}, proxy, []string{xff, "6.6.6.6, 198.51.100.7", xff, "10.0.0.2, 10.0.0.3"}, "198.51.100.7"},
		{"an empty line", []engineOption{trust10}, proxy, []string{xff, "198.51.100.7", xff, ""}, "10.0.0.1"},
		{"entries to the left of the client may be invalid", []engineOption{trust10}, proxy, []string{xff, "unknown,,_x, 198.51.100.7"}, "198.51.100.7"},
		{"an unspecified address is not a proxy", []engineOption{trustProxies("10.0.0.0/8", "::/128")}, proxy, []string{xff, "6.6.6.6, ::"}, "::"},

		// Ports.
		{"a port is cut off", []engineOption{trust10}, proxy, []string{xff, "198.51.100.7:50123"}, "198.51.100.7"},
		{"and the next header is not used", []engineOption{trust10}, proxy, []string{xff, "198.51.100.7:50123", realIP, "6.6.6.6"}, "198.51.100.7"},
		{"of IPv6", []engineOption{trust10}, proxy, []string{xff, "[2001:db8::1]:443"}, "2001:db8::1"},
		{"brackets without a port", []engineOption{trust10}, proxy, []string{xff, "[2001:db8::1]"}, "2001:db8::1"},
		{"bare IPv6 has no port", []engineOption{trust10}, proxy, []string{xff, "2001:db8::1:443"}, "2001:db8::1:443"},
		{"of a trusted proxy in the list", []engineOption{trust10}, proxy, []string{xff, "198.51.100.7:1, 10.0.0.2:2"}, "198.51.100.7"},

		// Invalid entries.
		{"unknown", []engineOption{trust10}, proxy, []string{xff, "unknown", realIP, "6.6.6.6"}, "10.0.0.1"},
		{"obfuscated", []engineOption{trust10}, proxy, []string{xff, "6.6.6.6, _hidden", realIP, "6.6.6.6"}, "10.0.0.1"},
		{"empty", []engineOption{trust10}, proxy, []string{xff, "", realIP, "6.6.6.6"}, "10.0.0.1"},
		{"a comma at the end", []engineOption{trust10}, proxy, []string{xff, "6.6.6.6,", realIP, "6.6.6.6"}, "10.0.0.1"},
		{"behind a trusted proxy", []engineOption{trust10}, proxy, []string{xff, "6.6.6.6, unknown, 10.0.0.2"}, "10.0.0.1"},
		{"an open bracket", []engineOption{trust10}, proxy, []string{xff, "[2001:db8::1", realIP, "6.6.6.6"}, "10.0.0.1"},
		{"text after the bracket", []engineOption{trust10}, proxy, []string{xff, "[2001:db8::1]443", realIP, "6.6.6.6"}, "10.0.0.1"},
		{"two ports", []engineOption{trust10}, proxy, []string{xff, "[2001:db8::1]:443:443", realIP, "6.6.6.6"}, "10.0.0.1"},
		{"leading zeros", []engineOption{trust10}, proxy, []string{xff, "198.051.100.007", realIP, "6.6.6.6"}, "10.0.0.1"},

		// Settings of Gin.
		{"the second header counts if the first is missing", []engineOption{trust10}, proxy, []string{realIP, "198.51.100.7"}, "198.51.100.7"},
		{"the first header decides", []engineOption{trust10}, proxy, []string{realIP, "6.6.6.6", xff, "198.51.100.7"}, "198.51.100.7"},
		{"headers count in the order of the engine", []engineOption{trust10, ipHeaders("x-real-ip", "X-Forwarded-For")}, proxy, []string{realIP, "198.51.100.7", xff, "6.6.6.6"}, "198.51.100.7"},
		{"only the headers of the engine count", []engineOption{trust10, ipHeaders("X-Real-IP")}, proxy, []string{xff, "6.6.6.6"}, "10.0.0.1"},
		{"an engine without headers", []engineOption{trust10, ipHeaders()}, proxy, []string{xff, "6.6.6.6"}, "10.0.0.1"},
		{"an engine that ignores headers", []engineOption{trust10, ignoreHeaders}, proxy, []string{xff, "198.51.100.7"}, "10.0.0.1"},
		{"a default engine that ignores headers", []engineOption{ignoreHeaders}, proxy, []string{xff, "198.51.100.7"}, "10.0.0.1"},
		{"a platform header is trusted from any peer", []engineOption{trustNobody, trustPlatform("CF-Connecting-IP")}, stranger, []string{"CF-Connecting-IP", "198.51.100.7"}, "198.51.100.7"},
		{"a platform header on a default engine", []engineOption{trustPlatform("CF-Connecting-IP")}, stranger, []string{"CF-Connecting-IP", "198.51.100.7"}, "198.51.100.7"},
		{"another header on a default engine with a platform", []engineOption{trustPlatform("CF-Connecting-IP")}, stranger, []string{xff, "198.51.100.7"}, "203.0.113.9"},
		{"a platform header comes before others", []engineOption{trust10, trustPlatform("fly-client-ip")}, proxy, []string{xff, "6.6.6.6", "Fly-Client-IP", "198.51.100.7"}, "198.51.100.7"},
		{"without a platform header the others count", []engineOption{trust10, trustPlatform("Fly-Client-IP")}, proxy, []string{xff, "198.51.100.7"}, "198.51.100.7"},
		{"a platform header with a port", []engineOption{trustNobody, trustPlatform("CloudFront-Viewer-Address")}, stranger, []string{"CloudFront-Viewer-Address", "198.51.100.7:46532"}, "198.51.100.7"},
		{"an invalid platform header", []engineOption{trust10, trustPlatform("Fly-Client-IP")}, proxy, []string{"Fly-Client-IP", "unknown", xff, "6.6.6.6"}, "10.0.0.1"},
		{"an empty platform header", []engineOption{trust10, trustPlatform("Fly-Client-IP")}, proxy, []string{"Fly-Client-IP", "", xff, "6.6.6.6"}, "10.0.0.1"},
		{"a platform that appends to the header of the client", []engineOption{trustNobody, trustPlatform(xff)}, stranger, []string{xff, "6.6.6.6", xff, "6.6.6.7, 198.51.100.7"}, "198.51.100.7"},
		{"trusted proxies behind a platform are skipped", []engineOption{trust10, trustPlatform("Fly-Client-IP")}, stranger, []string{"Fly-Client-IP", "6.6.6.6, 198.51.100.7, 10.0.0.2"}, "198.51.100.7"},
		{"trusted proxies behind a platform with the same header", []engineOption{trust10, trustPlatform(xff)}, stranger, []string{xff, "6.6.6.6, 198.51.100.7, 10.0.0.2"}, "198.51.100.7"},
		{"a platform with the same header on a default engine", []engineOption{trustPlatform(xff)}, stranger, []string{xff, "6.6.6.6, 198.51.100.7"}, "198.51.100.7"},
		{"with a platform, other headers of an unknown peer are not trusted", []engineOption{trust10, trustPlatform(xff)}, stranger, []string{realIP, "6.6.6.6"}, "203.0.113.9"},
		{"App Engine", []engineOption{trustNobody, onAppEngine}, stranger, []string{"X-Appengine-Remote-Addr", "198.51.100.7"}, "198.51.100.7"},

		// Spellings of an address.
		{"IPv4 in IPv6 form", nil, "[::ffff:192.0.2.7]:80", nil, "192.0.2.7"},
		{"a trusted proxy with IPv4 in IPv6 form", []engineOption{trust10}, "[::ffff:10.0.0.1]:80", []string{xff, "::ffff:198.51.100.7"}, "198.51.100.7"},
		{"a zone", nil, "[fe80::1%eth0]:80", nil, "fe80::1"},
		{"a zone in a header", []engineOption{trust10}, proxy, []string{xff, "fe80::1%eth0"}, "fe80::1"},
		{"a trusted proxy with a zone", []engineOption{trustProxies("fe80::/10")}, "[fe80::1%eth0]:80", []string{xff, "198.51.100.7"}, "198.51.100.7"},
		{"a client with a zone and a header", []engineOption{trustNobody}, "[fe80::1%eth0]:80", []string{xff, "198.51.100.7"}, "fe80::1"},
		{"through a translator", nil, "[64:ff9b::198.51.100.7]:80", nil, "198.51.100.7"},
		{"through a translator and a proxy", []engineOption{trust10}, proxy, []string{xff, "64:ff9b::c633:6407"}, "198.51.100.7"},
		{"a translated address is not trusted like the address in it", []engineOption{trust10}, "[64:ff9b::10.0.0.1]:80", []string{xff, "198.51.100.7"}, "64:ff9b::a00:1"},
		{"translators do not translate private addresses", nil, "[64:ff9b::10.0.0.1]:80", nil, "64:ff9b::a00:1"},
		{"addresses for local use are not translated", nil, "[64:ff9b:1::198.51.100.7]:80", nil, "64:ff9b:1::c633:6407"},
		{"no port", nil, "192.0.2.7", nil, "192.0.2.7"},
		{"no port on IPv6", nil, "2001:db8::1", nil, "2001:db8::1"},
		{"brackets alone", nil, "[2001:db8::1]", nil, "2001:db8::1"},
		{"a trusted proxy without a port", []engineOption{trust10}, "10.0.0.1", []string{xff, "198.51.100.7"}, "198.51.100.7"},
		{"a trusted IPv6 proxy without a port", []engineOption{trustProxies("2001:db8::/32")}, "2001:db8::1", []string{xff, "198.51.100.7"}, "198.51.100.7"},
		{"white space", []engineOption{trust10}, " 10.0.0.1:80 ", []string{xff, " 198.51.100.7\t"}, "198.51.100.7"},
		{"a Unix socket", nil, "@", nil, NoAddress},
		{"no address", nil, "", nil, NoAddress},
		{"no address and a header", nil, "", []string{xff, "198.51.100.7"}, NoAddress},
		{"no address, on an engine that trusts proxies", []engineOption{trust10}, "", []string{xff, "198.51.100.7"}, NoAddress},
		{"no address", nil, "not an address", nil, NoAddress},
		{"no IPv4 address", nil, "300.1.1.1:80", nil, NoAddress},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBothWays(t, func(t *testing.T) {
				finder, engine := &Finder{}, newEngine(test.engine...)
				for range 2 { // first and cached
					c := request(engine, test.peer, test.headers...)
					require.Equal(t, test.want, finder.Text(c, 32, 128))
					if address := finder.Address(c); test.want == NoAddress {
						require.False(t, address.IsValid())
					} else {
						require.Equal(t, test.want, address.String())
					}
				}
			})
		})
	}
}

// onSocket returns a request received on a Unix socket.
func onSocket(engine *gin.Engine, headers ...string) *gin.Context {
	c := request(engine, "@", headers...)
	local := &net.UnixAddr{Name: "app", Net: "unix"}
	c.Request = c.Request.WithContext(context.WithValue(c.Request.Context(), http.LocalAddrContextKey, local))
	return c
}

func TestAUnixSocket(t *testing.T) {
	for _, test := range []struct {
		name    string
		engine  []engineOption
		headers []string
		want    string
	}{
		{"Gin trusts every peer on it", []engineOption{trustNobody}, []string{"X-Forwarded-For", "6.6.6.6, 198.51.100.7"}, "198.51.100.7"},
		{"trusted proxies are skipped", []engineOption{trust10}, []string{"X-Forwarded-For", "198.51.100.7, 10.0.0.2"}, "198.51.100.7"},
		{"an engine that trusts every address", nil, []string{"X-Forwarded-For", "198.51.100.7"}, NoAddress},
		{"an engine that ignores headers", []engineOption{trustNobody, ignoreHeaders}, []string{"X-Forwarded-For", "198.51.100.7"}, NoAddress},
		{"an invalid address", []engineOption{trustNobody}, []string{"X-Forwarded-For", "unknown", "X-Real-IP", "6.6.6.6"}, NoAddress},
		{"no header", []engineOption{trustNobody}, nil, NoAddress},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBothWays(t, func(t *testing.T) {
				require.Equal(t, test.want, (&Finder{}).Text(onSocket(newEngine(test.engine...), test.headers...), 32, 64))
			})
		})
	}
}

func TestAContextWithoutAnEngine(t *testing.T) {
	c := &gin.Context{Request: httptest.NewRequest(http.MethodGet, "/", nil)}
	c.Request.RemoteAddr = "192.0.2.7:80"
	c.Request.Header.Set("X-Forwarded-For", "6.6.6.6")
	require.Equal(t, "192.0.2.7", (&Finder{}).Text(c, 32, 64))
}

func TestTheScopeIsCutToANetwork(t *testing.T) {
	for _, test := range []struct {
		peer               string
		ipv4Bits, ipv6Bits int
		want               string
	}{
		{"192.0.2.7:80", 32, 64, "192.0.2.7"},
		{"198.51.100.7:80", 24, 64, "198.51.100.0/24"},
		{"[::ffff:198.51.100.7]:80", 24, 64, "198.51.100.0/24"},
		{"[2001:db8::1]:80", 32, 64, "2001:db8::/64"},
		{"[2001:DB8:1:2:FFFF::1]:80", 32, 64, "2001:db8:1:2::/64"},
		{"[2001:db8:1:2ff::1]:80", 32, 56, "2001:db8:1:200::/56"},
		{"[fe80::1%eth0]:80", 32, 64, "fe80::/64"},
		{"[64:ff9b::198.51.100.7]:80", 32, 64, "198.51.100.7"},
		{"[2001:db8::1]:80", 32, 128, "2001:db8::1"},
		{"@", 24, 48, NoAddress},
	} {
		require.Equal(t, test.want, (&Finder{}).Text(request(newEngine(), test.peer), test.ipv4Bits, test.ipv6Bits), test.peer)
	}
}

func TestEachEngineIsExaminedSeparately(t *testing.T) {
	inBothWays(t, func(t *testing.T) {
		naive, careful, finder := newEngine(), newEngine(trust10), &Finder{}
		for range 3 {
			require.Equal(t, "10.0.0.1", finder.Text(request(naive, "10.0.0.1:80", "X-Forwarded-For", "198.51.100.7"), 32, 64))
			require.Equal(t, "198.51.100.7", finder.Text(request(careful, "10.0.0.1:80", "X-Forwarded-For", "198.51.100.7"), 32, 64))
		}
	})
}

func TestTheNumberOfCachedEnginesIsBounded(t *testing.T) {
	finder := &Finder{}
	for i := range 1000 {
		engine, want := newEngine(), "10.0.0.1"
		if i%2 == 0 {
			engine, want = newEngine(trust10), "198.51.100.7"
		}
		require.Equal(t, want, finder.Text(request(engine, "10.0.0.1:80", "X-Forwarded-For", "198.51.100.7"), 32, 64))
	}
	require.Len(t, *finder.engines.known.Load(), maxEngines)
}

func TestConcurrentRequests(t *testing.T) {
	finder := &Finder{}
	engines := []*gin.Engine{newEngine(), newEngine(trust10), newEngine(trustNobody)}
	want := []string{"10.0.0.1", "198.51.100.7", "10.0.0.1"}
	done := make(chan error)
	for i := range 30 {
		go func() {
			var err error
			for range 100 {
				c := request(engines[i%3], "10.0.0.1:80", "X-Forwarded-For", "198.51.100.7, 10.0.0.2")
				if got := finder.Text(c, 32, 64); got != want[i%3] {
					err = fmt.Errorf("%s in place of %s", got, want[i%3])
				}
			}
			done <- err
		}()
	}
	for range 30 {
		require.NoError(t, <-done)
	}
	require.Len(t, *finder.engines.known.Load(), 3)
}
