package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// logged is a line of an nginx log, some seconds after noon.
func logged(client string, seconds int, request string, status int, agent string) string {
	return fmt.Sprintf("%s - - [%s] \"%s HTTP/1.1\" %d 5 \"-\" \"%s\"\n", client,
		noon.Add(time.Duration(seconds)*time.Second).Format("02/Jan/2006:15:04:05 -0700"), request, status, agent)
}

func get(client string, seconds int) string {
	return logged(client, seconds, "GET /", 200, "Mozilla/5.0")
}

func TestAPeriodIsRecommendedOnlyIfTheLogCoversSeveralOfThem(t *testing.T) {
	log := ""
	for i := range 4 * 60 { // four minutes, ten a minute
		if i%6 == 0 {
			log += get("192.0.2.7", i)
		}
	}
	r := inJSON(t, log, "--algorithm", "sliding-log")
	require.Equal(t, "10/minute", r.Limits)
	require.Len(t, r.LeftOut, 1)
	require.Equal(t, "hour", r.LeftOut[0].Per)
	out, code, err := run(t, log, "plan")
	require.NoError(t, err)
	require.Zero(t, code)
	require.Contains(t, strings.Join(strings.Fields(out), " "), "No limit per hour: the log covers 3.9 minutes, and needs to cover 3 hours.")
	out, code, err = run(t, log, "plan", "--recommend-periods", "1h")
	require.Equal(t, exitUsage, code)
	require.ErrorContains(t, err, "no limit is recommended: the log is too short. For a limit per hour, the log covers 3.9 minutes, and needs to cover 3 hours")
	require.Contains(t, out, "Most requests of a client", "the measurements are still reported")
	require.NotContains(t, out, "Paste into")
}

func TestRequestsInTwoPeriodsAreTooFew(t *testing.T) {
	log := get("192.0.2.7", 0) + get("192.0.2.7", 1) + get("192.0.2.7", 5*3600)
	_, code, err := run(t, log, "plan", "--recommend-periods", "1h")
	require.Equal(t, exitUsage, code)
	require.ErrorContains(t, err, "the log has requests in 2 such periods, and needs them in 3")
}

func TestALogWithTooManyUnusableLinesFails(t *testing.T) {
	good := ""
	for i := range 400 {
		good += get("192.0.2.7", i)
	}
	older := strings.ReplaceAll(good, "31/Jan/2026", "30/Jan/2026")
	for name, c := range map[string]struct{ log, says string }{
		"unreadable":      {good + strings.Repeat("oops\n", 5), "5 unreadable"},
		"in wrong order":  {good + older, "400 out of order, 0 dated ahead. Pass the logs in chronological order, or use --sort"},
		"columns change":  {"#Fields: date time c-ip cs-uri-stem sc-status\n2026-01-31 12:00:00 192.0.2.7 / 200\n" + strings.Repeat("2026-01-31 12:00:01 192.0.2.7 / 200\n", 200) + "#Fields: date time cs-uri-stem c-ip sc-status\n2026-01-31 12:00:00 / 192.0.2.7 200\n", "the columns of the log change"},
		"a broken format": {strings.Replace(good, "200 5", "ok 5", 9), "9 unreadable"},
	} {
		_, code, err := run(t, c.log, "plan", "--limit", "1000/minute", "--max-rejected", "100%")
		require.Equal(t, exitUsage, code, name)
		require.ErrorContains(t, err, c.says, name)
	}
	_, code, err := run(t, good+older, "plan", "--limit", "1000/minute", "--sort")
	require.NoError(t, err)
	require.Zero(t, code)
	_, code, err = run(t, good+"oops\noops\n", "plan", "--limit", "1000/minute")
	require.NoError(t, err, "a few unreadable lines are acceptable")
	require.Zero(t, code)
	_, code, err = run(t, good+"oops\n", "plan", "--limit", "1000/minute", "--max-skipped", "0")
	require.ErrorContains(t, err, "1 unreadable")
	require.Equal(t, exitUsage, code)
	_, code, err = run(t, good+strings.Repeat("oops\n", 5), "plan", "--limit", "1/minute", "--max-rejected", "1%")
	require.ErrorContains(t, err, "--max-rejected 1%")
	require.ErrorContains(t, err, "5 unreadable")
	require.Equal(t, exitOver, code)
}

func TestALogWithItsNewestLineFirstGivesTheSameReport(t *testing.T) {
	var lines []string
	for i := range 1000 {
		lines = append(lines, get("192.0.2.7", i))
	}
	forward := inJSON(t, strings.Join(lines, ""), "--limit", "50/minute")
	for i := range len(lines) / 2 {
		lines[i], lines[len(lines)-1-i] = lines[len(lines)-1-i], lines[i]
	}
	backward := inJSON(t, strings.Join(lines, ""), "--limit", "50/minute")
	require.True(t, backward.Sorted)
	require.Equal(t, forward.Periods, backward.Periods)
	require.Equal(t, forward.Replays, backward.Replays)
}

func TestDoubtfulFiguresHaveAWarning(t *testing.T) {
	people := ""
	for i := range 50 {
		people += get(fmt.Sprintf("192.0.2.%d", i), i)
	}
	for name, c := range map[string]struct{ log, says string }{
		"a proxy":       {strings.Repeat(get("10.0.0.1", 60), 60), "10.0.0.1 sent 54.5 % of the requests and is a private address"},
		"limited":       {logged("192.0.2.7", 60, "GET /", 429, "Mozilla/5.0"), "1.96 % of the requests (1) got status 429"},
		"health checks": {strings.Repeat(logged("192.0.2.7", 60, "GET /healthz", 200, "Go-http-client/1.1"), 50), "About 50 % of the requests are health checks, such as /healthz"},
		"probes":        {strings.Repeat(logged("192.0.2.7", 60, "GET /status", 200, "kube-probe/1.30"), 50), "About 50 % of the requests are health checks, such as /status"},
		"crawlers":      {strings.Repeat(logged("192.0.2.7", 60, "GET /", 200, "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"), 50), "About 50 % of the requests are from crawlers"},
	} {
		warnings := inJSON(t, people+c.log, "--limit", "1/second").Warnings
		require.Len(t, warnings, 1, name)
		require.Contains(t, warnings[0], c.says, name)
	}
	require.Empty(t, inJSON(t, people+strings.Repeat(get("192.0.2.7", 60), 60), "--limit", "1/second").Warnings)
	out, _, err := run(t, people+strings.Repeat(get("10.0.0.1", 60), 60), "plan", "--limit", "1/second", "--by-route")
	require.NoError(t, err)
	require.Contains(t, out, "! 10.0.0.1 sent")
}

func TestALimitThatTheLogIsTooShortForHasAWarning(t *testing.T) {
	log := ""
	for i := range 240 {
		log += get("192.0.2.7", i)
	}
	require.Equal(t, []string{"The log is too short to judge 5/hour: it covers 3.98 minutes, and needs to cover 3 hours."},
		inJSON(t, log, "--limit", "100/minute; 5/hour").Warnings)
}

func TestAServerThatIsNeverBusyNeedsNoLimit(t *testing.T) {
	log := ""
	for i := range 400 {
		log += strings.Repeat(get("192.0.2.7", i), 1+8*(i/399))
	}
	out, code, err := run(t, log, "plan", "--target", "200/second")
	require.NoError(t, err)
	require.Zero(t, code)
	require.Contains(t, strings.Join(strings.Fields(out), " "),
		"No limit is recommended: none is needed. All clients together never sent more than 9 requests in any second, and the target is 200/second.")
	require.NotContains(t, out, "Paste into")
}

func TestSeveralLimitsAreCompared(t *testing.T) {
	log := ""
	for i := range 100 {
		log += get("192.0.2.7", i) + strings.Repeat(get("192.0.2.8", i), i/90)
	}
	r := inJSON(t, log, "--limit", "50/minute", "--limit", "70/minute", "--limit", "5/minute")
	require.Equal(t, "50/minute", r.Limits)
	require.Len(t, r.Candidates, 3)
	require.Equal(t, "70/minute", r.Candidates[1].Limits)
	require.Equal(t, []int{1, 0, 2}, []int{r.Candidates[0].Clients, r.Candidates[1].Clients, r.Candidates[2].Clients})
	out, code, err := run(t, log, "plan", "--limit", "70/minute", "--limit", "5/minute", "--max-rejected", "0%")
	require.Equal(t, exitOver, code, "--max-rejected applies to all limits")
	require.ErrorContains(t, err, "5/minute rejects 2 of 2 clients (100 %)")
	require.Contains(t, out, "The rest of the report is for 70/minute.")
}

func TestTheBusiestClientsAreListedRejectedOrNot(t *testing.T) {
	log := ""
	for i := range 100 {
		log += get("192.0.2.7", i)
		if i < 30 {
			log += get("192.0.2.8", i)
		}
	}
	r := inJSON(t, log, "--limit", "50/minute", "--periods", "1s,1m")
	require.Equal(t, "192.0.2.7", r.Heaviest[0].Name)
	require.Equal(t, []int64{1, 60}, r.Heaviest[0].Most[:2])
	require.Positive(t, r.Heaviest[0].Rejected)
	require.Equal(t, "192.0.2.8", r.Heaviest[1].Name)
	require.EqualValues(t, 30, r.Heaviest[1].Requests)
	require.Zero(t, r.Heaviest[1].Rejected)
	out, _, err := run(t, log, "plan", "--limit", "50/minute")
	require.NoError(t, err)
	require.Contains(t, out, "192.0.2.7 *                   100")
	require.Contains(t, out, "192.0.2.8                      30")
}

func TestTheLastHoursAreCountedFromTheLastRequest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	log := get("192.0.2.7", 0) + get("192.0.2.7", 86400) + get("192.0.2.7", 86401) + get("192.0.2.7", 2*86400)
	require.NoError(t, os.WriteFile(path, []byte(log), 0o600))
	r := inJSON(t, "", "--last", "24h", "--limit", "1/minute", path)
	require.Equal(t, 3, r.Requests)
	require.Equal(t, 1, r.Filtered)
}

func TestRequestsAreFilteredByHost(t *testing.T) {
	log := ""
	for _, host := range []string{"www.example.com:443", "www.example.com", "api.example.com:443"} {
		log += host + " " + get("192.0.2.7", 0)
	}
	require.Equal(t, 2, inJSON(t, log, "--host", "WWW.example.com", "--limit", "1/minute").Requests)
	log = logged("192.0.2.7", 0, "GET http://www.example.com:8080/x?y", 200, "-") + logged("192.0.2.7", 0, "GET http://api.example.com", 200, "-")
	r := inJSON(t, log, "--host", "www.example.com", "--limit", "1/minute", "--route", "/x")
	require.Equal(t, "GET /x", r.Heaviest[0].Route, "the scheme and the host are not part of the route")
}

func TestTheClientBehindProxiesComesFromTheForwardedList(t *testing.T) {
	log := ""
	for i := range 10 {
		log += strings.TrimSpace(get("10.0.0.1", i)) + fmt.Sprintf(" \"198.51.100.%d, 203.0.113.%d\"\n", i, i%2)
	}
	require.Equal(t, 1, inJSON(t, log, "--limit", "1/minute").Clients)
	require.Equal(t, 2, inJSON(t, log, "--limit", "1/minute", "--client-from-forwarded", "1").Clients)
	require.Equal(t, 2, inJSON(t, log, "--limit", "1/minute", "--trusted-proxy", "10.0.0.0/8").Clients)
	require.Equal(t, 10, inJSON(t, log, "--limit", "1/minute", "--trusted-proxy", "10.0.0.0/8,203.0.113.0/24").Clients)
}
