// Package dashboard is a live page that shows what the limits of an application do. It is
// an http.Handler that the application mounts behind its own login:
//
//	admin := engine.Group("/admin", login)
//	admin.Any("/limits/*any", gin.WrapH(dashboard.New(limiter)))
//
// If the configuration has default or application limits, put limiter.Exempt() before the
// handler, so that they do not apply to the page itself. No middleware may compress or
// buffer the page's event stream.
//
// Everyone who can open the page sees the limits, the effective configuration without its
// secrets, the name of the host, and masked clients. The page loads nothing from other
// servers.
//
// A dashboard counts the decisions of its own process. With several processes, each one
// has its own dashboard that shows its share of the traffic, even if they share their
// counters in Redis. Mount it where each process can be reached separately: behind a load
// balancer, the page would switch from one process to another.
//
// # Numbers
//
// Rates are means of the last 10 seconds. A limit counts each request once. The totals at
// the top count each request once per route, however many limits it meets; they are exact
// if at least one limit of a route meets all of its requests. Usage is measured against
// the most that a client can take at once: the limit, or the burst of a token bucket.
//
// # Cost
//
// A decision costs a few atomic operations, and a rejection an entry in a small list. No
// decision reads the clock, allocates, or takes a lock that all decisions share. A timer
// runs once a second while there are decisions. All open pages together cost one snapshot
// a second, made only while a page is open. At most 16 pages can be open.
//
// Memory is bounded, no matter what clients send: 17 KB for each limit on a route, at most
// 256 of them, with the rest counted together as "other"; and 150 KB for the clients that
// are rejected most. The total is under 5.5 MB. A limit that no request met for an hour is
// dropped.
package dashboard

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"strings"

	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/internal/mask"
)

// Handler is a dashboard. It can be mounted under any path, with or without
// http.StripPrefix, and more than once. It is safe for concurrent use.
//
// It routes requests by the last part of the path alone, so the last part of the mount
// path must not be "events", "lookup" or "reset".
type Handler struct {
	limiter    *ratelimiter.RateLimiter
	allowReset bool
	showScopes bool
	mask       *mask.Masker
	token      string // proves that a POST comes from this page
	page       []byte

	record      *record
	streams     streams
	unhook      func()
	crossOrigin *http.CrossOriginProtection
	lastSent    lastSent
}

// Option changes what a dashboard shows or allows.
type Option func(*Handler)

// WithReset lets everyone who can open the page reset a client, which forgets what the
// client has used and lifts its bans. Without it the page is read-only.
//
// A reset must be a POST from the page itself: the handler rejects requests that the
// browser marks as cross-origin, and requests without the token that only the page can
// read. A proxy in front of the application must therefore pass the Host header unchanged.
func WithReset() Option { return func(h *Handler) { h.allowReset = true } }

// WithFullScopes shows client scopes, such as addresses, users and API keys, in full.
// Without it, an address is shown as its network and any other scope as its first
// characters, followed by a short mark that distinguishes clients. The marks change when
// the process restarts. In both modes, a client can be looked up by its full scope, and by
// its mask while it is in a list. Keys, such as those from WithKey, are always shown.
func WithFullScopes() Option { return func(h *Handler) { h.showScopes = true } }

// New makes the dashboard of a limiter, which may be initialised later. It counts from
// now until Close. It panics if limiter is nil.
func New(limiter *ratelimiter.RateLimiter, options ...Option) *Handler {
	if limiter == nil {
		panic("dashboard: New was called with a nil *RateLimiter; pass a limiter, which may be initialised later")
	}
	h := &Handler{
		limiter:     limiter,
		mask:        mask.New(),
		token:       rand.Text(),
		crossOrigin: http.NewCrossOriginProtection(),
	}
	for _, option := range options {
		option(h)
	}
	h.page = h.renderPage()
	h.record = newRecord(limiter.Health, h.tick)
	h.streams.watch = h.record.watch
	h.unhook = limiter.AddObserver(h.record)
	return h
}

// Close ends the open pages and stops counting. The limiter keeps working, and the page
// reports that the dashboard is closed. http.Server.Shutdown waits for open pages, so
// close the dashboard first, for example with http.Server.RegisterOnShutdown. Later calls
// do nothing.
func (h *Handler) Close() {
	h.unhook()
	h.streams.close()
	h.record.close()
}

// ServeHTTP serves the page, its assets, and the requests that the page makes.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	protect(w.Header())
	name := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	switch name {
	case "events":
		switch {
		case !allows(w, r, http.MethodGet):
		case h.isForeign(r):
			http.Error(w, "events are for the page of the dashboard alone", http.StatusForbidden)
		default:
			h.stream(w, r)
		}
	case "lookup":
		if allows(w, r, http.MethodPost) {
			h.lookup(w, r)
		}
	case "reset":
		if allows(w, r, http.MethodPost) {
			h.reset(w, r)
		}
	default:
		if allows(w, r, http.MethodGet, http.MethodHead) {
			h.file(w, r, name)
		}
	}
}

// isForeign reports whether a page of another origin opens the events. It could not read
// them, but take all streams in the browser of somebody who is logged in.
func (h *Handler) isForeign(r *http.Request) bool {
	asPost := *r // the protection lets every GET pass
	asPost.Method = http.MethodPost
	return h.crossOrigin.Check(&asPost) != nil
}

// file serves the page or one of its assets.
func (h *Handler) file(w http.ResponseWriter, r *http.Request, name string) {
	full := requestedPath(r)
	switch {
	case serveAsset(w, r, name):
	case name == "" && strings.HasSuffix(full, "/"):
		h.servePage(w, r)
	case strings.Contains(name, "."):
		http.NotFound(w, r)
	default:
		// Relative addresses need the final slash. The redirect is relative too, because
		// a proxy or StripPrefix may have removed the first part of the path.
		last := full[strings.LastIndexByte(full, '/')+1:]
		w.Header().Set("Location", "./"+last+"/")
		w.WriteHeader(http.StatusTemporaryRedirect)
	}
}

// requestedPath is the escaped path of the request, before any handler stripped a prefix.
func requestedPath(r *http.Request) string {
	if full, err := url.ParseRequestURI(r.RequestURI); err == nil {
		return full.EscapedPath()
	}
	return r.URL.EscapedPath() // the request did not come from a server
}

func allows(w http.ResponseWriter, r *http.Request, methods ...string) bool {
	for _, method := range methods {
		if r.Method == method {
			return true
		}
	}
	w.Header().Set("Allow", strings.Join(methods, ", "))
	http.Error(w, "This address of the dashboard accepts only "+strings.Join(methods, " and ")+".", http.StatusMethodNotAllowed)
	return false
}
