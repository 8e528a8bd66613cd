package ratelimiter_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

// sentHeaders returns the rate limit headers of a response, as lines.
func sentHeaders(response *httptest.ResponseRecorder) (lines []string) {
	for _, name := range []string{
		"X-Ratelimit-Limit", "X-Ratelimit-Remaining", "X-Ratelimit-Reset", "Ratelimit-Policy", "Ratelimit",
		"Ratelimit-Limit", "Ratelimit-Remaining", "Ratelimit-Reset", "Retry-After",
	} {
		for _, value := range response.Header()[name] {
			lines = append(lines, name+": "+value)
		}
	}
	return lines
}

var (
	xHeaders       = []string{"X-Ratelimit-Limit: 2", "X-Ratelimit-Remaining: 1", "X-Ratelimit-Reset: 946684830"}
	draft11Headers = []string{`Ratelimit-Policy: "per-minute";q=2;w=60, "per-hour";q=9;w=3600`, `Ratelimit: "per-minute";r=1;t=30, "per-hour";r=8;t=400`}
	draft7Headers  = []string{"Ratelimit-Policy: 2;w=60, 9;w=3600", "Ratelimit: limit=2, remaining=1, reset=30"}
	draft6Headers  = []string{"Ratelimit-Policy: 2;w=60, 9;w=3600", "Ratelimit-Limit: 2", "Ratelimit-Remaining: 1", "Ratelimit-Reset: 30"}
)

func TestConfigHeadersSelectsTheHeaders(t *testing.T) {
	on := []ratelimiter.Option{ratelimiter.WithHeaders(true)}
	for name, test := range map[string]struct {
		headers any
		options []ratelimiter.Option
		want    [][]string
	}{
		"by default":             {nil, nil, [][]string{xHeaders, draft11Headers}},
		"the defaults":           {"x, draft-11", nil, [][]string{xHeaders, draft11Headers}},
		"none":                   {"none", nil, nil},
		"an empty list":          {[]string{}, nil, nil},
		"x":                      {"X", nil, [][]string{xHeaders}},
		"draft-11":               {[]string{"draft-11"}, nil, [][]string{draft11Headers}},
		"draft-7":                {[]any{"draft-7"}, nil, [][]string{draft7Headers}},
		"draft-6":                {"draft-6", nil, [][]string{draft6Headers}},
		"draft-7 and x":          {"draft-7,x", nil, [][]string{xHeaders, draft7Headers}},
		"draft-6 and draft-7":    {"draft-7,draft-6", nil, [][]string{draft7Headers, draft6Headers[1:]}},
		"draft-6 and draft-11":   {"draft-6 , draft-11", nil, [][]string{draft11Headers, draft6Headers[1:]}},
		"on, of those named":     {"draft-6", on, [][]string{draft6Headers}},
		"on, where none is":      {"none", on, [][]string{xHeaders, draft11Headers}},
		"off, whatever is named": {"draft-6,x", []ratelimiter.Option{ratelimiter.WithHeaders(false)}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var want []string
				for _, lines := range test.want {
					want = append(want, lines...)
				}
				// One RateLimit with two limits and two RateLimits with one limit send
				// the same headers.
				engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_HEADERS": test.headers, "RATELIMITER_ALGORITHM": "token-bucket"})
				engine.GET("/one", limiter.RateLimit(2, time.Minute, append(test.options, ratelimiter.WithLimit(9, time.Hour))...), ok)
				engine.GET("/two", limiter.RateLimit(2, time.Minute, test.options...), limiter.RateLimit(9, time.Hour, test.options...), ok)
				require.Equal(t, want, sentHeaders(get(engine, "/one")))
				require.Equal(t, want, sentHeaders(get(engine, "/two")))
			})
		})
	}
}

func TestHeadersOfEarlierDraftsOnEveryBackend(t *testing.T) {
	onEveryBackend(t, func(t *testing.T, config ratelimiter.Config) {
		engine, limiter := application(t, with(config, "RATELIMITER_HEADERS", "draft-6,draft-7", "RATELIMITER_APPLICATION_LIMITS", "99/day"))
		engine.GET("/", limiter.RateLimit(1, time.Hour), ok)
		get(engine, "/")
		response := get(engine, "/")
		require.Equal(t, 429, response.Code)
		lines := strings.Join(sentHeaders(response), "\n")
		require.Regexp(t, `^Ratelimit-Policy: 99;w=86400, 1;w=3600\nRatelimit: limit=1, remaining=0, reset=\d+\nRatelimit-Limit: 1\nRatelimit-Remaining: 0\nRatelimit-Reset: \d+\nRetry-After: \d+$`, lines)
	})
}

func TestEarlierDraftsShowTheStrictestLimitAndNoShadow(t *testing.T) {
	engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_HEADERS": "draft-7"})
	bucket := ratelimiter.WithAlgorithm(ratelimiter.TokenBucket)
	engine.GET("/first", limiter.RateLimit(3, time.Hour, bucket), limiter.RateLimit(9, time.Minute, ratelimiter.WithHeaders(false)), limiter.RateLimit(8, time.Minute), ok)
	engine.GET("/shadow", limiter.RateLimit(3, time.Hour, ratelimiter.WithShadow()), ok)
	engine.GET("/beside", limiter.RateLimit(3, time.Hour, bucket, ratelimiter.WithLimit(1, time.Hour, ratelimiter.WithShadow())), ok)
	engine.GET("/burst", limiter.RateLimit(3, time.Hour, ratelimiter.WithBurst(2)), ok)
	require.Equal(t, []string{"Ratelimit-Policy: 3;w=3600, 8;w=60", "Ratelimit: limit=3, remaining=2, reset=1200"}, sentHeaders(get(engine, "/first")))
	require.Empty(t, sentHeaders(get(engine, "/shadow")))
	require.Equal(t, []string{"Ratelimit-Policy: 3;w=3600", "Ratelimit: limit=3, remaining=2, reset=1200"}, sentHeaders(get(engine, "/beside")))
	require.Equal(t, []string{"Ratelimit-Policy: 3;w=3600", "Ratelimit: limit=2, remaining=1, reset=1200"}, sentHeaders(get(engine, "/burst")))
}

func TestEarlierDraftsShowWhatIsLeftAfterARefund(t *testing.T) {
	engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_HEADERS": "draft-7, draft-6"})
	engine.GET("/", limiter.RateLimit(3, time.Hour, ratelimiter.WithCountIf(func(*gin.Context) bool { return false })), func(*gin.Context) {})
	require.Equal(t, []string{
		"Ratelimit-Policy: 3;w=3600", "Ratelimit: limit=3, remaining=3, reset=0",
		"Ratelimit-Limit: 3", "Ratelimit-Remaining: 3", "Ratelimit-Reset: 0",
	}, sentHeaders(get(engine, "/")))
}

func TestContradictoryHeaderKeysAreAnError(t *testing.T) {
	const key = "RATELIMITER_HEADERS"
	for says, config := range map[string]ratelimiter.Config{
		key + " contains draft-11 and draft-7":                             {key: "x,draft-11,draft-7"},
		key + ` is "draft-8"`:                                              {key: "draft-8"},
		key + ` is "x,none"`:                                               {key: "x,none"},
		`"none", or one or more of "x", "draft-11"`:                        {key: []string{"x", ""}},
		key + " is true":                                                   {key: true},
		"INJECT_X_HEADERS is false, but " + key + " contains x; remove":    {key: "x", "RATELIMITER_INJECT_X_HEADERS": false},
		"INJECT_X_HEADERS is true, but " + key + " does not contain x":     {key: "draft-6", "RATELIMITER_INJECT_X_HEADERS": true},
		"INJECT_RATELIMIT_HEADERS is true, but " + key + " does not":       {key: "x", "RATELIMITER_INJECT_RATELIMIT_HEADERS": true},
		"INJECT_RATELIMIT_HEADERS is false, but " + key + " contains a dr": {key: "draft-7", "RATELIMITER_INJECT_RATELIMIT_HEADERS": false},
	} {
		_, err := ratelimiter.New(gin.New(), config)
		require.ErrorContains(t, err, says)
	}
	_, limiter := application(t, ratelimiter.Config{
		key: "draft-6,x", "RATELIMITER_INJECT_X_HEADERS": true, "RATELIMITER_INJECT_RATELIMIT_HEADERS": true,
	})
	require.Equal(t, "x, draft-6", limiter.Config()[key])
	_, limiter = application(t, ratelimiter.Config{"RATELIMITER_INJECT_X_HEADERS": false, "RATELIMITER_INJECT_RATELIMIT_HEADERS": false})
	require.Equal(t, "none", limiter.Config()[key])
}

// Only applications that enable the headers of earlier drafts pay for them.
func TestTheDefaultHeadersTakeThreeAllocations(t *testing.T) {
	require.Equal(t, allocations(t, ratelimiter.Config{}), allocations(t, ratelimiter.Config{"RATELIMITER_HEADERS": "draft-11, x"}))
	require.Equal(t, 3.0, allocations(t, ratelimiter.Config{"RATELIMITER_HEADERS": "x"}))
}
