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

// trust is what an engine trusts to determine the client address.
type trust struct {
	engine *gin.Engine // nil if unknown
	// headers are the headers that may contain the address, in the order of the engine.
	headers []header
	// trustsEveryone is set if the engine trusts every address. Then no header is used.
	trustsEveryone bool

	probers sync.Pool // of *prober

	warnedOfProxy, warnedOfSkip atomic.Bool
}

// header is a header that may contain the client address.
type header struct {
	name string // in canonical form
	// alwaysTrusted is set if the engine trusts the header from any peer.
	alwaysTrusted bool
}

// trustOfEngine determines what an engine trusts. The engine may be nil.
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

// trustFromContext determines what the engine of a request trusts if the engine cannot be
// read. It considers only the headers of this request.
func trustFromContext(c *gin.Context) *trust {
	t := &trust{}
	names := slices.Collect(maps.Keys(c.Request.Header))
	// Only a header that is always trusted returns a value that is not an address.
	if i := decidingHeader(c, names, "no address "); i >= 0 {
		platform := names[i]
		t.addHeader(platform, true)
		// It may contain a list of hops. Whether the engine trusts them is found with
		// another header.
		names = append(names, "X-Forwarded-For", "X-Real-Ip")
		names = slices.DeleteFunc(names, func(name string) bool { return name == platform })
	} else if i := decidingHeader(c, names, "2001:db8::"); i >= 0 {
		t.addHeader(names[i], false)
	}
	return t.probePublicAddresses(func() *prober { return newProber(c.Copy(), names) })
}

// decidingHeader returns the index of the header that determines the client address of a
// request, or -1. It gives each header a value of its own: a mark and a number.
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

// addHeader adds a header, unless it is already present.
func (t *trust) addHeader(name string, alwaysTrusted bool) (added bool) {
	name = http.CanonicalHeaderKey(name)
	if slices.ContainsFunc(t.headers, func(h header) bool { return h.name == name }) {
		return false
	}
	t.headers = append(t.headers, header{name, alwaysTrusted})
	return true
}

// present returns the first of the headers that a request has, or nil.
func (t *trust) present(have http.Header) *header {
	for i := range t.headers {
		if len(have[t.headers[i].name]) > 0 {
			return &t.headers[i]
		}
	}
	return nil
}

// probePublicAddresses finds out whether the engine trusts every address, like Gin's
// default engine. Trusting all addresses of one family is enough, because clients may
// choose the family.
func (t *trust) probePublicAddresses(newProber func() *prober) *trust {
	t.probers.New = func() any { return newProber() }
	isUntrusted := func(address netip.Addr) bool { return !t.trusts(address) }
	t.trustsEveryone = !slices.ContainsFunc(publicIPv4, isUntrusted) || !slices.ContainsFunc(publicIPv6, isUntrusted)
	return t
}

// Public addresses from all over the Internet. A list of proxies may include some of them,
// but not all of one family.
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

// trustsPeer reports whether the engine trusts the sender of a request. Gin trusts every
// peer on a Unix socket.
func (t *trust) trustsPeer(request *http.Request, peer netip.Addr) bool {
	if t.trustsEveryone || !onUnixSocket(request) {
		return t.trusts(peer)
	}
	p := t.probers.Get().(*prober)
	defer t.probers.Put(p)
	return p.trustsSocket(request)
}

func onUnixSocket(request *http.Request) bool {
	local, ok := request.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return ok && strings.HasPrefix(local.Network(), "unix")
}

// trusts reports whether the engine trusts an address as a proxy.
func (t *trust) trusts(address netip.Addr) bool {
	if t.trustsEveryone || !address.IsValid() {
		return false
	}
	p := t.probers.Get().(*prober)
	defer t.probers.Put(p)
	return p.trusts(address)
}
