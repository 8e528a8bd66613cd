// Package dashboard is a page that shows what the limits of an application do, while
// they do it: an http.Handler that the application mounts behind its own login.
//
//	admin := engine.Group("/admin", login)
//	admin.Any("/limits/*any", gin.WrapH(dashboard.New(limiter)))
//
// Where the configuration has default or application limits, put limiter.Exempt() before
// it, so that these do not hold for the page itself. Nothing on the way should compress
// the page's events, nor keep them back.
//
// Whoever can open the page sees the limits, the configuration in force without its
// secrets, and clients under masks. The page asks nothing of any other server.
//
// It counts what this process decides: with several processes each has a dashboard of
// its own, and what one shows is its share of the traffic, also where the counters are
// shared in Redis. Mount it where each process can be reached by itself: pages that a
// load balancer spreads over processes jump from one to the other.
//
// How much of a limit is used is told by what is left of the most that can be taken at
// once: the limit, or the burst of a token bucket.
//
// # Cost
//
// A decision costs a few atomic additions, and a rejection an entry in a small list; there
// is no clock, no allocation, and no lock that decisions share. A timer adds up once a
// second while there are decisions. All clients' pages together cost one snapshot a
// second, made only while one is open, and 16 pages can be.
//
// Memory is bounded: 16 KB for each limit on each route, 256 of them at most, and the rest
// are counted together as "other"; 150 KB for the clients that are rejected most. So it is
// under 5 MB, whatever clients send. A limit that was not asked for an hour is forgotten.
package dashboard

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"strings"

	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/internal/mask"
)

// Handler is a dashboard. It may be mounted under any path, with http.StripPrefix or
// without, and more than once. It is safe for use by many goroutines at once.
//
// Its own addresses are told by the last part of the path alone, so the part that it is
// mounted at should not be called "events", "lookup" or "reset".
type Handler struct {
	limiter    *ratelimiter.RateLimiter
	allowReset bool
	showScopes bool
	mask       *mask.Masker
	token      string // what a page must send back to be believed
	page       []byte

	record   *record
	streams  streams
	unhook   func()
	foreign  *http.CrossOriginProtection
	lastSent lastSent
}

// Option changes what a dashboard shows or allows.
type Option func(*Handler)

// WithReset lets whoever can open the page forget what a client has used, which also
// frees one that is banned. Without it the page only shows.
//
// Requests of other sites are rejected: by the headers with which browsers tell where a
// request comes from, and for want of a token that only the page itself can read. So a
// proxy on the way must leave the header Host as it is.
func WithReset() Option { return func(h *Handler) { h.allowReset = true } }

// WithFullScopes shows the scopes of clients, which may be addresses, users or API keys, as
// they are. Without it an address shows its network, and any other scope its first
// characters, each with a short mark that tells clients apart. The marks are made anew
// with each process. Whoever knows a scope can look it up in either case, and by its
// mask while it is in a list. Keys, as what WithKey makes of requests, are always shown.
func WithFullScopes() Option { return func(h *Handler) { h.showScopes = true } }

// New makes the dashboard of a limiter, which need not be initialised yet. It counts
// from now on, until Close. It panics without a limiter.
func New(limiter *ratelimiter.RateLimiter, options ...Option) *Handler {
	if limiter == nil {
		panic("dashboard: New was given no limiter; it may be one that InitApp is called on later, but not nil")
	}
	h := &Handler{
		limiter: limiter,
		mask:    mask.New(),
		token:   rand.Text(),
		foreign: http.NewCrossOriginProtection(),
	}
	for _, option := range options {
		option(h)
	}
	h.page = h.renderPage()
	h.record = newRecord(h.tick)
	h.streams.watch = h.record.watch
	h.unhook = limiter.AddObserver(h.record)
	return h
}

// Close ends the pages that are open, and stops counting. The limiter goes on, and the
// page says that the dashboard is closed. http.Server.Shutdown waits for pages that are
// open, so close the dashboard first, as with http.Server.RegisterOnShutdown. A second
// Close does nothing.
func (h *Handler) Close() {
	h.unhook()
	h.streams.close()
	h.record.close()
}

// ServeHTTP serves the page and what belongs to it.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	protect(w.Header())
	name := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	switch name {
	case "events":
		if allows(w, r, http.MethodGet) {
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

// file serves the page, or an asset of it.
func (h *Handler) file(w http.ResponseWriter, r *http.Request, name string) {
	asked := asked(r)
	switch {
	case serveAsset(w, r, name):
	case name == "" && strings.HasSuffix(asked, "/"):
		h.servePage(w, r)
	case strings.Contains(name, "."):
		http.NotFound(w, r)
	default:
		// The mount itself, without the slash that makes relative addresses right. What
		// the browser sees is longer than what a proxy or StripPrefix has left of it.
		last := asked[strings.LastIndexByte(asked, '/')+1:]
		w.Header().Set("Location", "./"+last+"/")
		w.WriteHeader(http.StatusTemporaryRedirect)
	}
}

// asked is the escaped path that was asked for, whatever handlers before have cut off it.
func asked(r *http.Request) string {
	if full, err := url.ParseRequestURI(r.RequestURI); err == nil {
		return full.EscapedPath()
	}
	return r.URL.EscapedPath() // a request that came from no server
}

func allows(w http.ResponseWriter, r *http.Request, methods ...string) bool {
	for _, method := range methods {
		if r.Method == method {
			return true
		}
	}
	w.Header().Set("Allow", strings.Join(methods, ", "))
	http.Error(w, "This address of the dashboard takes only "+strings.Join(methods, " and ")+".", http.StatusMethodNotAllowed)
	return false
}
