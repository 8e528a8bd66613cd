package headers_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/internal/headers"
	"github.com/stretchr/testify/require"
)

func TestARejectionNamesItsLimit(t *testing.T) {
	violated := []string{"per-15m", "<b>"}
	for detail, document := range map[string][]byte{
		"Limit: 3 requests per 15 minutes.":        headers.Rejection(3, "requests", 15*time.Minute, violated),
		"Limit: 1 request per second.":             headers.Rejection(1, "requests", time.Second, violated),
		"Limit: 1000 units per day.":               headers.Rejection(1000, "units", 24*time.Hour, violated),
		"No requests are allowed here at present.": headers.NothingAllowed(violated),
		"This request costs 6, the limit is 5.":    headers.CostsTooMuch(6, 5, violated),
		"This client is banned. Retry-After says when the ban ends.": headers.Banned(violated),
	} {
		var found map[string]any
		require.NoError(t, json.Unmarshal(document, &found))
		require.Equal(t, map[string]any{
			"type":              "https://iana.org/assignments/http-problem-types#quota-exceeded",
			"title":             "Rate limit was exceeded",
			"status":            429.0,
			"detail":            detail,
			"violated-policies": []any{"per-15m", "<b>"},
		}, found)
	}
}

func TestAnErrorContainsOnlyItsStatus(t *testing.T) {
	require.JSONEq(t, `{"type":"about:blank","title":"Service Unavailable","status":503}`, string(headers.Error(http.StatusServiceUnavailable)))
	require.JSONEq(t, `{"type":"about:blank","title":"Internal Server Error","status":500}`, string(headers.Error(http.StatusInternalServerError)))
}

func TestAPageShowsTheDocument(t *testing.T) {
	rejection := headers.Rejection(3, "requests", time.Minute, nil)
	page := string(headers.Page(rejection, "60"))
	for _, part := range []string{"<title>Rate limit was exceeded</title>", "<h1>Rate limit was exceeded</h1>", "<p>Limit: 3 requests per minute.</p>", "<p>Try again in 60 seconds.</p>"} {
		require.Contains(t, page, part)
	}
	require.Contains(t, string(headers.Page(rejection, "1")), "in 1 second.")
	for _, unreadable := range []string{"", "<script>", "Wed, 21 Oct 2015 07:28:00 GMT"} {
		page := string(headers.Page(rejection, unreadable))
		require.NotContains(t, page, "Try again")
		require.NotContains(t, page, "<script")
	}
	page = string(headers.Page(headers.Problem{Title: "<b>", Detail: "a & b"}.Document(), ""))
	require.Contains(t, page, "<h1>&lt;b&gt;</h1>\n<p>a &amp; b</p>\n</body>")
	require.Equal(t, 0, strings.Count(string(headers.Page(headers.Error(503), "")), "<p>"))
}
