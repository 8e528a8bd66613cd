package ratelimiter_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
)

// nowhere is a response writer that discards everything.
type nowhere struct{ header http.Header }

func (w *nowhere) Header() http.Header         { return w.header }
func (w *nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (w *nowhere) WriteHeader(int)             {}

// BenchmarkMiddleware measures what a limit costs a route.
func BenchmarkMiddleware(b *testing.B) {
	empty := func(*gin.Context) {}
	off := ratelimiter.Config{"RATELIMITER_INJECT_X_HEADERS": false, "RATELIMITER_INJECT_RATELIMIT_HEADERS": false}
	xOnly := ratelimiter.Config{"RATELIMITER_INJECT_RATELIMIT_HEADERS": false}
	withValue := func(engine *gin.Engine) {
		engine.Use(func(c *gin.Context) { c.Set("user", "ann") })
	}
	careful := func(engine *gin.Engine) { _ = engine.SetTrustedProxies(nil) }
	for _, test := range []struct {
		name   string
		config ratelimiter.Config
		limit  int
		setup  func(*gin.Engine)
		more   []ratelimiter.Option
	}{
		{"bare", nil, 0, nil, nil},
		{"no headers", off, 1 << 40, nil, nil},
		{"X headers", xOnly, 1 << 40, nil, nil},
		{"all headers", nil, 1 << 40, nil, nil},
		{"all headers, trusting no proxy", nil, 1 << 40, careful, nil},
		{"three limits, all headers", nil, 1 << 40, nil, []ratelimiter.Option{ratelimiter.WithLimit(1<<41, time.Hour), ratelimiter.WithLimit(1<<42, 24*time.Hour)}},
		{"all headers, observed", ratelimiter.Config{"RATELIMITER_OBSERVER": idle{}}, 1 << 40, nil, nil},
		{"rejected", nil, 1, nil, nil},
		// If an application keeps values in the context, the limiter does not have to
		// create the map.
		{"bare, with a value", nil, 0, withValue, nil},
		{"no headers, with a value", off, 1 << 40, withValue, nil},
		{"all headers, with a value", nil, 1 << 40, withValue, nil},
	} {
		b.Run(test.name, func(b *testing.B) {
			engine := gin.New()
			if test.setup != nil {
				test.setup(engine)
			}
			if test.limit == 0 {
				engine.GET("/users/:id", empty)
			} else {
				limiter, err := ratelimiter.New(engine, test.config)
				if err != nil {
					b.Fatal(err)
				}
				engine.GET("/users/:id", limiter.RateLimit(test.limit, time.Minute, test.more...), empty)
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
