package logging_test

import (
	"io"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/logging"
)

// nowhere is a response writer that does nothing.
type nowhere struct{ header http.Header }

func (w *nowhere) Header() http.Header         { return w.header }
func (w *nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (w *nowhere) WriteHeader(int)             {}

// idle is an observer that does nothing.
type idle struct{}

func (idle) Observe(ratelimiter.Event) {}

// BenchmarkMiddleware measures what the log adds to a request, compared with an observer
// that does nothing and with none.
func BenchmarkMiddleware(b *testing.B) {
	gin.SetMode(gin.ReleaseMode)
	for _, test := range []struct {
		name  string
		limit int
	}{{"allowed", 1 << 40}, {"rejected", 0}} {
		for _, observer := range []struct {
			name string
			is   []ratelimiter.Observer
		}{
			{"not observed", nil},
			{"idle", []ratelimiter.Observer{idle{}}},
			{"logged", []ratelimiter.Observer{logging.New(slog.New(slog.NewTextHandler(io.Discard, nil)))}},
		} {
			b.Run(test.name+"/"+observer.name, func(b *testing.B) {
				engine := gin.New()
				limiter, err := ratelimiter.New(engine, ratelimiter.Config{"RATELIMITER_OBSERVER": observer.is})
				if err != nil {
					b.Fatal(err)
				}
				engine.GET("/users/:id", limiter.RateLimit(test.limit, time.Minute), func(*gin.Context) {})
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
}
