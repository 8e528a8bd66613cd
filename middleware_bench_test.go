package ratelimiter_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
)

// nowhere is a response writer that costs nothing.
type nowhere struct{ header http.Header }

func (w *nowhere) Header() http.Header         { return w.header }
func (w *nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (w *nowhere) WriteHeader(int)             {}

// BenchmarkMiddleware measures what a limit costs a route of Gin.
func BenchmarkMiddleware(b *testing.B) {
	empty := func(*gin.Context) {}
	off := ratelimiter.Config{"RATELIMITER_INJECT_X_HEADERS": false, "RATELIMITER_INJECT_RATELIMIT_HEADERS": false}
	xOnly := ratelimiter.Config{"RATELIMITER_INJECT_RATELIMIT_HEADERS": false}
	careful := func(engine *gin.Engine) { _ = engine.SetTrustedProxies(nil) }
	for _, test := range []struct {
		name   string
		config ratelimiter.Config
		limit  int
		setup  func(*gin.Engine)
	}{
		{"bare", nil, 0, nil},
		{"no headers", off, 1 << 40, nil},
		{"X headers", xOnly, 1 << 40, nil},
		{"all headers", nil, 1 << 40, nil},
		{"all headers, trusting no proxy", nil, 1 << 40, careful},
		{"refused", nil, 1, nil},
	} {
		b.Run(test.name, func(b *testing.B) {
			engine := gin.New()
			if test.setup != nil {
				test.setup(engine)
			}
			if test.name == "bare" {
				engine.GET("/users/:id", empty)
			} else {
				limiter, err := ratelimiter.New(engine, test.config)
				if err != nil {
					b.Fatal(err)
				}
				engine.GET("/users/:id", limiter.RateLimit(test.limit, time.Minute), empty)
			}
			request, err := http.NewRequest(http.MethodGet, "/users/7", nil)
			if err != nil {
				b.Fatal(err)
			}
			request.RemoteAddr = "192.0.2.1:1234"
			w := &nowhere{header: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				engine.ServeHTTP(w, request)
			}
		})
	}
}
