package ratelimiter

import (
	"maps"
	"net/http"
	"net/netip"
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
	key string // as "GET /users/:id"
	// limited and exempt tell which of our middlewares stand on it.
	limited, exempt bool
}

// of finds the route of a request.
func (r *routeCache) of(c *gin.Context) *route {
	id := routeID{c.Request.Method, c.FullPath()}
	if id.path == "" {
		id.method = "" // any word may be sent as a method
	}
	if known := r.known.Load(); known != nil {
		if found := (*known)[id]; found != nil {
			return found
		}
	}
	return r.learn(c, id)
}

func (r *routeCache) learn(c *gin.Context, id routeID) *route {
	r.mu.Lock()
	defer r.mu.Unlock()
	learnt := map[routeID]*route{}
	if known := r.known.Load(); known != nil {
		learnt = maps.Clone(*known)
	}
	found := &route{key: unmatched}
	if id.path != "" {
		found.key = id.method + " " + id.path
	}
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
}

// believesAnybody tells whether the engine would take the client's address from
// headers that anybody on the internet can send. Gin's default engine does. It
// is asked at the first request, when the engine's settings are final.
func (e *engineTrust) believesAnybody() bool {
	e.once.Do(func() {
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
	address := c.RemoteIP()
	if engines := r.trusts(); len(engines) == 1 {
		if !engines[0].believesAnybody() {
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

func forwardingHeaders(engines []*engineTrust) (headers []string) {
	for _, e := range engines {
		headers = append(headers, e.engine.RemoteIPHeaders...)
	}
	return headers
}

// addressScope makes one scope of all the ways to write one client.
func addressScope(text string, ipv6Prefix int) string {
	address, err := netip.ParseAddr(text)
	if err != nil {
		return noAddress
	}
	address = address.Unmap().WithZone("")
	if address.Is4() {
		return address.String()
	}
	network, err := address.Prefix(ipv6Prefix)
	if err != nil {
		return noAddress // cannot be: the prefix length was checked
	}
	return network.String()
}
