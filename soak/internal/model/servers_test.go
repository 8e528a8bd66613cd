package model

import (
	"testing"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/soak/internal/history"
	"github.com/gin-ratelimiter/ratelimiter/soak/internal/routes"
	"github.com/stretchr/testify/require"
)

func TestALimitMustBeSharedAgainSoonAfterAFault(t *testing.T) {
	for until, violations := range map[int64]int{14_000: 0, 16_000: 1} {
		h := &history.History{
			Faults: []history.Fault{during(9_000*ms, 10_000*ms, false)},
			Logs:   []history.Log{{Limiter: routes.Shared, Unwell: onSingle([]history.Span{{From: 9_100 * ms, To: until * ms}}...)}},
		}
		require.Equal(t, violations, found((*model).recoveries, h), until)
	}
}

func TestProcessesMustNotOftenDecideByThemselvesWithoutAFault(t *testing.T) {
	h := &history.History{Logs: []history.Log{{Limiter: routes.Shared, Unwell: onSingle([]history.Span{{From: 0, To: 366_000 * ms}}...)}}}
	require.Equal(t, 1, found((*model).recoveries, h), "over five seconds and a tenth of an hour")
	h.Logs[0].Unwell["single"][0].To = 364_000 * ms
	require.Zero(t, found((*model).recoveries, h))
}

func TestWhatBeginsBeforeAFaultIsAnOutageToo(t *testing.T) {
	r := rejected("/log", 100_000*ms, 1)
	r.Kind = "polite"
	h := &history.History{
		Requests: []history.Request{r},
		Faults:   []history.Fault{during(101_000*ms, 102_000*ms, false)},
		Logs:     []history.Log{{Limiter: routes.Shared, Unwell: onSingle([]history.Span{{From: 99_000 * ms, To: 102_100 * ms}}...)}},
	}
	require.Zero(t, found((*model).polite, h))
	h.Logs = nil
	require.Equal(t, 1, found((*model).polite, h))
}

func TestAServerMustGiveBackWhatItHasTaken(t *testing.T) {
	baseline := func() *history.History {
		first := []history.Sample{{Process: 0, Goroutines: 7, Files: 20, Heap: 1 << 20}, {Process: 1, Goroutines: 7, Files: 20, Heap: 1 << 20}}
		return &history.History{Baseline: first, Final: append([]history.Sample{}, first...)}
	}
	require.Zero(t, found((*model).resources, baseline()))
	for _, leak := range []func(*history.Sample){
		func(s *history.Sample) { s.Goroutines = 20 },
		func(s *history.Sample) { s.Files = 200 },
		func(s *history.Sample) { s.Heap = 20 << 20 },
		func(s *history.Sample) { s.Waiting = 1 },
		func(s *history.Sample) { s.Panics = 1 },
	} {
		h := baseline()
		leak(&h.Final[1])
		require.Equal(t, 1, found((*model).resources, h))
	}
	lost := baseline()
	lost.Final = lost.Final[:1]
	require.Equal(t, 1, found((*model).resources, lost))
}

func TestALogMustBeShortAndComplete(t *testing.T) {
	for _, log := range []history.Log{
		{Clients: 60*62 + 1},
		{Others: 63},
		{Fails: 1},
		{Answers: 1},
		{Rejected: 1},
		{Events: 1},
	} {
		require.Equal(t, 1, found((*model).logs, &history.History{Logs: []history.Log{log}}), "%+v", log)
	}
	seen := &history.History{Logs: []history.Log{{Limiter: routes.Shared}}, Requests: []history.Request{rejected("/log", 0, 1)}}
	require.Equal(t, 1, found((*model).logs, seen), "the rejection is not in the log")
	seen.Logs[0].Rejected, seen.Logs[0].Events, seen.Logs[0].Clients = 1, 1, 2
	require.Zero(t, found((*model).logs, seen))
}

func TestAServerMustEndWell(t *testing.T) {
	well := history.Exit{Process: 0}
	require.Zero(t, found((*model).exits, &history.History{Exits: []history.Exit{well, {Process: 1}, {Process: 2}}}))
	for _, exit := range []history.Exit{{Code: 66}, {Races: 1}, {Panics: 1}, {Output: "oh"}} {
		require.Equal(t, 1, found((*model).exits, &history.History{Exits: []history.Exit{well, {Process: 1}, exit}}), "%+v", exit)
	}
	require.Equal(t, 1, found((*model).exits, &history.History{Exits: []history.Exit{well, {Process: 1}}}))
}

func TestKeysMustExpire(t *testing.T) {
	h := &history.History{Stores: []history.Store{{Name: "single", Keys: 3}}}
	require.Zero(t, found((*model).stores, h))
	h.Stores[0].Eternal = []string{"shared/GET /log:a"}
	require.Equal(t, 1, found((*model).stores, h))
}

func TestOperationsMustSucceedOutsideOfOutages(t *testing.T) {
	h := &history.History{Changes: []history.Change{
		{Span: history.Span{From: 100_000 * ms, To: 100_000 * ms}, Kind: "reset", Limiter: routes.Shared, Failure: "502"}}}
	require.Equal(t, 1, found((*model).polls, h))
	h.Faults = []history.Fault{during(99_000*ms, 101_000*ms, false)}
	require.Zero(t, found((*model).polls, h))
	h.PollFailures = []string{"no answer"}
	require.Equal(t, 1, found((*model).polls, h))
}

func TestAReportListsViolationsAndFaults(t *testing.T) {
	h := &history.History{
		Duration: time.Minute,
		Faults:   []history.Fault{during(1000*ms, 2000*ms, true)},
		Logs:     []history.Log{{Limiter: routes.Shared, Unwell: onSingle([]history.Span{{From: 1000 * ms, To: 2500 * ms}}...)}},
		Requests: append(many(6, admitted("/log", 30_000*ms)), admitted("/log", 1100*ms)),
	}
	report := Check(h)
	require.Positive(t, report.Violations())
	text := report.String()
	require.Contains(t, text, "| single: kill | 1 | 1s | 1ms | 500ms | 500ms |")
	require.Contains(t, text, "/log a: 6 units in 5s from 30s on, at most 5 allowed")
}
