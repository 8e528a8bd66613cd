package logging_test

import (
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/logging"
)

// Rejections are logged once when they begin and once when they end.
func Example() {
	// A logger without times, because they differ in every run.
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Value.Kind() == slog.KindTime || a.Key == "retry_after" {
			return slog.Attr{}
		}
		return a
	}}))
	rejections := logging.New(logger, logging.WithSecret("the same in every process"))

	engine := gin.New()
	limiter, err := ratelimiter.New(engine, ratelimiter.Config{"RATELIMITER_OBSERVER": rejections})
	if err != nil {
		log.Fatal(err)
	}
	engine.GET("/search", limiter.RateLimit(2, time.Hour), func(c *gin.Context) { c.Status(http.StatusOK) })
	for range 100 {
		engine.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/search", nil))
	}

	_ = limiter.Close()
	_ = rejections.Close() // the same happens after a minute without a rejection
	// Output:
	// level=INFO msg="rate limit: client rejected" route="GET /search" name=per-hour key="GET /search" scope=192.0.2.x#fc2893 limit=2 per=1h0m0s
	// level=INFO msg="rate limit: client no longer rejected" route="GET /search" name=per-hour key="GET /search" scope=192.0.2.x#fc2893 rejected=98 banned=false
}
