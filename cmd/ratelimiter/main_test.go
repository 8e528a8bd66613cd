package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/accesslog"
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/report"
	"github.com/stretchr/testify/require"
)

const excerpt = "testdata/access.log" // the first 200 lines of a public site's log

// run runs the command as a user does.
func run(t *testing.T, stdin string, args ...string) (out string, code int, err error) {
	var b bytes.Buffer
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(strings.NewReader(stdin))
	root.SetOut(&b)
	root.SetErr(&b)
	err = root.ExecuteContext(t.Context())
	code = 0
	if err != nil {
		code = exitUsage
		var own *exitError
		if errors.As(err, &own) {
			code = own.code
		}
	}
	return b.String(), code, err
}

func TestThePlanIsATableOf80Columns(t *testing.T) {
	out, code, err := run(t, "", "plan", excerpt)
	require.NoError(t, err)
	require.Zero(t, code)
	require.Contains(t, out, "200 requests of")
	require.Contains(t, out, "Recommended: ")
	before, _, _ := strings.Cut(out, "Paste into")
	for text := range strings.SplitSeq(before, "\n") {
		require.LessOrEqual(t, utf8.RuneCountInString(text), 80, text)
	}
}

func TestThePlanIsAlsoJSON(t *testing.T) {
	out, _, err := run(t, "", "plan", "--json", "--limit", "5/minute; 10 per 2 hours", "--algorithm", "sliding-log", excerpt)
	require.NoError(t, err)
	var r report.Report
	require.NoError(t, json.Unmarshal([]byte(out), &r))
	require.Equal(t, 200, r.Requests)
	require.Equal(t, "5/minute; 10 per 2 hours", r.Limits)
	require.NotEmpty(t, r.Above)
	above := 0
	for _, c := range r.Above {
		above += int(c.Rejected)
	}
	require.EqualValues(t, r.Replays[2].Requests, above)
}

func TestTheExitCodesAreForScripts(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"plan", "--limit", "1000/minute", "--max-rejected", "1%", excerpt}, 0, ""},
		{[]string{"plan", "--limit", "1/minute", "--max-rejected", "1%", excerpt}, exitOver, "--max-rejected 1%"},
		{[]string{"plan", "--limit", "1/minute", "--max-rejected", "100%-requests", excerpt}, 0, ""},
		{[]string{"plan", "--limit", "1/minute", "--max-rejected", "1%", excerpt}, exitOver, "at most 0 of 51 clients may ever be rejected; 1/minute rejects 26 of 51 clients (51 %)"},
		{[]string{"plan", "--max-rejected", "1%", excerpt}, exitUsage, "add --limit"},
		{[]string{"plan", "--limit", "", excerpt}, exitUsage, `--limit ""`},
		{[]string{"plan", "--limit", " ", excerpt}, exitUsage, `--limit " "`},
		{[]string{"plan", "--limit", "many", excerpt}, exitUsage, "--limit"},
		{[]string{"plan", "--max-skipped", "many", excerpt}, exitUsage, "--max-skipped"},
		{[]string{"plan", "--client-from-forwarded", "1", "--trusted-proxy", "10.0.0.0/8", excerpt}, exitUsage, "use either"},
		{[]string{"plan", "--trusted-proxy", "ten", excerpt}, exitUsage, "--trusted-proxy"},
		{[]string{"plan", "--last", "1h"}, exitUsage, "name a file"},
		{[]string{"plan", "--last", "1h", "--since", "2026-01-31", excerpt}, exitUsage, "--since"},
		{[]string{"plan", "--host", "www.example.com", excerpt}, exitUsage, "no request in the log has a host"},
		{[]string{"plan", "--target", "1%-people", excerpt}, exitUsage, "it must be clients or requests"},
		{[]string{"plan", "--target", "1/second", "--recommend-periods", "1m", excerpt}, exitUsage, "limit all clients together"},
		{[]string{"plan", "--status", "500-200", excerpt}, exitUsage, "is not a status"},
		{[]string{"plan", "--status", "4x", excerpt}, exitUsage, "is not a status"},
		{[]string{"plan", "--client-field", "http_x_user", excerpt}, exitUsage, "has no $http_x_user"},
		{[]string{"plan", "--reorder", "25h", excerpt}, exitUsage, "must be from 0 to 24h"},
		{[]string{"plan", "--colour", excerpt}, exitUsage, "unknown flag"},
		{[]string{"check", "absent.json"}, exitUsage, "absent.json"},
		{[]string{"plan", "--field", "colour=red", excerpt}, exitUsage, `"colour" is not a role of a field`},
		{[]string{"plan", "--method", "NONE", excerpt}, exitUsage, "there is no request to plan for"},
		{[]string{"plan", "absent.log"}, exitUsage, "absent.log"},
		{[]string{"simulate", "--traffic", "calm"}, exitUsage, `"calm" is not a kind of traffic`},
	} {
		_, code, err := run(t, "", c.args...)
		require.Equal(t, c.code, code, "%v: %v", c.args, err)
		if c.says != "" {
			require.ErrorContains(t, err, c.says)
		}
	}
}

func TestThePageIsSelfContainedAndRunsNoTextFromTheLog(t *testing.T) {
	page := filepath.Join(t.TempDir(), "report.html")
	evil := `</script><script>alert(1)</script>`
	log := strings.Repeat(`{"ts":1431857103,"user":"`+evil+`\u001b[31m","uri":"/"}`+"\n", 9)
	out, _, err := run(t, log, "plan", "--client-field", "user", "--limit", "1/minute", "--html", page)
	require.NoError(t, err)
	require.NotContains(t, out, "\x1b", "text from a log must not control a terminal")
	html, err := os.ReadFile(page)
	require.NoError(t, err)
	require.NotContains(t, string(html), evil)
	require.NotRegexp(t, `(src|href)="?https?:`, string(html))
	require.Contains(t, string(html), "uPlot")
	require.Contains(t, string(html), "9 requests of 1 client,")
}

func TestThePageStartsWithTheLimitsToPaste(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report.html")
	_, _, err := run(t, "", "plan", "--by-route", "--html", path, excerpt)
	require.NoError(t, err)
	html, err := os.ReadFile(path)
	require.NoError(t, err)
	_, body, _ := strings.Cut(string(html), "<h1>")
	paste, rest, found := strings.Cut(body, "<section><h2>Copy and paste</h2>")
	require.True(t, found)
	require.NotContains(t, paste, "<section")
	require.Equal(t, 3, strings.Count(rest, `<button type="button">Copy</button>`), "configuration, Go, and the routes")
	_, _, err = run(t, "", "plan", "--limit", "5/minute", "--html", path, excerpt)
	require.NoError(t, err)
	html, err = os.ReadFile(path)
	require.NoError(t, err)
	require.NotContains(t, string(html), "Copy and paste", "given limits are configured already")
	require.Contains(t, string(html), "Replay of these limits")
}

func TestRoutesAreCountedSeparatelyOnRequest(t *testing.T) {
	routes := filepath.Join(t.TempDir(), "routes")
	require.NoError(t, os.WriteFile(routes, []byte("GET /users/:id\nGET /\n"), 0o600))
	log := ""
	for _, path := range []string{"/users/1", "/users/2", "/", "/x"} {
		log += `192.0.2.7 - - [17/May/2015:10:05:03 +0000] "GET ` + path + ` HTTP/1.1" 200 1` + "\n"
	}
	out, _, err := run(t, log, "plan", "--routes", routes, "--limit", "1/minute", "--json")
	require.NoError(t, err)
	var r report.Report
	require.NoError(t, json.Unmarshal([]byte(out), &r))
	require.Equal(t, 3, r.Clients, "a client on three routes")
	require.Len(t, r.Above, 1)
	require.Equal(t, "GET /users/:id", r.Above[0].Route)
	require.Equal(t, `"RATELIMITER_DEFAULT_LIMITS": "1/minute"`, r.Config)
}

func TestTheSimulationDrawsEachAlgorithm(t *testing.T) {
	for _, traffic := range []string{"steady", "edge", "attack"} {
		out, _, err := run(t, "", "simulate", "--limit", "50/minute", "--traffic", traffic)
		require.NoError(t, err)
		require.Contains(t, out, "at most 50 from one client in any rolling minute, limit 50", traffic)
	}
	for _, limit := range []string{"100 per 1ms", "100 per 11ms", "1 per 366 days"} {
		for _, traffic := range []string{"steady", "edge", "crowd", "attack"} {
			_, _, err := run(t, "", "simulate", "--limit", limit, "--traffic", traffic)
			require.NoError(t, err)
		}
	}
	out, _, err := run(t, "", "simulate", "--traffic", "crowd")
	require.NoError(t, err)
	require.Contains(t, out, "20000 allowed", "clients that stay below the limit are not rejected")
	out, _, err = run(t, "", "simulate", "--limit", "100/minute; 5/second", "--traffic", "attack")
	require.NoError(t, err)
	require.Contains(t, out, "at most 100 from one client in any rolling minute, limit 100")
	require.Contains(t, out, "at most 5 from one client in any rolling second, limit 5")
	for _, limit := range []string{"", "0/minute", "10001/minute", "many"} {
		_, code, err := run(t, "", "simulate", "--limit", limit)
		require.Error(t, err, limit)
		require.Equal(t, exitUsage, code)
	}
	out, _, err = run(t, "", "simulate")
	require.NoError(t, err)
	require.Contains(t, out, "at most 200 from one client", "a fixed window allows twice the limit at its edge")
}

func TestTheVersionIsThatOfTheBuild(t *testing.T) {
	out, _, err := run(t, "", "--version")
	require.NoError(t, err)
	require.Regexp(t, `^ratelimiter version \S*, go1\.`, out)
}

func TestTheShellGetsCompletions(t *testing.T) {
	for line, want := range map[string]string{
		"plan --algorithm ":   "sliding-window\nfixed-window\nsliding-log\ntoken-bucket\n:4",
		"plan --format ":      strings.Join(accesslog.Names(), "\n") + "\n:4",
		"simulate --traffic ": "steady\nedge\ncrowd\nattack\n:4",
		"plan --html ":        ":0",
		"plan ":               ":0", // files
		"simulate ":           ":4", // nothing
		"check ":              "json\nyaml\nyml\nenv\n:8",
		"plan --since ":       ":4",
	} {
		out, _, err := run(t, "", append([]string{"__complete"}, strings.Split(line, " ")...)...)
		require.NoError(t, err)
		require.Equal(t, want, strings.TrimSpace(strings.Split(out, "Completion ended")[0]), line)
	}
	plan := newPlan()
	for name := range suggestions {
		require.True(t, plan.Flags().Lookup(name) != nil || newSimulate().Flags().Lookup(name) != nil, name)
	}
}
