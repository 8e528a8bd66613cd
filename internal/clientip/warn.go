package clientip

import (
	"fmt"
	"net/http"
	"net/netip"
	"sync/atomic"

	"github.com/gin-gonic/gin"
)

// warnOfProxy warns once if there seems to be a proxy that the engine does not trust, so
// that all clients behind it count as one.
func (t *trust) warnOfProxy(request *http.Request, header string, peer netip.Addr) {
	if t.warnedOfProxy.Load() {
		return
	}
	from := "the Unix socket"
	switch {
	case isInternal(peer):
		from = peer.String()
	case !onUnixSocket(request):
		return // a client on the Internet may have written the header itself
	}
	t.warn(&t.warnedOfProxy, "all requests from %s count as one client, because the engine does not trust its %s header; if it is a proxy, write %s",
		from, header, t.remedy(peer))
}

// warnOfSkip warns once if skipped networks seem to contain a proxy that the engine does
// not trust, so that no client behind it is limited.
func (t *trust) warnOfSkip(request *http.Request, network netip.Prefix, peer netip.Addr) {
	if isInternal(peer) && !t.warnedOfSkip.Load() {
		t.warn(&t.warnedOfSkip, "FromNetworks(%q) skips all requests from %s for any client, because the engine does not trust its %s header; if it is a proxy, write %s",
			network.String(), peer, t.present(request.Header).name, t.remedy(peer))
	}
}

// remedy returns the line of code that makes the engine trust a proxy.
func (t *trust) remedy(peer netip.Addr) string {
	line := "engine.SetTrustedProxies(nil)" // the peer on a Unix socket is always trusted
	if peer.IsValid() {
		line = fmt.Sprintf("engine.SetTrustedProxies([]string{%q})", peer.String())
	}
	if t.engine != nil && !t.engine.ForwardedByClientIP {
		line = "engine.ForwardedByClientIP = true; " + line
	}
	return line
}

// warn writes a line to Gin's error log, once per engine.
func (t *trust) warn(done *atomic.Bool, format string, values ...any) {
	if t.engine != nil && !done.Swap(true) && gin.DefaultErrorWriter != nil {
		fmt.Fprintf(gin.DefaultErrorWriter, "[ratelimiter] "+format+"\n", values...)
	}
}
