package ratelimiter

import (
	"maps"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/gin-gonic/gin"
)

// noAddress is the scope of requests whose client has no address that can be
// read. They share one limit: that is strict, but never a free pass.
const noAddress = "no address"

// unmatched is the key of requests that no route matches (404 and 405), which
// may hold any path.
const unmatched = "unmatched"

// routeCache remembers the key of each route, so that a request builds none.
// Routes are few and fixed, whereas paths are not.
type routeCache struct {
	known atomic.Pointer[map[routeID]*route]
	mu    sync.Mutex
}

type routeID struct{ method, path string }

// route is what is known of a route of the application.
type route struct {
	id  routeID
	key key // as "GET /users/:id"
	// limited and exempt tell which of our middlewares stand on it.
	limited, exempt bool
}

func idOf(c *gin.Context) routeID {
	id := routeID{c.Request.Method, c.FullPath()}
	if id.path == "" {
		// Any word may be sent as a method. The two kinds have handlers of their own.
		id.method = "404"
		if c.Writer.Status() == http.StatusMethodNotAllowed {
			id.method = "405"
		}
	}
	return id
}

func (r *route) is(c *gin.Context) bool { return r.id == idOf(c) }

// of finds the route of a request.
func (r *routeCache) of(c *gin.Context, s *settings) *route {
	id := idOf(c)
	if known := r.known.Load(); known != nil {
		if found := (*known)[id]; found != nil {
			return found
		}
	}
	return r.learn(c, s, id)
}

func (r *routeCache) learn(c *gin.Context, s *settings, id routeID) *route {
	r.mu.Lock()
	defer r.mu.Unlock()
	learnt := map[routeID]*route{}
	if known := r.known.Load(); known != nil {
		learnt = maps.Clone(*known)
	}
	shown := unmatched
	if id.path != "" {
		shown = id.method + " " + id.path
	}
	found := &route{id: id, key: key{shown, s.storedKey(shown)}}
	found.limited, found.exempt = ownMiddleware(c.HandlerNames())
	learnt[id] = found
	r.known.Store(&learnt)
	return found
}

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
	address := peer(c.Request.RemoteAddr)
	if engines := r.trusts(); len(engines) == 1 {
		if only := engines[0]; !only.believesAnybody() && only.mayForward(c.Request.Header) {
			address = c.ClientIP()
		}
	} else if claimed := c.ClientIP(); claimed != address {
		// Which of several engines this is only a copy of the context can tell.
		if !believesForgery(c.Copy(), forwardingHeaders(engines)) {
			address = claimed
		}
	}
	return addressScope(address, s.ipv6Prefix)
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
func addressScope(text string, ipv6Prefix int) string {
	address, err := netip.ParseAddr(text)
	if err != nil {
		return noAddress
	}
	if address.Is4() {
		return text // there is only one way to write it
	}
	address = address.Unmap().WithZone("")
	if address.Is4() {
		return address.String()
	}
	network, err := address.Prefix(ipv6Prefix)
	if err != nil {
		return noAddress // cannot be: the prefix length was checked
	}
	var space [48]byte
	return string(network.AppendTo(space[:0]))
}
