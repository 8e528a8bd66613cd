package model

import (
	"testing"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/soak/internal/history"
	"github.com/gin-ratelimiter/ratelimiter/soak/internal/routes"
	"github.com/stretchr/testify/require"
)

const ms = int64(1000) // times are in microseconds

// request was sent at a time and answered a millisecond later.
// onSingle are the times when the single Redis was not there.
func onSingle(spans ...history.Span) map[string][]history.Span {
	return map[string][]history.Span{routes.Single: spans}
}

func request(path string, at int64) history.Request {
	return history.Request{Kind: "obedient", Path: path, Scope: "a", Sent: at, Received: at + ms}
}

func admitted(path string, at int64) history.Request {
	r := request(path, at)
	r.Status, r.Started, r.Ended = 200, at+ms/2, at+ms/2
	return r
}

func rejected(path string, at int64, retryAfter int) history.Request {
	r := request(path, at)
	r.Status, r.RetryAfter = 429, retryAfter
	return r
}

// many are requests at the same time.
func many(n int, r history.Request) (list []history.Request) {
	for range n {
		list = append(list, r)
	}
	return list
}

// found is what a check says of a run.
func found(check func(*model) *Finding, h *history.History) int {
	h.Duration = time.Hour
	return check(newModel(h)).count
}

// during is a fault of the single Redis.
func during(from, to int64, loses bool) history.Fault {
	return history.Fault{Span: history.Span{From: from, To: to}, Store: "single", Kind: "kill", Outage: true, Loses: loses}
}

func TestAWindowHasNoMoreThanItsBound(t *testing.T) {
	at := int64(100_000) * ms
	for path, bound := range map[string]int{"/log": 5, "/sliding": 10, "/fixed": 10, "/bucket": 6, "/local": 10} {
		require.Zero(t, found((*model).sharedBounds, &history.History{Requests: many(bound, admitted(path, at))}), path)
		tooMany := &history.History{Requests: append(many(bound, admitted(path, at)), admitted(path, at+4000*ms))}
		require.Positive(t, found((*model).sharedBounds, tooMany), path)
		later := &history.History{Requests: append(many(bound, admitted(path, at)), admitted(path, at+6000*ms))}
		require.Zero(t, found((*model).sharedBounds, later), path)
	}
}

func TestProcessesHaveLocalLimitsOfTheirOwn(t *testing.T) {
	list := many(20, admitted("/local", 100_000*ms))
	for i := range list {
		list[i].Process = i % 2
	}
	require.Zero(t, found((*model).sharedBounds, &history.History{Requests: list}))
}

func TestALossAllowsOneLimitMoreAndAnOutageTheBoundOfEachProcess(t *testing.T) {
	at := int64(100_000) * ms
	flush := history.Fault{Span: history.Span{From: at, To: at + ms}, Store: "single", Loses: true}
	for requests, violated := range map[int]bool{10: false, 11: true} {
		h := &history.History{Requests: many(requests, admitted("/log", at)), Faults: []history.Fault{flush}}
		require.Equal(t, violated, found((*model).sharedBounds, h) > 0, requests)
	}
	for requests, violated := range map[int]bool{20: false, 21: true} {
		h := &history.History{Requests: many(requests, admitted("/log", at)), Faults: []history.Fault{during(at, at+ms, false)}}
		require.Zero(t, found((*model).sharedBounds, h), "nothing is known of Redis")
		require.Equal(t, violated, found((*model).wholeBounds, h) > 0, requests)
	}
	other := &history.History{Requests: many(6, admitted("/ha/log", at)), Faults: []history.Fault{during(at, at+ms, true)}}
	require.Positive(t, found((*model).sharedBounds, other), "the other Redis excuses nothing")
}

func TestAPoliteClientMayOnlyBeRejectedInOutages(t *testing.T) {
	r := rejected("/log", 100_000*ms, 1)
	r.Kind = "polite"
	h := &history.History{Requests: []history.Request{r}}
	require.Equal(t, 1, found((*model).polite, h))
	h.Faults = []history.Fault{during(94_000*ms, 96_000*ms, false)}
	require.Zero(t, found((*model).polite, h))
	h.Faults = []history.Fault{during(90_000*ms, 94_999*ms, false)}
	require.Equal(t, 1, found((*model).polite, h), "five seconds are over")
}

func TestWhoObeysRetryAfterMustBeAdmitted(t *testing.T) {
	first := rejected("/log", 100_000*ms, 2)
	back := rejected("/log", 102_001*ms, 1)
	h := func(list ...history.Request) *history.History { return &history.History{Requests: list} }
	require.Equal(t, 1, found((*model).obeyed, h(first, back)))
	require.Zero(t, found((*model).obeyed, h(first, admitted("/log", 102_001*ms))))
	require.Zero(t, found((*model).obeyed, h(first, rejected("/log", 101_000*ms, 1))), "it came too early")
	require.Zero(t, found((*model).obeyed, h(first, admitted("/log", 101_000*ms), back)), "it was admitted in between")
	reset := h(first, back)
	reset.Changes = []history.Change{{Span: history.Span{From: 95_000 * ms, To: 95_000 * ms}, Kind: "reset", Limiter: routes.Shared, Key: "GET /log", Scope: "a"}}
	require.Zero(t, found((*model).obeyed, reset), "the other process may remember a denial")
	reset.Changes[0].Scope = "b"
	require.Equal(t, 1, found((*model).obeyed, reset))
}

func TestNobodyMayBeAdmittedBeforeRetryAfter(t *testing.T) {
	first := rejected("/log", 100_000*ms, 3)
	h := func(list ...history.Request) *history.History { return &history.History{Requests: list} }
	require.Equal(t, 1, found((*model).early, h(first, admitted("/log", 101_500*ms))))
	require.Zero(t, found((*model).early, h(first, admitted("/log", 102_500*ms))), "it was rounded up")
	require.Zero(t, found((*model).early, h(first, rejected("/log", 101_500*ms, 2))))
	flushed := h(first, admitted("/log", 101_500*ms))
	flushed.Faults = []history.Fault{{Span: history.Span{From: 101_000 * ms, To: 101_000 * ms}, Store: "single", Loses: true}}
	require.Zero(t, found((*model).early, flushed))
}

func TestRetryAfterIsThereAndNoLongerThanItCanBe(t *testing.T) {
	for retryAfter, violations := range map[int]int{0: 1, 1: 0, 6: 0, 7: 1} {
		h := &history.History{Requests: []history.Request{rejected("/log", 0, retryAfter)}}
		require.Equal(t, violations, found((*model).retryHeaders, h), retryAfter)
	}
}

func TestWhoIsRejectedTooOftenMustBeBanned(t *testing.T) {
	var list []history.Request
	for i := range int64(10) {
		list = append(list, rejected("/banned", 100_000*ms+i*200*ms, 1))
	}
	require.Zero(t, found((*model).bans, &history.History{Requests: list[:9]}))
	require.Equal(t, 1, found((*model).bans, &history.History{Requests: list}))
	list[9].Banned = true
	require.Zero(t, found((*model).bans, &history.History{Requests: list}))
}

func TestWhoIsBannedByHandMustBeRejected(t *testing.T) {
	ban := history.Change{Span: history.Span{From: 100_000 * ms, To: 100_000 * ms}, Kind: "ban", Limiter: routes.Shared, Key: "GET /log", Scope: "a"}
	for after, violations := range map[int64]int{-100: 0, 100: 1, 5900: 1, 6100: 0} {
		h := &history.History{Requests: []history.Request{admitted("/log", (100_000+after)*ms)}, Changes: []history.Change{ban}}
		require.Equal(t, violations, found((*model).bansByHand, h), after)
		h.Requests[0].Process = 1
		if after == 100 {
			require.Zero(t, found((*model).bansByHand, h), "the other process may not know yet")
		}
		h.Faults = []history.Fault{during(100_000*ms, 100_000*ms, true)}
		require.Zero(t, found((*model).bansByHand, h), "the ban is lost")
	}
}

func TestAllSlotsMustBeFreeAtTheEnd(t *testing.T) {
	last := admitted("/busy", 0)
	last.Kind = "last"
	require.Zero(t, found((*model).slotsAreBack, &history.History{Requests: []history.Request{last}}))
	last.Status, last.Started = 429, 0
	require.Equal(t, 1, found((*model).slotsAreBack, &history.History{Requests: []history.Request{last}}))
}

func TestNobodyMayWaitForLonger(t *testing.T) {
	for took, violations := range map[int64]int{4200: 0, 4500: 1} {
		r := rejected("/wait", 0, 1)
		r.Received = took * ms
		require.Equal(t, violations, found((*model).waits, &history.History{Requests: []history.Request{r}}), took)
	}
}

func TestOnlyDocumentedStatusesMayBeSeen(t *testing.T) {
	status := func(path string, code, retryAfter int) *history.History {
		r := request(path, 100_000*ms)
		r.Status, r.RetryAfter = code, retryAfter
		return &history.History{Requests: []history.Request{r}}
	}
	for code, violations := range map[int]int{200: 0, 429: 0, history.Left: 0, history.Broken: 1, 401: 1, 500: 1, 503: 1, 404: 1} {
		require.Equal(t, violations, found((*model).statuses, status("/log", code, 1)), code)
	}
	require.Zero(t, found((*model).statuses, status("/login", 401, 0)))
	denied := status("/deny", 503, 1)
	require.Equal(t, 1, found((*model).statuses, denied), "Redis is well")
	denied.Faults = []history.Fault{during(99_000*ms, 101_000*ms, false)}
	require.Zero(t, found((*model).statuses, denied))
	denied.Requests[0].RetryAfter = 0
	require.Equal(t, 1, found((*model).statuses, denied))
}

func TestAnAnswerMustComeInTime(t *testing.T) {
	for _, c := range []struct {
		took       int64
		race       bool
		violations int
	}{{340, false, 0}, {360, false, 1}, {1090, true, 0}, {1110, true, 1}} {
		r := rejected("/ha/log", 0, 1)
		r.Received = c.took * ms
		h := &history.History{Requests: []history.Request{r}, Race: c.race}
		require.Equal(t, c.violations, found((*model).answersInTime, h), "%+v", c)
	}
}

func TestAMachineThatStoodStillExcusesSlowAnswers(t *testing.T) {
	r := rejected("/ha/log", 0, 1)
	r.Received = 360 * ms
	h := &history.History{Requests: []history.Request{r}, Stalls: []history.Span{{From: 0, To: 150 * ms}}}
	require.Zero(t, found((*model).answersInTime, h))
}

func TestNoMoreMayBeInProgressThanThereAreSlots(t *testing.T) {
	held := admitted("/busy", 100_000*ms)
	held.Ended = 101_000 * ms
	h := &history.History{Requests: many(3, held)}
	require.Zero(t, found((*model).inProgress, h))
	another := admitted("/busy", 100_500*ms)
	another.Ended = 100_600 * ms
	h.Requests = append(h.Requests, another)
	require.Equal(t, 1, found((*model).inProgress, h))
	h.Faults = []history.Fault{during(98_000*ms, 99_000*ms, false)}
	require.Zero(t, found((*model).inProgress, h))
	h.Faults = nil
	h.Requests[3].Sent, h.Requests[3].Started, h.Requests[3].Ended = 101_500*ms, 101_500*ms, 101_600*ms
	require.Zero(t, found((*model).inProgress, h), "the others have ended")
}
