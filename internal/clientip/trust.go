package clientip

import (
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/gin-gonic/gin"
)

// trust is whom an engine believes about the address of a client.
type trust struct {
	engine *gin.Engine // nil if it is not known
	// headers are those that may hold the address, in the order of the engine.
	headers []header
	// naive is set if the engine believes everybody. Nobody is believed then.
	trustsEveryone bool

	probers sync.Pool // of *asker

	warnedOfProxy, warnedOfSkip atomic.Bool
}

// header is one that may hold the address of the client.
type header struct {
	name string // in canonical form
	// fromAnybody is set if the engine believes the header whoever sends it.
	alwaysTrusted bool
}

// askEngine learns whom an engine believes. It may be nil.
func trustOfEngine(engine *gin.Engine) *trust {
	t := &trust{engine: engine}
	if engine == nil {
		return t
	}
	if engine.TrustedPlatform != "" {
		t.addHeader(engine.TrustedPlatform, true)
	}
	if engine.AppEngine {
		t.addHeader(gin.PlatformGoogleAppEngine, true)
	}
	var names []string
	for _, name := range engine.RemoteIPHeaders {
		if t.addHeader(name, false) {
			names = append(names, name)
		}
	}
	return t.probePublicAddresses(func() *prober {
		return newProber(gin.CreateTestContextOnly(discard{}, engine), names)
	})
}

// askContext learns whom the engine of a request believes when the engine itself is
// out of reach. It learns nothing about headers that this request has not.
func trustFromContext(c *gin.Context) *trust {
	t := &trust{}
	names := slices.Collect(maps.Keys(c.Request.Header))
	// What is no address comes back only from a header that is believed from anybody.
	if i := decidingHeader(c, names, "no address "); i >= 0 {
		platform := names[i]
		t.addHeader(platform, true)
		// It may hold a list of hops. The engine is asked about them by another header.
		names = append(names, "X-Forwarded-For", "X-Real-Ip")
		names = slices.DeleteFunc(names, func(name string) bool { return name == platform })
	} else if i := decidingHeader(c, names, "2001:db8::"); i >= 0 {
		t.addHeader(names[i], false)
	}
	return t.probePublicAddresses(func() *prober { return newProber(c.Copy(), names) })
}

// decidingHeader tells which of the headers decides who the client of a request is, -1
// for none. Each is given a value of its own: a mark and a number.
func decidingHeader(c *gin.Context, names []string, mark string) int {
	request := c.Request.WithContext(c.Request.Context())
	if peer, ok := parseAddress(request.RemoteAddr); ok {
		request.RemoteAddr = withPort(peer)
	}
	request.Header = http.Header{}
	values := make([]string, len(names))
	for i, name := range names {
		values[i] = mark + strconv.Itoa(i+1)
		request.Header[name] = []string{values[i]}
	}
	copied := c.Copy()
	copied.Request = request
	return slices.Index(values, copied.ClientIP())
}

// addHeader adds a header, unless it is one of them already.
func (t *trust) addHeader(name string, alwaysTrusted bool) (added bool) {
	name = http.CanonicalHeaderKey(name)
	if slices.ContainsFunc(t.headers, func(h header) bool { return h.name == name }) {
		return false
	}
	t.headers = append(t.headers, header{name, alwaysTrusted})
	return true
}

// present is the first of the headers that a request has, nil if it has none.
func (t *trust) present(have http.Header) *header {
	for i := range t.headers {
		if len(have[t.headers[i].name]) > 0 {
			return &t.headers[i]
		}
	}
	return nil
}

// askAboutStrangers finds out whether the engine believes everybody, as Gin's default
// engine does. It believes everybody also if that is true of one family of addresses
// alone, because clients may choose the family.
func (t *trust) probePublicAddresses(newProber func() *prober) *trust {
	t.probers.New = func() any { return newProber() }
	isUntrusted := func(address netip.Addr) bool { return !t.trusts(address) }
	t.trustsEveryone = !slices.ContainsFunc(publicIPv4, isUntrusted) || !slices.ContainsFunc(publicIPv6, isUntrusted)
	return t
}

// Strangers are public addresses all over the Internet. A list of proxies may hold
// some of them, but a list that holds all holds everybody.
var (
	publicIPv4 = parseAll("5.99.3.7", "21.99.3.7", "37.99.3.7", "53.99.3.7", "69.99.3.7", "85.99.3.7", "101.99.3.7",
		"117.99.3.7", "133.99.3.7", "149.99.3.7", "165.99.3.7", "181.99.3.7", "197.99.3.7", "213.99.3.7")
	publicIPv6 = parseAll("2001:200::7", "2403:99::7", "2607:99::7", "2803:99::7", "2a03:99::7", "2c0f:99::7")
)

func parseAll(texts ...string) []netip.Addr {
	addresses := make([]netip.Addr, len(texts))
	for i, text := range texts {
		addresses[i] = netip.MustParseAddr(text)
	}
	return addresses
}

// trustsPeer tells whether the engine trusts whoever has sent a request. Gin trusts
// everybody who is on a Unix socket.
func (t *trust) trustsPeer(request *http.Request, peer netip.Addr) bool {
	if t.trustsEveryone || !onUnixSocket(request) {
		return t.trusts(peer)
	}
	a := t.probers.Get().(*prober)
	defer t.probers.Put(a)
	return a.trustsSocket(request)
}

func onUnixSocket(request *http.Request) bool {
	local, ok := request.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return ok && strings.HasPrefix(local.Network(), "unix")
}

// trusts tells whether the engine takes an address for one of its proxies.
func (t *trust) trusts(address netip.Addr) bool {
	if t.trustsEveryone || !address.IsValid() {
		return false
	}
	a := t.probers.Get().(*prober)
	defer t.probers.Put(a)
	return a.trusts(address)
}
