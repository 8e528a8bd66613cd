// Package pages_test runs the code on the pages in docs: limit_logins_test.go contains the
// code of limit-logins.md verbatim.
package pages_test

import (
	"bytes"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

func init() { gin.SetMode(gin.TestMode) }

// application is an engine with a limiter, the starting point of each page. Without a timeout
// in the configuration, a busy machine is not an outage of Redis.
func application(t *testing.T, config ratelimiter.Config) (*gin.Engine, *ratelimiter.RateLimiter) {
	t.Helper()
	engine := gin.New()
	if config["RATELIMITER_BACKEND"] == "redis" && config["RATELIMITER_TIMEOUT"] == nil {
		config = maps.Clone(config)
		config["RATELIMITER_TIMEOUT"] = time.Minute
	}
	limiter, err := ratelimiter.New(engine, config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, limiter.Close()) })
	return engine, limiter
}

func ok(c *gin.Context) { c.String(http.StatusOK, "ok\n") }

// ask sends a request without a network.
func ask(handler http.Handler, method, path string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	request := httptest.NewRequest(method, path, nil)
	for _, f := range change {
		f(request)
	}
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	return recorder
}

// statuses sends the same request a number of times.
func statuses(handler http.Handler, times int, method, path string, change ...func(*http.Request)) []int {
	list := make([]int, times)
	for i := range list {
		list[i] = ask(handler, method, path, change...).Code
	}
	return list
}

func with(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func from(peer string) func(*http.Request) {
	return func(r *http.Request) { r.RemoteAddr = peer }
}

// form is a submitted form: names and values in turn.
func form(pairs ...string) func(*http.Request) {
	return func(r *http.Request) {
		r.PostForm = url.Values{}
		for i := 0; i < len(pairs); i += 2 {
			r.PostForm.Set(pairs[i], pairs[i+1])
		}
		r.Form = r.PostForm
	}
}

// header returns all values of a header.
func header(response *httptest.ResponseRecorder, name string) string {
	return strings.Join(response.Header().Values(name), ", ")
}

// session is a block of commands on a page, followed by a block with their output.
var session = regexp.MustCompile("(?s)```sh\n([^`]*)```\n\n```(?:text|http)\n([^`]*)```")

// passing matches parts of the output that differ between runs.
var passing = regexp.MustCompile(`(?m)^Date: .*\n|;t=\d+|(?:(?:X-)?Ratelimit-Reset|Retry-After): \d+`)

// typed runs the commands of a page in a shell, in order, and compares their output with the
// page. The server replaces the one on port 8080.
func typed(t *testing.T, page string, handler http.Handler) {
	t.Helper()
	for _, program := range []string{"sh", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(program + " is not installed")
		}
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	text, err := os.ReadFile("../../docs/" + page)
	require.NoError(t, err)
	sessions := session.FindAllSubmatch(text, -1)
	require.NotEmpty(t, sessions, page)
	for _, s := range sessions {
		commands := strings.ReplaceAll(string(s[1]), "http://127.0.0.1:8080", server.URL)
		shell := exec.CommandContext(t.Context(), "sh", "-c", commands)
		shell.Env = append(os.Environ(), "no_proxy=*")
		printed, err := shell.Output()
		require.NoError(t, err, commands)
		printed = append(bytes.TrimRight(bytes.ReplaceAll(printed, []byte("\r"), nil), "\n"), '\n')
		require.Equal(t, passing.ReplaceAllString(string(s[2]), ""), passing.ReplaceAllString(string(printed), ""), commands)
	}
}

// tableRows returns the cells of the table rows on a page that start with code.
func tableRows(t *testing.T, page string) (rows [][]string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/" + page)
	require.NoError(t, err)
	for _, match := range regexp.MustCompile("(?m)^\\| (`.*) ?\\|$").FindAllStringSubmatch(string(text), -1) {
		cells := strings.Split(match[1], "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows = append(rows, cells)
	}
	return rows
}

// pass lets time pass in a synctest bubble.
func pass(d time.Duration) { <-time.After(d) }
