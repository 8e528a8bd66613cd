package bench

import (
	"net/http"
	"net/http/httptest"
	"runtime"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter/bench/results"
)

// ginGroups measure a request to a route with a limit that allows it, and to the
// same route without a limit.
func ginGroups() []results.Group {
	// A server has a heap. Without one the collector would begin anew every few
	// thousand requests, and its beginnings would be what is measured.
	heap := make([]byte, 64<<20)
	defer runtime.KeepAlive(heap)
	groups := []results.Group{
		{Name: "with headers"},
		{Name: "without headers"},
		{Name: "three limits, with one = 1", Reference: oursSlidingWindow.name},
	}
	for i, members := range [][]contender{withHeaders(), withoutHeaders(), {oursSlidingWindow, oursThreeLimits}} {
		progress("gin, " + groups[i].Name)
		entrants := []entrant{requests(results.BareRoute, gin.New())}
		for _, c := range members {
			engine := gin.New()
			middleware, stop := c.gin(engine, ample)
			defer stop()
			entrants = append(entrants, requests(c.name, engine, middleware))
		}
		groups[i].Part = "The middleware in Gin, time over the bare route"
		groups[i].Contenders = pace{turns: *turns, turn: time.Millisecond, patience: 20}.race(entrants)
	}
	return groups
}

// withHeaders are those that tell the client about the limit.
func withHeaders() (list []contender) {
	for _, c := range contenders() {
		if c.gin != nil && !c.silent {
			list = append(list, c)
		}
	}
	return list
}

func withoutHeaders() (list []contender) {
	for _, c := range contenders() {
		if c.gin != nil && c.silent {
			list = append(list, c)
		}
	}
	return list
}

// nowhere is a response writer that costs nothing.
type nowhere struct{ header http.Header }

func (w *nowhere) Header() http.Header         { return w.header }
func (w *nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (w *nowhere) WriteHeader(int)             {}

func requests(name string, engine *gin.Engine, middleware ...gin.HandlerFunc) entrant {
	handler, request := limitedRoute(engine, middleware...)
	w := &nowhere{header: http.Header{}}
	return entrant{name: name, run: func(n int) {
		for range n {
			clear(w.header)
			handler.ServeHTTP(w, request)
		}
	}}
}

// limitedRoute makes a route, once for each engine, and a request to it.
func limitedRoute(engine *gin.Engine, middleware ...gin.HandlerFunc) (http.Handler, *http.Request) {
	if len(engine.Routes()) == 0 {
		engine.GET("/users/:id", append(middleware, func(*gin.Context) {})...)
	}
	request := httptest.NewRequest(http.MethodGet, "/users/7", nil)
	request.RemoteAddr = "192.0.2.1:1234"
	return engine, request
}
