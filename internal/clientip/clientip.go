// Package clientip finds out who the client of a request is, and whom to believe
// about it.
//
// Gin believes forwarding headers such as X-Forwarded-For from everybody, unless
// gin.Engine.SetTrustedProxies says otherwise. This package believes them only from
// proxies that the engine trusts, and from nobody if the engine trusts everybody.
package clientip

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/gin-gonic/gin"
)

// NoAddress is the scope text of requests whose client has no address. They share
// one limit: that is strict, but never a free pass.
const NoAddress = "no address"

// Finder finds the client of a request. The zero value is ready. It is safe for
// use by many goroutines at once and must not be copied.
//
// It asks each engine once, at its first request, whether it believes everybody:
// the settings of an engine are final by then. Engines need not be announced.
type Finder struct {
	engines engines
}

// Address is the address of the client: an IPv4 address also where it was written as
// an IPv6 address, and without a zone. It is invalid if the client has none.
func (f *Finder) Address(c *gin.Context) netip.Addr {
	address, _ := f.engines.of(c).client(c.Request)
	return canonical(address)
}

// Text is the address of the client as the text of a scope; see the function Text.
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

// source is where the address of a client comes from.
type source int

const (
	direct     source = iota // the connection: no header says otherwise
	forwarded                // a header
	untrusted                // the connection: a header says otherwise, but its sender is not trusted
	unreadable               // the connection: what a trusted proxy has written is no address
)

// client is the address of the client: the peer's, unless a trusted proxy has
// forwarded another one. The first header that is present decides, readable or not.
// A proxy that writes this one may pass on what clients write into the next.
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

// lastUntrusted walks the addresses that proxies have appended to a header from
// right to left, and returns the first that is not a trusted proxy, or the leftmost.
// Several lines of a header are one list. It fails at the first part that is not an
// address, because anybody may have written what stands left of it.
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

// cutLast cuts the last part from a list. More parts are left if there was a comma.
func cutLast(list string) (rest, last string, more bool) {
	comma := strings.LastIndexByte(list, ',')
	return list[:max(comma, 0)], list[comma+1:], comma >= 0
}
