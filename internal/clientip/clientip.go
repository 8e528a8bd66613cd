// Package clientip determines the client address of a request, and which headers can be
// trusted for it.
//
// Gin trusts forwarding headers such as X-Forwarded-For from every peer, unless
// gin.Engine.SetTrustedProxies restricts it. This package trusts them only from proxies
// that the engine trusts, and from none if the engine trusts every address.
package clientip

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/gin-gonic/gin"
)

// NoAddress is the scope of requests whose client has no address. They share one limit, so
// that a missing address is never a way around it.
const NoAddress = "no address"

// Finder determines the client address of requests. The zero value is ready for use. It
// must not be copied. All methods are safe for concurrent use.
//
// It determines once per engine, at the first request, which addresses the engine trusts:
// its settings are final by then. Engines need not be registered.
type Finder struct {
	engines engines
}

// Address returns the address of the client, without a zone. An IPv4 address in IPv6 form
// is returned as IPv4. The address is invalid if the client has none.
func (f *Finder) Address(c *gin.Context) netip.Addr {
	address, _ := f.engines.of(c).client(c.Request)
	return canonical(address)
}

// Text returns the address of the client as a scope; see the function Text.
func (f *Finder) Text(c *gin.Context, ipv4Bits, ipv6Bits int) string {
	t := f.engines.of(c)
	if ipv4Bits == wholeIPv4 && t.present(c.Request.Header) == nil {
		if text, ok := plainIPv4(c.Request.RemoteAddr); ok {
			return text
		}
	}
	address, _ := t.client(c.Request)
	return Text(address, ipv4Bits, ipv6Bits)
}

// source is the origin of a client address.
type source int

const (
	direct     source = iota // the peer: there is no forwarding header
	forwarded                // a forwarding header
	untrusted                // the peer: the sender of the header is not trusted
	unreadable               // the peer: the header of a trusted proxy contains no valid address
)

// client returns the address of the client: the one forwarded by a trusted proxy, or else
// that of the peer. Only the first header that is present counts, valid or not: a proxy
// that writes it may pass on any other header from the client.
func (t *trust) client(request *http.Request) (netip.Addr, source) {
	peer, _ := parseAddress(request.RemoteAddr)
	header := t.present(request.Header)
	if header == nil {
		return peer, direct
	}
	if !header.alwaysTrusted && !t.trustsPeer(request, peer) {
		t.warnOfProxy(request, header.name, peer)
		return peer, untrusted
	}
	if address, ok := t.lastUntrusted(request.Header[header.name]); ok {
		return address, forwarded
	}
	return peer, unreadable
}

// lastUntrusted walks the addresses in a header from right to left, and returns the first
// that is not a trusted proxy, or else the leftmost. Several lines of a header form one
// list. It fails at the first entry that is not an address, because anyone may have written
// the entries to the left of it.
func (t *trust) lastUntrusted(lines []string) (address netip.Addr, ok bool) {
	for i := len(lines) - 1; i >= 0; i-- {
		for rest, more := lines[i], true; more; {
			var part string
			rest, part, more = cutLast(rest)
			if address, ok = parseAddress(part); !ok {
				return netip.Addr{}, false
			}
			if leftmost := i == 0 && !more; leftmost || !t.trusts(address) {
				return address, true
			}
		}
	}
	return netip.Addr{}, false
}

// cutLast removes the last entry of a list. more reports whether a comma came before it.
func cutLast(list string) (rest, last string, more bool) {
	comma := strings.LastIndexByte(list, ',')
	return list[:max(comma, 0)], list[comma+1:], comma >= 0
}
