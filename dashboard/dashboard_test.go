package dashboard_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/dashboard"
	"github.com/stretchr/testify/require"
)

// limited is an engine with a limit of two per hour and a dashboard at /limits/.
func limited(t *testing.T, options ...dashboard.Option) (*gin.Engine, *ratelimiter.RateLimiter, *dashboard.Handler) {
	gin.SetMode(gin.TestMode)
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, limiter.Close()) })
	engine.GET("/search", limiter.RateLimit(2, time.Hour), func(*gin.Context) {})
	page := dashboard.New(limiter, options...)
	t.Cleanup(page.Close)
	engine.Any("/limits/*any", gin.WrapH(page))
	return engine, limiter, page
}

func get(handler http.Handler, path string, headers ...string) *httptest.ResponseRecorder {
	return serve(handler, http.MethodGet, path, "", headers...)
}

func serve(handler http.Handler, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	request := httptest.NewRequest(method, path, strings.NewReader(body))
	request.RemoteAddr = "192.0.2.77:1234"
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response := httptest.NewRecorder()
	handler.ServeHTTP(response, request)
	return response
}

func TestThePageWorksWhereverItIsMounted(t *testing.T) {
	engine, limiter, page := limited(t)
	stripped := http.NewServeMux()
	stripped.Handle("/deep/down/", http.StripPrefix("/deep/down", page))
	whole := http.NewServeMux()
	whole.Handle("/deep/down/", page)
	bare := http.NewServeMux()
	bare.Handle("/deep/down", page)
	bare.Handle("/deep/down/", page)
	strippedBare := http.NewServeMux()
	strippedBare.Handle("/deep/down", http.StripPrefix("/deep/down", page))
	strippedBare.Handle("/deep/down/", http.StripPrefix("/deep/down/", page))
	inGroup := gin.New()
	inGroup.Group("/deep").Any("/down/*any", gin.WrapH(dashboard.New(limiter)))
	for name, mount := range map[string]struct {
		handler http.Handler
		prefix  string
	}{
		"gin": {engine, "/limits"}, "a group of gin": {inGroup, "/deep/down"},
		"StripPrefix": {stripped, "/deep/down"}, "ServeMux": {whole, "/deep/down"},
		"without a slash": {bare, "/deep/down"}, "StripPrefix without a slash": {strippedBare, "/deep/down"},
		"nothing before it": {page, ""},
	} {
		t.Run(name, func(t *testing.T) {
			response := get(mount.handler, mount.prefix+"/")
			require.Equal(t, http.StatusOK, response.Code)
			require.Contains(t, response.Body.String(), "<title>Rate limits</title>")
			for _, file := range []string{"page.css", "rows.css", "page.js", "live.js", "dom.js", "charts.js", "rows.js", "tables.js", "lookup.js", "icon.svg", "uPlot.iife.min.js", "uPlot.min.css"} {
				require.Equal(t, http.StatusOK, get(mount.handler, mount.prefix+"/"+file).Code, file)
			}
			require.Equal(t, http.StatusNotFound, get(mount.handler, mount.prefix+"/page.html").Code)
		})
	}
}

func TestTheMountWithoutItsSlashRedirectsToThePage(t *testing.T) {
	_, _, page := limited(t)
	for name, handler := range map[string]http.Handler{
		"whole path": page, "StripPrefix": http.StripPrefix("/admin/limits", page),
	} {
		t.Run(name, func(t *testing.T) {
			response := get(handler, "/admin/limits")
			require.Equal(t, http.StatusTemporaryRedirect, response.Code)
			require.Equal(t, "./limits/", response.Header().Get("Location"))
		})
	}
	// A path that looks like an address does not lead to another site.
	require.Equal(t, "./javascript:alert/", get(page, "/admin/javascript:alert").Header().Get("Location"))
	require.Equal(t, "./x/", get(page, "//evil.example//x").Header().Get("Location"))
}

func TestEveryResponseIsProtected(t *testing.T) {
	engine, _, _ := limited(t)
	for _, path := range []string{"/limits/", "/limits/page.js", "/limits/nothing.txt", "/limits/lookup"} {
		header := get(engine, path).Header()
		require.Contains(t, header.Get("Content-Security-Policy"), "default-src 'none'", path)
		require.Contains(t, header.Get("Content-Security-Policy"), "frame-ancestors 'none'", path)
		require.NotContains(t, header.Get("Content-Security-Policy"), "unsafe", path)
		require.Equal(t, "nosniff", header.Get("X-Content-Type-Options"), path)
		require.Equal(t, "same-origin", header.Get("Referrer-Policy"), path)
	}
	page := get(engine, "/limits/")
	require.Equal(t, "no-store", page.Header().Get("Cache-Control"), "it contains a token")
	body := page.Body.String()
	require.Contains(t, body, "<noscript>")
	require.NotRegexp(t, `(?i)<script[^>]*>[^<]`, body, "the page has no inline script")
	require.NotRegexp(t, `(?i)\s(style|on\w+)=`, body)
	require.NotRegexp(t, `(?:src|href)="(?:/|http)`, body, "addresses are relative")
}

func TestAssetsAreRevalidated(t *testing.T) {
	engine, _, _ := limited(t)
	first := get(engine, "/limits/page.js")
	require.Equal(t, "private, no-cache", first.Header().Get("Cache-Control"))
	require.Contains(t, first.Header().Get("Content-Type"), "javascript")
	tag := first.Header().Get("ETag")
	require.NotEmpty(t, tag)
	require.Equal(t, http.StatusNotModified, get(engine, "/limits/page.js", "If-None-Match", tag).Code)
	require.NotEqual(t, tag, get(engine, "/limits/live.js").Header().Get("ETag"))
	require.Empty(t, serve(engine, http.MethodHead, "/limits/page.js", "").Body.String())
}

func TestOtherMethodsAreRejected(t *testing.T) {
	engine, _, _ := limited(t, dashboard.WithReset())
	for _, test := range []struct{ method, path, allow string }{
		{http.MethodPost, "/limits/", "GET, HEAD"},
		{http.MethodDelete, "/limits/page.js", "GET, HEAD"},
		{http.MethodPost, "/limits/events", "GET"},
		{http.MethodGet, "/limits/lookup", "POST"},
		{http.MethodGet, "/limits/reset", "POST"},
	} {
		response := serve(engine, test.method, test.path, "")
		require.Equal(t, http.StatusMethodNotAllowed, response.Code, test)
		require.Equal(t, test.allow, response.Header().Get("Allow"), test)
	}
}

func TestNewNeedsALimiter(t *testing.T) {
	require.PanicsWithValue(t, "dashboard: New was called with a nil *RateLimiter; pass a limiter, which may be initialised later", func() { dashboard.New(nil) })
}

func TestCloseStopsCounting(t *testing.T) {
	_, limiter, page := limited(t)
	require.Equal(t, 1, limiter.Config()["RATELIMITER_OBSERVER"])
	page.Close()
	page.Close()
	require.Equal(t, 0, limiter.Config()["RATELIMITER_OBSERVER"])
	response := get(page, "/events")
	require.Equal(t, http.StatusServiceUnavailable, response.Code)
	require.Contains(t, response.Body.String(), "has closed this dashboard")
}
