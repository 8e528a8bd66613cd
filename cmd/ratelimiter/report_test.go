package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/report"
	"github.com/stretchr/testify/require"
)

var noon = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

// request is a line of a log, some seconds after noon.
func request(client string, seconds int) string {
	return fmt.Sprintf("%s,%s.example\n", noon.Add(time.Duration(seconds)*time.Second).Format(time.RFC3339), client)
}

// named is the header of a log with such lines.
const named = "\ufefftime,client\n"

func TestTheReportListsRejectedClientsWithTimesAndWaits(t *testing.T) {
	log := named
	for i := range 10 {
		log += request("busy", i)
	}
	log += request("calm", 10) + request("calm", 30) + request("once", 60)
	r := inJSON(t, log, "--limit", "5/minute", "--algorithm", "sliding-log", "--periods", "1m")
	require.Zero(t, r.Unreadable, "the header is not a request, even after a byte order mark")
	require.Equal(t, []report.Client{{
		Name: "busy.example", Kind: "steady", Requests: 10, Rejected: 5,
		First: noon.Add(5 * time.Second), Last: noon.Add(9 * time.Second), LongestWait: 55,
	}}, r.Above)
	require.Equal(t, []report.Headroom{{Limit: "5/minute", Median: 2, P99: 2, Most: 2}}, r.Headroom)
	require.EqualValues(t, 12, r.Periods[0].Server)
	require.Equal(t, noon, r.From)
	require.Equal(t, noon.Add(time.Minute), r.To)
	var rejected, requests int64
	for i, n := range r.Timeline.Rejected {
		rejected += n
		requests += r.Timeline.Requests[i]
	}
	require.EqualValues(t, 5, rejected)
	require.EqualValues(t, 13, requests)
}

func TestThePeriodsHaveTheQuantilesOfTheClients(t *testing.T) {
	log := named
	for client := range 20 {
		log += strings.Repeat(request(fmt.Sprint("client", client), 0), client+1)
	}
	p := inJSON(t, log, "--periods", "1s", "--target", "10%", "--limit", "1/second").Periods[0]
	require.EqualValues(t, 11, p.Median)
	require.EqualValues(t, 20, p.P99)
	require.EqualValues(t, 20, p.Most)
	require.EqualValues(t, 210, p.Server)
	require.EqualValues(t, 18, p.Fit)
	require.Equal(t, 2, p.Above)
	require.EqualValues(t, 3, p.RequestsAbove)
	require.Equal(t, []int64{20, 20, 20, 20, 20, 19, 18}, p.Prices)
}

func TestIgnoredLinesAreCountedAndReported(t *testing.T) {
	log := named + request("a", 3600) + request("a", 3601) + request("a", 3600+365*86400) + request("a", 3602) + request("a", 0)
	log += request("a", 3603) + "some words\n"
	out, code, err := run(t, log, "plan", "--limit", "5/minute", "--max-rejected", "100%")
	require.Equal(t, exitUsage, code, "too many lines are unusable")
	require.ErrorContains(t, err, "42.9 % of the log is missing from these figures, more than --max-skipped 1%: 1 unreadable, 1 out of order, 1 dated ahead")
	require.Contains(t, out, "4 requests of 1 client,")
	require.Contains(t, out, "8 lines, 1 unreadable, 1 without a request, 1 too far out of order, 1 dated far\nahead\n  -:8: ")
	notes := strings.Join(strings.Fields(out), " ")
	require.Contains(t, notes, "Ignored 1 request out of order by more than --reorder, by up to 1h0m2s.")
	require.Contains(t, notes, "Ignored 1 request dated more than --reorder ahead of the requests that follow")
	require.Contains(t, notes, "Times in the log are whole seconds")
	require.Contains(t, notes, "A replay cannot know how rejected clients would have backed off")
	require.Contains(t, notes, "An attacker in the log is a client like any other")
	fine := strings.ReplaceAll(request("a", 0), "Z", ".5Z")
	require.NotContains(t, strings.Join(inJSON(t, named+fine, "--limit", "1/second").Notes, " "), "whole seconds")
	_, _, err = run(t, log, "plan", "--limit", "5/minute", "--max-skipped", "50%")
	require.NoError(t, err)
}

func TestARecommendationRaisesTheLimitThatRejectsAndDropsRedundantOnes(t *testing.T) {
	log := named + strings.Repeat(request("a", 0), 75) + strings.Repeat(request("a", 3600), 75) + request("a", 3*3600)
	require.Equal(t, "80/minute; 150/hour", inJSON(t, log, "--target", "0%").Limits)
	require.Equal(t, "80/hour", inJSON(t, log, "--target", "0%", "--algorithm", "sliding-log").Limits)
}

func TestTimeFiltersIncludeTheStartAndExcludeTheEnd(t *testing.T) {
	log := named + request("a", 0) + request("a", 1) + request("a", 2) + request("a", 3)
	r := inJSON(t, log, "--since", "2026-01-31T12:00:01Z", "--until", "2026-01-31 12:00:03", "--limit", "1/second")
	require.Equal(t, 2, r.Requests)
	require.Equal(t, 2, r.Filtered)
	require.Equal(t, noon.Add(time.Second), r.From)
}

func TestASimulationDrawsTheTraffic(t *testing.T) {
	out, _, err := run(t, "", "simulate", "--traffic", "attack")
	require.NoError(t, err)
	require.Contains(t, out, "100/minute, attack traffic")
	_, drawn, found := strings.Cut(out, "sent            ")
	require.True(t, found)
	require.Equal(t, strings.Repeat("█", 15), string([]rune(drawn)[15:30]), "ten times the limit in the second period")
}
