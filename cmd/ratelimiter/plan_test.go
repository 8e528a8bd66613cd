package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"go/parser"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/report"
	"github.com/stretchr/testify/require"
)

// inJSON runs plan --json and returns the report.
func inJSON(t *testing.T, stdin string, args ...string) (r report.Report) {
	t.Helper()
	out, _, err := run(t, stdin, append([]string{"plan", "--json"}, args...)...)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal([]byte(out), &r))
	return r
}

func TestTheTextToPasteMatchesWhatWasCounted(t *testing.T) {
	log := `{"ts":1431857103,"client_ip":"192.0.2.7","user":"ann","http_x_api_key":"k","uri":"/"}` + "\n"
	const call = `limiter.RateLimit(9, time.Minute`
	shared := `, ratelimiter.WithKey(ratelimiter.Shared("all"))`
	for _, c := range []struct {
		args         []string
		config, line string
	}{
		{nil, `"RATELIMITER_APPLICATION_LIMITS": "9/minute"`, call + shared + ")"},
		{[]string{"--by-route"}, `"RATELIMITER_DEFAULT_LIMITS": "9/minute"`, call + ")"},
		{[]string{"--by-route", "--algorithm", "token-bucket"}, `"RATELIMITER_DEFAULT_LIMITS": "9/minute", "RATELIMITER_ALGORITHM": "token-bucket"`,
			call + ", ratelimiter.WithAlgorithm(ratelimiter.TokenBucket))"},
		{[]string{"--by-route", "--ipv6-prefix", "56"}, `"RATELIMITER_DEFAULT_LIMITS": "9/minute", "RATELIMITER_IPV6_PREFIX": 56`,
			call + ", ratelimiter.WithScope(limiter.ByAddress(32, 56)))"},
		{[]string{"--ipv4-prefix", "24"}, "", call + shared + ", ratelimiter.WithScope(limiter.ByAddress(24, 64)))"},
		{[]string{"--client-field", "user"}, "", call + shared + `, ratelimiter.WithScope(ratelimiter.ByContext("user")))`},
		{[]string{"--client-field", "http_x_api_key"}, "", call + shared + `, ratelimiter.WithScope(ratelimiter.ByHeader("X-Api-Key")))`},
	} {
		r := inJSON(t, log, append(c.args, "--limit", "9/minute")...)
		require.Equal(t, c.config, r.Config)
		require.Equal(t, c.line, r.GoLine)
		_, err := parser.ParseExpr(r.GoLine)
		require.NoError(t, err)
		if r.Config != "" {
			config, err := parseJSON([]byte("{" + r.Config + "}"))
			require.NoError(t, err)
			require.NoError(t, checkConfig(config))
		}
	}
}

func TestEachRouteGetsALimitAndALineToPaste(t *testing.T) {
	log := ""
	for i := range 30 {
		log += fmt.Sprintf("192.0.2.7 - - [17/May/2015:10:05:03 +0000] \"GET /users/%d HTTP/1.1\" 200 1\n", i)
		log += "192.0.2.7 - - [17/May/2015:10:05:03 +0000] \"PURGE /cache HTTP/1.1\" 200 1\n"
	}
	log += strings.Repeat("192.0.2.8 - - [17/May/2015:10:05:04 +0000] \"POST /login HTTP/1.1\" 401 1\n", 12)
	for i := range 4 { // for the log to cover some minutes
		log += fmt.Sprintf("192.0.2.9 - - [17/May/2015:10:%02d:00 +0000] \"GET / HTTP/1.1\" 200 1\n", 6+i)
	}
	args := []string{"--route", "/users/:id", "--route", "POST /login", "--route", "PURGE /cache", "--recommend-periods", "1m", "--algorithm", "sliding-log"}
	r := inJSON(t, log, args...)
	var lines []string
	for _, route := range r.Routes {
		lines = append(lines, route.GoLine)
	}
	const algorithm = ", ratelimiter.WithAlgorithm(ratelimiter.SlidingLog)"
	require.Equal(t, []string{
		`engine.GET("/users/:id", limiter.RateLimit(30, time.Minute` + algorithm + `), handler)`,
		`engine.Handle("PURGE", "/cache", limiter.RateLimit(30, time.Minute` + algorithm + `), handler)`,
		`engine.POST("/login", limiter.RateLimit(12, time.Minute` + algorithm + `), handler)`,
	}, lines)
	out, _, err := run(t, log, append([]string{"plan"}, args...)...)
	require.NoError(t, err)
	for _, line := range lines {
		require.Contains(t, out, "  "+line+"\n")
	}
	require.Empty(t, inJSON(t, log, append(args, "--limit", "5/minute")...).Routes, "given limits are not replaced")
}

func TestAnUnwritablePageIsReportedBeforeTheLogIsRead(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	root := newRoot()
	root.SetArgs([]string{"plan", "--html", filepath.Join(t.TempDir(), "absent", "report.html")})
	root.SetIn(&endless{"", 0, func() { require.Fail(t, "the log was read") }})
	require.ErrorIs(t, root.ExecuteContext(ctx), os.ErrNotExist)
}

func TestMethodsAreCaseInsensitive(t *testing.T) {
	require.Equal(t, inJSON(t, "", "--method", "GET", excerpt).Requests, inJSON(t, "", "--method", "get", excerpt).Requests)
}

func TestATruncatedLogIsReportedAndEndsWithAnError(t *testing.T) {
	text, err := os.ReadFile(excerpt)
	require.NoError(t, err)
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, err = z.Write(bytes.Repeat(text, 100))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	broken := filepath.Join(t.TempDir(), "access.log.gz")
	require.NoError(t, os.WriteFile(broken, zipped.Bytes()[:zipped.Len()/2], 0o600))
	html := filepath.Join(t.TempDir(), "report.html")
	out, code, err := run(t, "", "plan", "--html", html, broken)
	page, errPage := os.ReadFile(html)
	require.NoError(t, errPage)
	require.Contains(t, string(page), "could not be read to the end")
	require.Contains(t, out, "could not be read to the end")
	require.Contains(t, out, "Recommended: ")
	require.ErrorContains(t, err, "could not be read to the end")
	require.Equal(t, exitUsage, code)
}

func TestAClientFieldThatNoRequestHasIsAnError(t *testing.T) {
	log := `{"ts":1431857103,"client_ip":"192.0.2.7","user":"ann","uri":"/"}` + "\n"
	_, code, err := run(t, log, "plan", "--client-field", "usr")
	require.ErrorContains(t, err, "no request has the field usr")
	require.Equal(t, exitUsage, code)
	r := inJSON(t, log+strings.Replace(log, "ann", "-", 1), "--client-field", "user", "--limit", "1/minute")
	require.Equal(t, 1, r.Unnamed)
	require.Equal(t, 2, r.Clients)
	require.Contains(t, strings.Join(r.Notes, "\n"), "Requests without user: 1.")
}

// endless is a log that stops the command after a number of reads.
type endless struct {
	line string
	left int
	stop context.CancelFunc
}

func (e *endless) Read(p []byte) (int, error) {
	if e.left--; e.left < 0 {
		e.stop()
	}
	return copy(p, strings.Repeat(e.line, max(1, len(p)/len(e.line)))), nil
}

func TestAfterCtrlCTheReportCoversWhatWasRead(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	root := newRoot()
	var out bytes.Buffer
	root.SetArgs([]string{"plan", "--json"})
	root.SetIn(io.Reader(&endless{"192.0.2.7 - - [17/May/2015:10:05:03 +0000] \"GET / HTTP/1.1\" 200 1\n", 50, stop}))
	root.SetOut(&out)
	err := root.ExecuteContext(ctx)
	var own *exitError
	require.ErrorAs(t, err, &own)
	require.Equal(t, exitInterrupted, own.code)
	var r report.Report
	require.NoError(t, json.Unmarshal(out.Bytes(), &r))
	require.True(t, r.Interrupted)
	require.Positive(t, r.Requests)
	require.Contains(t, r.Notes[0], "Interrupted")
}

func TestACapacityTargetHasNoLimitForEachPeriod(t *testing.T) {
	out, _, err := run(t, "", "plan", "--target", "50/minute", excerpt)
	require.NoError(t, err)
	require.NotContains(t, out, "limit for")
	require.Contains(t, out, "Target 50/minute: all clients together are allowed at most this many requests.")
	r := inJSON(t, "", "--target", "50/minute", excerpt)
	require.Zero(t, r.Periods[0].Fit)
	require.Equal(t, "2/minute", r.Limits)
}

func TestTheCurveAgreesWithThePeriods(t *testing.T) {
	r := inJSON(t, "", excerpt)
	for k, p := range r.Periods {
		for _, step := range r.Curve {
			if step.Limit == p.Fit {
				require.InDelta(t, 100*float64(p.Above)/float64(r.Clients), step.Clients[k], 1e-9)
				require.InDelta(t, 100*float64(p.RequestsAbove)/float64(r.Requests), step.Requests[k], 1e-9)
			}
		}
		last := r.Curve[len(r.Curve)-1]
		require.Zero(t, last.Clients[k]+last.Requests[k], "the highest limit rejects nothing")
	}
}
