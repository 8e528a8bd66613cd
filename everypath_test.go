package ratelimiter_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

// paths are the rows of the table in docs/every-path.md, in the same order.
var paths = []struct {
	name, method, path string
}{
	{"`GET` of a limited route", "GET", "/route"},
	{"`HEAD` of a limited route", "HEAD", "/route"},
	{"`OPTIONS` of a limited route", "OPTIONS", "/route"},
	{"`OPTIONS` of any other, with `engine.Use`", "OPTIONS", "/only-get"},
	{"a route in a limited group, with a limit of its own", "GET", "/group/route"},
	{"404, with `engine.Use`", "GET", "/nowhere"},
	{"404 to `HEAD`, with `engine.Use`", "HEAD", "/nowhere"},
	{"405, with `engine.Use`", "DELETE", "/only-get"},
	{"a static file", "GET", "/static/file"},
	{"`HEAD` of a static file", "HEAD", "/static/file"},
	{"a stream", "GET", "/stream"},
	{"a panic, `gin.Recovery` before the limit", "GET", "/panic"},
	{"a panic, `gin.Recovery` behind the limit", "GET", "/late-panic"},
	{"`WithHeaders(false)`", "GET", "/quiet"},
	{"`WithOverLimit(handler)`", "GET", "/own"},
	{"`WithOverLimit(nil)`", "GET", "/never"},
	{"`WithShadow()`", "GET", "/shadow"},
	{"`WithSkip`, and it says so", "GET", "/skipped"},
	{"`Unlimited`", "GET", "/unlimited"},
	{"a redirect of Gin, `/route/` to `/route`", "GET", "/route/"},
	{"a redirect of Gin, `/ROUTE` to `/route`", "GET", "/ROUTE"},
	{"an upgrade (`101`)", "GET", "/upgrade"},
}

// everyPath is an application with all these paths, each with its own limit.
func everyPath(t *testing.T, config ratelimiter.Config, limit int) *gin.Engine {
	engine, limiter := application(t, config)
	engine.RedirectFixedPath, engine.HandleMethodNotAllowed = true, true
	limited := func(options ...ratelimiter.Option) gin.HandlerFunc {
		return limiter.RateLimit(limit, time.Hour, options...)
	}
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodOptions} {
		engine.Handle(method, "/route", limited(), ok)
	}
	engine.Group("/group", limiter.RateLimit(9, time.Minute)).GET("/route", limited(), ok)
	engine.GET("/quiet", limited(ratelimiter.WithHeaders(false)), ok)
	engine.GET("/own", limited(ratelimiter.WithOverLimit(func(c *gin.Context) { c.String(http.StatusTooManyRequests, "slower") })), ok)
	engine.GET("/never", limited(ratelimiter.WithOverLimit(nil)), ok)
	engine.GET("/shadow", limited(ratelimiter.WithShadow()), ok)
	engine.GET("/skipped", limited(ratelimiter.WithSkip(func(*gin.Context) bool { return true })), ok)
	engine.GET("/unlimited", limiter.RateLimit(ratelimiter.Unlimited, time.Hour), ok)
	recovery, panics := gin.RecoveryWithWriter(io.Discard), func(*gin.Context) { panic("a mistake") }
	engine.GET("/panic", recovery, limited(), panics)
	engine.GET("/late-panic", limited(), recovery, panics)
	engine.GET("/stream", limited(), func(c *gin.Context) {
		for range 3 {
			c.SSEvent("message", "ok")
			c.Writer.Flush()
		}
	})
	engine.GET("/upgrade", limited(), func(c *gin.Context) {
		connection, _, err := c.Writer.Hijack()
		if err == nil {
			_, _ = io.WriteString(connection, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n")
			_ = connection.Close()
		}
	})
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(folder+"/file", []byte("ok"), 0o600))
	engine.Group("/static", limited()).Static("/", folder)
	engine.Use(limited()) // applies to the routes below and to unmatched requests
	engine.GET("/only-get", ok)
	return engine
}

// wire is a response as it arrived over a connection.
type wire struct {
	method string // of the request
	status int
	header http.Header
	body   []byte
}

// fetch sends a request over a real connection and follows no redirect.
func fetch(t *testing.T, url, method, path string) wire {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url+path, nil)
	require.NoError(t, err)
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(request)
	require.NoError(t, err)
	answer := wire{method: method, status: response.StatusCode, header: response.Header}
	if answer.status != http.StatusSwitchingProtocols {
		answer.body, err = io.ReadAll(response.Body)
		require.NoError(t, err)
	}
	require.NoError(t, response.Body.Close())
	return answer
}

// limitHeaders are the five rate limit headers, as a Go client sees them.
var limitHeaders = []string{"Ratelimit", "Ratelimit-Policy", "X-Ratelimit-Limit", "X-Ratelimit-Remaining", "X-Ratelimit-Reset"}

// inWords describes the status, our headers and whether there is a problem document, in
// the words of the table.
func (w wire) inWords(t *testing.T) string {
	t.Helper()
	words := []string{strconv.Itoa(w.status)}
	ours := slices.DeleteFunc(slices.Sorted(maps.Keys(w.header)), func(name string) bool {
		return !strings.Contains(name, "Ratelimit")
	})
	switch {
	case slices.Equal(ours, limitHeaders):
		words = append(words, "limits")
	case len(ours) > 0:
		words = append(words, ours...) // an incomplete set, which is in no row
	}
	for name, values := range w.header {
		require.Len(t, values, 1, name)
	}
	if wait := w.header.Get("Retry-After"); wait != "" {
		seconds, err := strconv.Atoi(wait)
		require.NoError(t, err)
		require.Positive(t, seconds)
		words = append(words, "wait")
	}
	if w.header.Get("Content-Type") == "application/problem+json" {
		words = append(words, "problem")
		w.isProblem(t)
	} else {
		require.Empty(t, w.header.Get("Vary"))
	}
	if w.method == http.MethodHead {
		require.Empty(t, w.body)
	}
	return strings.Join(words, " ")
}

// isProblem checks for a complete problem document, or for its length after HEAD.
func (w wire) isProblem(t *testing.T) {
	t.Helper()
	require.Equal(t, "Accept", w.header.Get("Vary"))
	length, err := strconv.Atoi(w.header.Get("Content-Length"))
	require.NoError(t, err)
	if w.method == http.MethodHead {
		require.Greater(t, length, 50)
		return
	}
	require.Len(t, w.body, length)
	var document struct{ Status int }
	require.NoError(t, json.Unmarshal(w.body, &document))
	require.Equal(t, w.status, document.Status)
}

func TestEveryHeaderIsRightOnEveryPath(t *testing.T) {
	fails := broken{errors.New("it is gone")}
	var urls []string // of the columns
	for _, setting := range []struct {
		config ratelimiter.Config
		limit  int
	}{
		{nil, 5},
		{nil, 1}, // over the limit
		{ratelimiter.Config{"RATELIMITER_BACKEND": fails, "RATELIMITER_ON_ERROR": "allow"}, 0},
		{ratelimiter.Config{"RATELIMITER_BACKEND": fails, "RATELIMITER_ON_ERROR": "deny"}, 5},
		{ratelimiter.Config{"RATELIMITER_BACKEND": fails, "RATELIMITER_ON_ERROR": "fallback"}, 5},
	} {
		server := httptest.NewServer(everyPath(t, setting.config, setting.limit))
		t.Cleanup(server.Close)
		urls = append(urls, server.URL)
	}
	var table bytes.Buffer
	for _, row := range paths {
		table.WriteString("| " + row.name)
		for column, url := range urls {
			if column == 1 {
				fetch(t, url, row.method, row.path)
			}
			table.WriteString(" | " + fetch(t, url, row.method, row.path).inWords(t))
		}
		table.WriteString(" |\n")
	}
	page, err := os.ReadFile("docs/every-path.md")
	require.NoError(t, err)
	shown := regexp.MustCompile(`(?s)\n\| request \|[^\n]*\n\|---[^\n]*\n(.*?)\n\n`).FindSubmatch(page)
	require.NotNil(t, shown, "the table on the page")
	require.Equal(t, string(shown[1])+"\n", table.String())
}
