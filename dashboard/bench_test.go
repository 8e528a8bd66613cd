package dashboard

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
)

// BenchmarkObserve measures the cost of a decision in the worst case: many goroutines, all
// on one limit.
func BenchmarkObserve(b *testing.B) {
	scopes := make([]string, 1024)
	for i := range scopes {
		scopes[i] = fmt.Sprintf("198.51.100.%d", i)
	}
	for _, outcome := range []ratelimiter.Outcome{ratelimiter.Allowed, ratelimiter.Rejected} {
		for _, watched := range []bool{false, true} {
			b.Run(fmt.Sprintf("%v, watched %v", outcome, watched), func(b *testing.B) {
				r := newRecord(healthy, func() {})
				defer r.close()
				r.watched.Store(watched)
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					e := event(outcome, "")
					for i := 0; pb.Next(); i++ {
						e.Scope = scopes[i%len(scopes)]
						r.Observe(e)
					}
				})
			})
		}
	}
}

// nowhere is a response writer that discards everything.
type nowhere struct{ header http.Header }

func (w *nowhere) Header() http.Header         { return w.header }
func (w *nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (w *nowhere) WriteHeader(int)             {}

// idle is an observer that does nothing, which shows the cost of any observer.
type idle struct{}

func (idle) Observe(ratelimiter.Event) {}

// BenchmarkMiddleware measures a request that meets a limit, with and without a dashboard.
func BenchmarkMiddleware(b *testing.B) {
	dashboard := func(watched bool) func(*ratelimiter.RateLimiter) func() {
		return func(limiter *ratelimiter.RateLimiter) func() {
			h := New(limiter)
			h.record.watched.Store(watched)
			return h.Close
		}
	}
	for _, limit := range []int{1 << 40, 1} {
		for _, test := range []struct {
			name string
			with func(*ratelimiter.RateLimiter) (end func())
		}{
			{"without", func(*ratelimiter.RateLimiter) func() { return func() {} }},
			{"idle observer", func(l *ratelimiter.RateLimiter) func() { return l.AddObserver(idle{}) }},
			{"dashboard", dashboard(false)},
			{"dashboard, watched", dashboard(true)},
		} {
			name := "allowed"
			if limit == 1 {
				name = "rejected"
			}
			b.Run(name+", "+test.name, func(b *testing.B) {
				gin.SetMode(gin.TestMode)
				engine := gin.New()
				limiter, err := ratelimiter.New(engine, nil)
				if err != nil {
					b.Fatal(err)
				}
				defer test.with(limiter)()
				engine.GET("/", limiter.RateLimit(limit, time.Minute), func(*gin.Context) {})
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					request, err := http.NewRequest(http.MethodGet, "/", nil)
					if err != nil {
						b.Error(err)
						return
					}
					request.RemoteAddr = "192.0.2.1:1234"
					w := &nowhere{header: http.Header{}}
					for pb.Next() {
						clear(w.header)
						engine.ServeHTTP(w, request)
					}
				})
			})
		}
	}
}
