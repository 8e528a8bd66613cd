package prometheus_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	rlprometheus "github.com/gin-ratelimiter/ratelimiter/metrics/prometheus"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

func Example() {
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, nil)
	if err != nil {
		panic(err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(rlprometheus.New(limiter)) // nothing else is needed
	engine.GET("/metrics", gin.WrapH(promhttp.HandlerFor(registry, promhttp.HandlerOpts{})))
	engine.GET("/search", limiter.RateLimit(2, time.Hour), func(c *gin.Context) { c.Status(http.StatusOK) })

	ask := func(path string) string {
		w := httptest.NewRecorder()
		engine.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w.Body.String()
	}
	for range 3 {
		ask("/search")
	}
	for line := range strings.Lines(ask("/metrics")) {
		if strings.HasPrefix(line, "ratelimiter_decisions_total") || strings.HasPrefix(line, "ratelimiter_memory_keys") {
			fmt.Print(line)
		}
	}
	// Output:
	// ratelimiter_decisions_total{limit="per-hour",outcome="allowed",route="GET /search"} 2
	// ratelimiter_decisions_total{limit="per-hour",outcome="rejected",route="GET /search"} 1
	// ratelimiter_memory_keys 1
}
