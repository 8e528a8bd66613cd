package bench

import (
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"

	"github.com/gin-gonic/gin"
)

// nowhere is a response writer that costs nothing.
type nowhere struct{ header http.Header }

func (w *nowhere) Header() http.Header         { return w.header }
func (w *nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (w *nowhere) WriteHeader(int)             {}

// BenchmarkGin measures a request to a route with a limit that allows it, and to
// the same route without a limit.
func BenchmarkGin(b *testing.B) {
	// A server has a heap. Without one the collector would begin anew every few
	// thousand requests, and its beginnings would be what is measured.
	heap := make([]byte, 64<<20)
	defer runtime.KeepAlive(heap)
	b.Run(label("bare route"), func(b *testing.B) { serve(b, gin.New()) })
	for _, c := range contenders() {
		if c.gin == nil {
			continue
		}
		engine := gin.New()
		middleware, stop := c.gin(engine, ample)
		b.Run(label(c.name), func(b *testing.B) { serve(b, engine, middleware) })
		stop()
	}
}

func serve(b *testing.B, engine *gin.Engine, middleware ...gin.HandlerFunc) {
	handler, request := limitedRoute(engine, middleware...)
	w := &nowhere{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		handler.ServeHTTP(w, request)
	}
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
