package headers_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gin-ratelimiter/ratelimiter/internal/headers"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestPrefersHTML(t *testing.T) {
	for accept, page := range map[string]bool{
		// Browsers.
		"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7": true,
		"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8":                                                                         true,
		"text/html, application/xhtml+xml, image/jxr, */*":                                                                                        true,
		"text/html": true,
		"TEXT/HTML": true,
		"text/html; charset=utf-8, application/json;q=0.5": true,

		// Programs.
		"":                                  false,
		"*/*":                               false,
		"application/json":                  false,
		"application/json, text/plain, */*": false,
		"application/xhtml+xml":             false,

		// The weight decides, then the position.
		"application/json;q=0.5, text/html":               true,
		"application/json, text/html;q=0.9":               false,
		"text/html;q=0.5, application/json;q=0.5":         true,
		"application/json;q=0.5, text/html;q=0.5":         false,
		"application/problem+json, text/html":             false,
		"text/html;q=0.2, application/*;q=0.1":            true,
		"text/html;q=0.1, application/*;q=0.2":            false,
		"text/html, application/json;q=1.0":               true,
		"text/html;q=0":                                   false,
		"text/html;q=0, */*":                              false,
		"text/html;q=0, application/*;q=0":                false,
		"text/html;q=0.000, text/*":                       false,
		"text/html;q=0.001, application/json;q=0":         true,
		"application/json;charset=utf-8, text/html;q=0.5": false,

		// The most specific range counts, in any position.
		"*/*, text/html;q=0.5":                     false,
		"*/*;q=0.1, text/html;q=0.5":               true,
		"text/*;q=0.9, text/html;q=0.1, */*;q=0.5": false,
		"application/*, application/json;q=0.1, application/problem+json;q=0.1, text/html;q=0.5": true,
		"text/html;q=0.3, text/html;q=0.9, application/json;q=0.5":                               false,

		// Invalid ranges do not count; the others do.
		"text/html;;;q":                         false,
		"text/html;q=2":                         false,
		"text/html;q=-1":                        false,
		"text/html;q=nan":                       false,
		"text/html;q=inf, */*;q=0.1":            false,
		"html":                                  false,
		"text/html;;":                           true,
		", ,text/html,":                         true,
		"application/json;q=x, text/html;q=0.1": true,
		"text/html;q=x, text/*":                 true,

		// Quoted parameters may contain syntax.
		`a/b;x=", text/html"`:                  false,
		`a/b;x="\", text/html"`:                false,
		`text/html;x=";q=0", application/json`: true,
		`text/html;x="a, b";q=0.1, */*;q=0.2`:  false,
		`text/html;x="never closed;q=0.1, a/b`: true,
	} {
		require.Equal(t, page, headers.PrefersHTML(accept), accept)
	}
}

// The reference finds the best match by sorting instead of in one pass.
func TestThePreferenceMatchesTheStandard(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type accepted struct {
			mediaRange string
			weight     int // in tenths
		}
		list := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) accepted {
			ranges := []string{"text/html", "text/*", "*/*", "application/*", "application/json", "application/problem+json", "text/plain"}
			return accepted{rapid.SampledFrom(ranges).Draw(t, "range"), rapid.IntRange(0, 10).Draw(t, "weight")}
		}), 1, 8).Draw(t, "accept")
		var texts []string
		for _, a := range list {
			texts = append(texts, fmt.Sprintf("%s;q=%d.%d", a.mediaRange, a.weight/10, a.weight%10))
		}
		find := func(mediaType string) (weight, place int) {
			family, _, _ := strings.Cut(mediaType, "/")
			for _, mediaRange := range []string{mediaType, family + "/*", "*/*"} {
				for place, a := range list {
					if a.mediaRange == mediaRange {
						return a.weight, place
					}
				}
			}
			return 0, 0
		}
		weight, place := find("text/html")
		page := weight > 0
		for _, other := range []string{"application/json", "application/problem+json"} {
			w, p := find(other)
			page = page && (weight > w || weight == w && place < p)
		}
		accept := strings.Join(texts, ", ")
		page = page && strings.Contains(accept, "html")
		require.Equal(t, page, headers.PrefersHTML(accept), accept)
	})
}

func FuzzPrefersHTML(f *testing.F) {
	for _, seed := range []string{"text/html", "*/*;q=0.5, text/html;x=\"a, b\";q=1", `;;="\`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, accept string) {
		if headers.PrefersHTML(accept) {
			require.Contains(t, strings.ToLower(accept), "html")
			require.True(t, headers.PrefersHTML("text/html, "+accept), "no less than before")
			require.False(t, headers.PrefersHTML("application/json, "+accept), "an earlier place")
		}
	})
}
