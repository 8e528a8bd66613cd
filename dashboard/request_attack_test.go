package dashboard_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gin-ratelimiter/ratelimiter/dashboard"
	"github.com/stretchr/testify/require"
)

func TestNoAnswerMayBeFramedSniffedOrReadByAnotherSite(t *testing.T) {
	engine, _, _ := limited(t)
	for _, path := range []string{"/limits/", "/limits/page.js", "/limits/lookup", "/limits/reset", "/limits/absent.txt", "/limits/a/b"} {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodOptions, http.MethodPut} {
			header := serve(engine, method, path, "", "Origin", "https://evil.example").Header()
			require.Contains(t, header.Get("Content-Security-Policy"), "frame-ancestors 'none'", path)
			require.Equal(t, "nosniff", header.Get("X-Content-Type-Options"), path)
			require.Equal(t, "same-origin", header.Get("Cross-Origin-Resource-Policy"), path)
			require.Empty(t, header.Get("Access-Control-Allow-Origin"), path)
		}
	}
}

func TestARedirectOfTheDashboardLeadsToItself(t *testing.T) {
	_, _, page := limited(t)
	for _, path := range []string{"/limits", "//evil", "/limits//evil", `/\evil`, "/javascript:alert", "/%2F%2Fevil", "/%0d%0aX:y", "/..", "/limits?/evil"} {
		request := httptest.NewRequest(http.MethodGet, "/", nil)
		request.RequestURI = path
		request.URL.Path = path
		recorder := httptest.NewRecorder()
		page.ServeHTTP(recorder, request)
		if at := recorder.Header().Get("Location"); at != "" {
			require.True(t, strings.HasPrefix(at, "./"), "%s: %q", path, at)
			require.NotContains(t, at, "\n")
		}
	}
}

// counted counts how much of a body is read.
type counted struct {
	io.Reader
	read int
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.read += n
	return n, err
}

func TestABodyThatIsABombIsNotRead(t *testing.T) {
	engine, _, _ := limited(t, dashboard.WithReset())
	token := tokenOf(t, engine)
	for name, text := range map[string]string{
		"nested":    strings.Repeat(`{"scope":`, 1<<20),
		"brackets":  strings.Repeat("[", 1<<20),
		"white":     strings.Repeat(" ", 1<<20),
		"a string":  `{"scope":"` + strings.Repeat("x", 1<<20),
		"a number":  `{"scope":` + strings.Repeat("1", 1<<20),
		"many keys": "{" + strings.Repeat(`"scope":"a",`, 1<<17),
	} {
		for _, address := range []string{"lookup", "reset"} {
			body := &counted{Reader: strings.NewReader(text)}
			request := httptest.NewRequest(http.MethodPost, "/limits/"+address+"?"+strings.Repeat("q", 1<<20), body)
			request.Header.Set("Content-Type", "application/json")
			request.Header.Set("X-Dashboard-Token", token)
			recorder := httptest.NewRecorder()
			engine.ServeHTTP(recorder, request)
			require.Equal(t, http.StatusBadRequest, recorder.Code, name)
			require.Less(t, body.read, 8<<10, name)
			require.Less(t, recorder.Body.Len(), 8<<10, name)
		}
	}
}

// The body of a request that is not believed is not read at all.
func TestABodyOfAForeignPageIsNotRead(t *testing.T) {
	engine, _, _ := limited(t, dashboard.WithReset())
	body := &counted{Reader: strings.NewReader(`{"scope":"192.0.2.77"}`)}
	request := httptest.NewRequest(http.MethodPost, "/limits/reset", body)
	request.Header.Set("Content-Type", "application/json")
	recorder := httptest.NewRecorder()
	engine.ServeHTTP(recorder, request)
	require.Equal(t, http.StatusForbidden, recorder.Code)
	require.Zero(t, body.read)
}

func TestNoScopeBreaksOutOfAnAnswer(t *testing.T) {
	engine, _, _ := limited(t, dashboard.WithFullScopes())
	for _, scope := range []string{`</script><script>alert(1)</script>`, `<img src=x onerror=alert(1)>`, "a\\n\\ndata: x", `a\u2028b`} {
		recorder := post(t, engine, "lookup", `{"scope":"`+scope+`"}`)
		require.Equal(t, http.StatusOK, recorder.Code)
		require.NotContains(t, recorder.Body.String(), "<")
		require.Equal(t, 1, strings.Count(recorder.Body.String(), "\n"), "its own end")
		require.Equal(t, "application/json", recorder.Header().Get("Content-Type"))
	}
}

// A foreign page could take all streams in the browser of an operator who is logged in.
func TestAForeignPageGetsNoStream(t *testing.T) {
	engine, _, page := limited(t)
	for name, headers := range map[string][]string{
		"by what the browser says": {"Sec-Fetch-Site", "cross-site"},
		"from another subdomain":   {"Sec-Fetch-Site", "same-site"},
		"by its origin":            {"Origin", "https://evil.example"},
	} {
		require.Equal(t, http.StatusForbidden, get(engine, "/limits/events", headers...).Code, name)
	}
	page.Close() // so that the stream of the page itself ends
	require.NotEqual(t, http.StatusForbidden, get(engine, "/limits/events", "Sec-Fetch-Site", "same-origin").Code)
}
