package ratelimiter

import (
	"cmp"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/gin-gonic/gin"
)

// noAddress is the scope of requests whose client has no address that can be
// read. They share one limit: that is strict, but never a free pass.
const noAddress = "no address"

// engineTrust is what is known of an engine's idea of who the client is.
type engineTrust struct {
	engine *gin.Engine
	once   sync.Once
	naive  bool
	// headers are those that may hold a forwarded address, in canonical form.
	headers []string
}

// believesAnybody tells whether the engine would take the client's address from
// headers that anybody on the internet can send. Gin's default engine does. It
// is asked at the first request, when the engine's settings are final.
func (e *engineTrust) believesAnybody() bool {
	e.once.Do(func() {
		for _, name := range e.engine.RemoteIPHeaders {
			e.headers = append(e.headers, http.CanonicalHeaderKey(name))
		}
		e.naive = believesForgery(gin.CreateTestContextOnly(discard{}, e.engine), e.engine.RemoteIPHeaders)
	})
	return e.naive
}

// believesForgery makes up requests from public addresses with forged headers,
// and sees whether the context's engine believes them.
func believesForgery(c *gin.Context, headers []string) bool {
	const forged = "198.51.100.99"
	for _, peer := range []string{"8.8.8.8:443", "203.0.113.1:443", "[2001:db8::1]:443", "[2600::1]:443"} {
		c.Request = &http.Request{Header: http.Header{}, RemoteAddr: peer}
		for _, header := range headers {
			c.Request.Header.Set(header, forged)
		}
		if c.ClientIP() == forged {
			return true
		}
	}
	return false
}

// discard is a response that nobody reads.
type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}

// clientAddress is the default scope: the address of the client, an IPv6
// address cut to its network. Forwarding headers count only if the engine does
// not believe them from everybody; see gin.Engine.SetTrustedProxies.
func (r *RateLimiter) clientAddress(c *gin.Context, s *settings) string {
	return addressScope(r.address(c), wholeIPv4, s.ipv6Prefix)
}

// ByAddress is the scope of the client address, an IPv4 address cut to its first
// ipv4Bits (1 to 32) and an IPv6 address to its first ipv6Bits (1 to 128):
// ByAddress(24, 48) limits whole networks. It panics on other numbers.
func (r *RateLimiter) ByAddress(ipv4Bits, ipv6Bits int) func(*gin.Context) string {
	if ipv4Bits < 1 || ipv4Bits > wholeIPv4 || ipv6Bits < 1 || ipv6Bits > 128 {
		panic(fmt.Sprintf("ratelimiter: ByAddress(%d, %d) must be from 1 to 32 bits of an IPv4 address and 1 to 128 of an IPv6 address", ipv4Bits, ipv6Bits))
	}
	return func(c *gin.Context) string { return addressScope(r.address(c), ipv4Bits, ipv6Bits) }
}

// From tells whether a request comes from one of these addresses or networks (in
// CIDR notation), for WithSkip: WithSkip(limiter.From("10.0.0.0/8", "2001:db8::7")).
// The address is that of the default scope, which cannot be forged. It panics on
// a text that is neither.
func (r *RateLimiter) From(networks ...string) func(*gin.Context) bool {
	list := make([]netip.Prefix, len(networks))
	for i, text := range networks {
		network, err := netip.ParsePrefix(text)
		if address, single := netip.ParseAddr(text); single == nil {
			address = address.Unmap()
			network, err = netip.PrefixFrom(address, address.BitLen()), nil
		}
		if err != nil || network.Addr().Is4In6() || network.Addr().Zone() != "" {
			panic(fmt.Sprintf("ratelimiter: From(%q) must be an address, as 192.0.2.7, or a network, as 10.0.0.0/8 or 2001:db8::/32", text))
		}
		list[i] = network.Masked()
	}
	return func(c *gin.Context) bool {
		address, err := netip.ParseAddr(r.address(c))
		address = address.Unmap().WithZone("")
		return err == nil && slices.ContainsFunc(list, func(n netip.Prefix) bool { return n.Contains(address) })
	}
}

const wholeIPv4 = 32

// address is that of the client, as text. It is empty if there is none. Gin finds none
// where the peer's has a zone, as fe80::1%eth0 has: that of the peer stands then.
func (r *RateLimiter) address(c *gin.Context) string {
	address := peer(c.Request.RemoteAddr)
	if engines := r.trusts(); len(engines) == 1 {
		if only := engines[0]; !only.believesAnybody() && only.mayForward(c.Request.Header) {
			address = cmp.Or(c.ClientIP(), address)
		}
	} else if claimed := cmp.Or(c.ClientIP(), address); claimed != address {
		// Which of several engines this is only a copy of the context can tell.
		if !believesForgery(c.Copy(), forwardingHeaders(engines)) {
			address = claimed
		}
	}
	return address
}

// mayForward tells whether the engine could find another address in the headers
// than that of the peer. Mostly there is none, and no need to look closer.
func (e *engineTrust) mayForward(header http.Header) bool {
	if e.engine.TrustedPlatform != "" || e.engine.AppEngine {
		return true
	}
	for _, name := range e.headers {
		if len(header[name]) > 0 {
			return true
		}
	}
	return false
}

func forwardingHeaders(engines []*engineTrust) (headers []string) {
	for _, e := range engines {
		headers = append(headers, e.engine.RemoteIPHeaders...)
	}
	return headers
}

// peer is the host of a host and port, as gin.Context.RemoteIP finds it, but
// for white space around it.
func peer(hostport string) string {
	colon := strings.LastIndexByte(hostport, ':')
	if colon < 0 {
		return ""
	}
	host := hostport[:colon]
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		return host[1 : len(host)-1]
	}
	if strings.IndexByte(host, ':') >= 0 {
		return "" // an IPv6 address without brackets
	}
	return host
}

// addressScope makes one scope of all the ways to write one client.
func addressScope(text string, ipv4Bits, ipv6Bits int) string {
	address, err := netip.ParseAddr(text)
	if err != nil {
		return noAddress
	}
	if address.Is4() && ipv4Bits == wholeIPv4 {
		return text // there is only one way to write it
	}
	address = address.Unmap().WithZone("")
	bits := ipv6Bits
	if address.Is4() {
		if ipv4Bits == wholeIPv4 {
			return address.String()
		}
		bits = ipv4Bits
	}
	network, err := address.Prefix(bits)
	if err != nil {
		return noAddress // cannot be: the prefix length was checked
	}
	var space [48]byte
	return string(network.AppendTo(space[:0]))
}
