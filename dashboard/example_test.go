package dashboard_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/dashboard"
)

// The dashboard is served at /admin/limits/ and requires a login.
func Example() {
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, nil)
	if err != nil {
		log.Fatal(err)
	}
	engine.GET("/search", limiter.RateLimit(10, time.Minute), func(c *gin.Context) { c.String(http.StatusOK, "found") })

	page := dashboard.New(limiter, dashboard.WithReset())
	admin := engine.Group("/admin", gin.BasicAuth(gin.Accounts{"ann": "a secret"}))
	admin.Any("/limits/*any", gin.WrapH(page))

	server := &http.Server{Addr: "127.0.0.1:8080", Handler: engine, ReadHeaderTimeout: 5 * time.Second}
	server.RegisterOnShutdown(page.Close) // otherwise Shutdown waits for open pages
	// server.ListenAndServe() ...

	for _, password := range []string{"a guess", "a secret"} {
		request := httptest.NewRequest(http.MethodGet, "/admin/limits/", nil)
		request.SetBasicAuth("ann", password)
		response := httptest.NewRecorder()
		server.Handler.ServeHTTP(response, request)
		fmt.Println(response.Code)
	}
	// Output:
	// 401
	// 200
}
