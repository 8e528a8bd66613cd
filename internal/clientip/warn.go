package clientip

import (
	"fmt"
	"net/http"
	"net/netip"
	"sync/atomic"

	"github.com/gin-gonic/gin"
)

// warnOfProxy says once that a proxy seems to stand before the engine which the engine
// does not trust to forward addresses, so that all clients behind it are one.
func (t *trust) warnOfProxy(request *http.Request, header string, peer netip.Addr) {
	if t.warnedOfProxy.Load() {
		return
	}
	from := "the Unix socket"
	switch {
	case isInternal(peer):
		from = peer.String()
	case !onUnixSocket(request):
		return // a client on the Internet, which has written the header itself
	}
	t.warn(&t.warnedOfProxy, "all requests from %s count as one client, since the engine does not trust it to send %s; if a proxy is there, write %s",
		from, header, t.remedy(peer))
}

// warnOfSkip says once that networks which are not limited hold what seems to be a
// proxy, so that nobody behind it is limited.
func (t *trust) warnOfSkip(request *http.Request, network netip.Prefix, peer netip.Addr) {
	if isInternal(peer) && !t.warnedOfSkip.Load() {
		t.warn(&t.warnedOfSkip, "FromNetworks(%q) skips all requests from %s, whoever the client is, since the engine does not trust it to send %s; if a proxy is there, write %s",
			network.String(), peer, t.present(request.Header).name, t.remedy(peer))
	}
}

// remedy is the line of code that makes an engine trust a proxy.
func (t *trust) remedy(peer netip.Addr) string {
	line := "engine.SetTrustedProxies(nil)" // the other end of a Unix socket is always trusted
	if peer.IsValid() {
		line = fmt.Sprintf("engine.SetTrustedProxies([]string{%q})", peer.String())
	}
	if t.engine != nil && !t.engine.ForwardedByClientIP {
		line = "engine.ForwardedByClientIP = true; " + line
	}
	return line
}

// warn writes a line to Gin's error log, once for each engine.
func (t *trust) warn(done *atomic.Bool, format string, values ...any) {
	if t.engine != nil && !done.Swap(true) && gin.DefaultErrorWriter != nil {
		fmt.Fprintf(gin.DefaultErrorWriter, "[ratelimiter] "+format+"\n", values...)
	}
}
