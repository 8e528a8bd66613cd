package ratelimiter_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

// A client that has used up its limit asks for the same handler in other words.

// spellings are ways to ask for /files/report.
func spellings() (list []*http.Request) {
	paths := []string{
		"/files/report", "/files/report/", "//files/report", "/files//report", "/FILES/report", "/Files/Report", "/files/./report",
		"/files/x/../report", "/files/%72eport", "/files%2Freport", "/files/%2e/report", "/files/x/%2e%2e/report", "/%66iles/report",
		"/files/report%2F", "/files/report;v=1", "/files/report?x", "/files/report#x", "/files/report%00", "/files/report%20", "/files/report.",
		"/files/report%3f", `/files\report`, "/files/report/..", "/./files/report", "/../files/report", "/files/%252e/report", "/files/REPORT",
	}
	methods := []string{"GET", "get", "Get", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "TRACE", "CONNECT", "PROPFIND", "GET\t", "X", ""}
	for _, path := range paths {
		for _, method := range methods {
			request := httptest.NewRequest(http.MethodGet, "/", nil)
			at, err := url.ParseRequestURI(path)
			if err != nil {
				at = &url.URL{Path: path}
			}
			request.Method, request.URL, request.RequestURI = method, at, path
			request.Header.Set("X-Http-Method-Override", "GET")
			list = append(list, request)
		}
	}
	return list
}

func TestNoSpellingReachesAHandlerUncounted(t *testing.T) {
	for name, choose := range map[string]func(e *gin.Engine){
		"as Gin begins":       func(*gin.Engine) {},
		"fixed paths":         func(e *gin.Engine) { e.RedirectFixedPath = true },
		"no trailing slashes": func(e *gin.Engine) { e.RedirectTrailingSlash = false },
		"raw paths":           func(e *gin.Engine) { e.UseRawPath = true },
		"raw values":          func(e *gin.Engine) { e.UseRawPath, e.UnescapePathValues = true, false },
		"escaped paths":       func(e *gin.Engine) { e.UseEscapedPath = true },
		"extra slashes":       func(e *gin.Engine) { e.RemoveExtraSlash = true },
		"405":                 func(e *gin.Engine) { e.HandleMethodNotAllowed = true },
		"everything": func(e *gin.Engine) {
			e.RedirectFixedPath, e.UseRawPath, e.RemoveExtraSlash, e.HandleMethodNotAllowed = true, true, true, true
		},
	} {
		engine, limiter := application(t, nil)
		choose(engine)
		handled := map[string]int{}
		handler := func(c *gin.Context) {
			info, limited := ratelimiter.FromContext(c)
			require.True(t, limited, "%s: %s %s", name, c.Request.Method, c.Request.URL)
			handled[info.Key]++
			c.Status(http.StatusOK)
		}
		engine.Use(limiter.RateLimit(2, time.Hour))
		engine.GET("/files/:name", handler)
		engine.HEAD("/files/:name", handler)
		engine.GET("/tree/*path", handler)
		engine.NoRoute(handler)
		engine.NoMethod(handler)
		for _, request := range spellings() {
			recorder := httptest.NewRecorder()
			engine.ServeHTTP(recorder, request)
			if at := recorder.Header().Get("Location"); at != "" {
				require.True(t, strings.HasPrefix(at, "/") && !strings.HasPrefix(at, "//"), "%s: a redirect to %q leads away", name, at)
				get(engine, "/files/report")
			}
		}
		for key, n := range handled {
			require.LessOrEqual(t, n, 2*2, "%s: %s", name, key) // 404 and 405 are two counters of one name
		}
		require.Equal(t, 2, handled["GET /files/:name"], name)
		require.LessOrEqual(t, len(handled), 3, name)
	}
}

func TestARouteOfItsOwnKeyIsOneCounterForEveryMethod(t *testing.T) {
	engine, limiter := application(t, nil)
	handled := 0
	engine.Any("/login", limiter.RateLimit(2, time.Hour, ratelimiter.WithKey(ratelimiter.ByPath)), func(*gin.Context) { handled++ })
	for _, method := range []string{"GET", "POST", "PUT", "PATCH", "HEAD", "OPTIONS", "DELETE", "CONNECT", "TRACE", "PROPFIND", "post"} {
		engine.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(method, "/login", nil))
	}
	require.Equal(t, 2, handled)
}
