package otel_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	rlotel "github.com/gin-ratelimiter/ratelimiter/metrics/otel"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

func Example() {
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, nil)
	if err != nil {
		panic(err)
	}
	reader := sdk.NewManualReader() // an application uses a reader that exports
	metrics, err := rlotel.New(limiter, sdk.NewMeterProvider(sdk.WithReader(reader)))
	if err != nil {
		panic(err)
	}
	defer func() { _ = metrics.Close() }()
	engine.GET("/search", limiter.RateLimit(2, time.Hour), func(c *gin.Context) { c.Status(http.StatusOK) })
	for range 3 {
		engine.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/search", nil))
	}

	var collected metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &collected); err != nil {
		panic(err)
	}
	for _, metric := range collected.ScopeMetrics[0].Metrics {
		if decisions, ok := metric.Data.(metricdata.Sum[int64]); ok {
			for _, point := range decisions.DataPoints {
				outcome, _ := point.Attributes.Value("outcome")
				route, _ := point.Attributes.Value("route")
				fmt.Println(metric.Name, route.AsString(), outcome.AsString(), point.Value)
			}
		}
	}
	// Unordered output:
	// ratelimiter.decisions GET /search allowed 2
	// ratelimiter.decisions GET /search rejected 1
}
