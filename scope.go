package ratelimiter

import (
	"maps"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/gin-gonic/gin"
)

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

// shownRoute is a route as people read it.
func shownRoute(id routeID) string {
	if id.path == "" {
		return unmatched
	}
	return id.method + " " + id.path
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
	shown := shownRoute(id)
	found := &route{id: id, key: key{shown, s.storedKey(shown), true}}
	found.limited, found.exempt = ownMiddleware(c.HandlerNames())
	learnt[id] = found
	r.known.Store(&learnt)
	return found
}

// scopeOf is who is limited.
func (r *RateLimiter) scopeOf(c *gin.Context, s *settings, l *ruleLimit) string {
	if len(l.scope) == 0 {
		return r.clientAddress(c, s)
	}
	return together(c, l.scope, func() string { return r.clientAddress(c, s) })
}
