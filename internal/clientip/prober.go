package clientip

import (
	"net/http"
	"net/netip"

	"github.com/gin-gonic/gin"
)

// asker asks an engine whom it trusts, which Gin does not tell: it makes up a request
// from an address and sees whether the engine believes what the request forwards. It
// is for one goroutine at a time.
type prober struct {
	context *gin.Context
	request *http.Request
}

// nobody is what made-up requests forward: an address that no host has.
const probeAddress = "::"

// newAsker makes an asker that forwards by these headers.
func newProber(context *gin.Context, headers []string) *prober {
	request := &http.Request{Header: http.Header{}}
	for _, name := range headers {
		request.Header.Set(name, probeAddress)
	}
	context.Request = request
	return &prober{context, request}
}

// trusts tells whether the engine takes an address for one of its proxies.
func (a *prober) trusts(address netip.Addr) bool {
	if address.IsUnspecified() {
		return false // or the answer would mean nothing
	}
	a.request.RemoteAddr = withPort(address)
	return a.context.ClientIP() == probeAddress
}

// trustsSocket tells whether the engine believes a request on a Unix socket.
func (a *prober) trustsSocket(request *http.Request) bool {
	a.request.RemoteAddr = request.RemoteAddr
	a.context.Request = a.request.WithContext(request.Context())
	trusted := a.context.ClientIP() == probeAddress
	a.context.Request = a.request
	return trusted
}

// withPort is an address as a server writes it into a request. Gin wants a port.
func withPort(address netip.Addr) string { return netip.AddrPortFrom(address, 1).String() }

// nowhere is the response to a made-up request.
type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}
