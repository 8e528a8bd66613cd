package clientip

import (
	"net/http"
	"net/netip"

	"github.com/gin-gonic/gin"
)

// prober finds out which addresses an engine trusts. Gin has no method for that, so it
// sends a made-up request from an address and checks whether the engine accepts its
// forwarding headers. It must not be used concurrently.
type prober struct {
	context *gin.Context
	request *http.Request
}

// probeAddress is the address that made-up requests forward. No host has it.
const probeAddress = "::"

// newProber returns a prober that uses these forwarding headers.
func newProber(context *gin.Context, headers []string) *prober {
	request := &http.Request{Header: http.Header{}}
	for _, name := range headers {
		request.Header.Set(name, probeAddress)
	}
	context.Request = request
	return &prober{context, request}
}

// trusts reports whether the engine trusts an address as a proxy.
func (p *prober) trusts(address netip.Addr) bool {
	if address.IsUnspecified() {
		return false // it would look like the forwarded address
	}
	p.request.RemoteAddr = withPort(address)
	return p.context.ClientIP() == probeAddress
}

// trustsSocket reports whether the engine trusts a request on a Unix socket.
func (p *prober) trustsSocket(request *http.Request) bool {
	p.request.RemoteAddr = request.RemoteAddr
	p.context.Request = p.request.WithContext(request.Context())
	trusted := p.context.ClientIP() == probeAddress
	p.context.Request = p.request
	return trusted
}

// withPort formats an address like the RemoteAddr of a request. Gin requires a port.
func withPort(address netip.Addr) string { return netip.AddrPortFrom(address, 1).String() }

// discard is the response to a made-up request.
type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}
