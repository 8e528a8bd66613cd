package browsertest

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/dashboard"
	"github.com/stretchr/testify/require"
)

const loginCookie, loggedIn = "session", "of-an-operator"

// app is an application with limits and a dashboard behind a login.
type app struct {
	engine  *gin.Engine
	limiter *ratelimiter.RateLimiter
	page    *dashboard.Handler
	address string // of the dashboard
}

func start(t *testing.T, config ratelimiter.Config, options ...dashboard.Option) *app {
	gin.SetMode(gin.TestMode)
	engine := gin.New()
	require.NoError(t, engine.SetTrustedProxies(nil))
	limiter, err := ratelimiter.New(engine, config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, limiter.Close()) })

	ok := func(c *gin.Context) { c.Status(http.StatusOK) }
	engine.GET("/search", limiter.RateLimit(200, time.Hour,
		ratelimiter.WithLimit(50, time.Hour, ratelimiter.WithShadow())), ok)
	engine.POST("/login", limiter.RateLimit(5, time.Hour), ok)
	engine.GET("/files/:name", limiter.RateLimit(1000, time.Hour,
		ratelimiter.WithScope(ratelimiter.ByHeader("X-API-Key")),
		ratelimiter.WithLimit(3700, time.Second, ratelimiter.WithName("all"), ratelimiter.WithScope(ratelimiter.ByEveryone))), ok)
	uploads := limiter.RateLimit(30, time.Hour, ratelimiter.WithKey(ratelimiter.Shared("uploads")))
	engine.POST("/photos", uploads, ok)
	engine.POST("/videos", uploads, ok)

	page := dashboard.New(limiter, options...)
	admin := engine.Group("/admin", limiter.Exempt(), func(c *gin.Context) {
		if session, _ := c.Cookie(loginCookie); session != loggedIn {
			c.AbortWithStatus(http.StatusUnauthorized)
		}
	})
	admin.Any("/limits/*any", gin.WrapH(page))
	server := httptest.NewUnstartedServer(engine)
	server.Config.WriteTimeout = 2 * time.Second // a stream outlives it
	server.Config.ReadTimeout = 2 * time.Second
	server.Start()
	t.Cleanup(server.Close)
	t.Cleanup(page.Close) // before the server, which waits for open pages
	return &app{engine, limiter, page, server.URL + "/admin/limits/"}
}

// send sends a request of a client.
func (a *app) send(method, path, client, apiKey string) int {
	request := httptest.NewRequest(method, path, nil)
	request.RemoteAddr = net.JoinHostPort(client, "40000")
	request.Header.Set("X-API-Key", apiKey)
	answer := httptest.NewRecorder()
	a.engine.ServeHTTP(answer, request)
	return answer.Code
}

// load sends requests until the test ends: one client that is far over its limit, a hundred
// that are not, and some that guess passwords.
func (a *app) load(t *testing.T) {
	done := make(chan struct{})
	ticker := time.NewTicker(5 * time.Millisecond)
	go func() {
		defer close(done)
		for i := 0; t.Context().Err() == nil; i++ {
			<-ticker.C
			a.send("GET", "/search", fmt.Sprintf("198.51.100.%d", i%100+1), "")
			if i%2 == 0 {
				a.send("GET", "/search", attacker, "")
			}
			if i%10 == 0 {
				a.send("POST", "/login", fmt.Sprintf("192.0.2.%d", i/10%7+1), "")
				a.send("POST", "/login", "2001:db8:5:6::7", "")
				a.send("POST", []string{"/photos", "/videos"}[i/10%2], fmt.Sprintf("198.51.100.%d", i%100+1), "")
			}
			a.send("GET", "/files/report", "198.51.100.9", fmt.Sprintf("customer-%d", i%3))
		}
	}()
	t.Cleanup(func() { <-done; ticker.Stop() })
}

func quoted(text string) string {
	data, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return string(data)
}
