package model

import (
	"fmt"
	"testing"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/soak/internal/history"
	"github.com/gin-ratelimiter/ratelimiter/soak/internal/routes"
	"github.com/stretchr/testify/require"
)

// onServer is a fault of the server that is killed and stopped.
func onServer(from, to int64, killed bool) history.Fault {
	return history.Fault{Span: history.Span{From: from, To: to}, Store: routes.Server, Kind: "fault", Outage: !killed, Loses: killed}
}

// scopeOn is a client of which a node has the counter.
func scopeOn(path string, node int) string {
	for i := 0; ; i++ {
		if scope := fmt.Sprint("scope-", i); routes.ByPath(path).Store(scope) == routes.NodeStore(node) {
			return scope
		}
	}
}

func by(process int, r history.Request) history.Request {
	r.Process = process
	return r
}

func TestANodeThatFailsExcusesItsOwnKeysOnly(t *testing.T) {
	for node, violations := range map[int]int{0: 0, 1: 1} {
		r := rejected("/cluster/log", 100_000*ms, 1)
		r.Kind, r.Scope = "polite", scopeOn("/cluster/log", node)
		fault := during(99_000*ms, 101_000*ms, true)
		fault.Store = routes.NodeStore(0)
		require.Equal(t, violations, found((*model).polite, &history.History{Requests: []history.Request{r}, Faults: []history.Fault{fault}}), node)
	}
}

func TestTheOtherNodesMustGoOn(t *testing.T) {
	fault := during(100_000*ms, 106_000*ms, false)
	fault.Store = routes.NodeStore(0)
	for _, c := range []struct {
		node       int
		until      int64
		violations int
	}{{0, 106_000, 0}, {1, 102_900, 0}, {1, 103_100, 1}} {
		alone := map[string][]history.Span{routes.NodeStore(c.node): {{From: 100_000 * ms, To: c.until * ms}}}
		h := &history.History{Faults: []history.Fault{fault}, Logs: []history.Log{{Limiter: routes.Cluster, Unwell: alone}}}
		require.Equal(t, c.violations, found((*model).otherNodes, h), "%+v", c)
	}
}

func TestAKilledServerExcusesItsOwnConnectionsOnly(t *testing.T) {
	for _, c := range []struct {
		process    int
		sent       int64
		violations int
	}{{routes.Victim, 100_500, 0}, {0, 100_500, 1}, {routes.Victim, 98_000, 1}, {routes.Victim, 102_100, 1}} {
		r := by(c.process, request("/log", c.sent*ms))
		r.Status = history.Broken
		h := &history.History{Requests: []history.Request{r}, Faults: []history.Fault{onServer(100_000*ms, 102_000*ms, true)}}
		require.Equal(t, c.violations, found((*model).statuses, h), "%+v", c)
	}
}

func TestAKilledServerHasANewMemory(t *testing.T) {
	kill := []history.Fault{onServer(102_000*ms, 102_500*ms, true)}
	for process, violated := range map[int]bool{routes.Victim: false, 0: true} {
		list := append(many(10, by(process, admitted("/local", 100_000*ms))), many(5, by(process, admitted("/local", 103_000*ms)))...)
		require.Equal(t, violated, found((*model).sharedBounds, &history.History{Requests: list, Faults: kill}) > 0, process)
	}
	list := append(many(10, by(routes.Victim, admitted("/log", 100_000*ms))), by(routes.Victim, admitted("/log", 103_000*ms)))
	require.Positive(t, found((*model).sharedBounds, &history.History{Requests: list, Faults: kill}), "Redis has kept its counts")
}

func TestAServerMustEndUnlessTheHarnessHasKilledIt(t *testing.T) {
	exits := []history.Exit{{Process: 0}, {Process: 1}, {Process: 2, Killed: true, Code: -1}, {Process: 2}}
	h := &history.History{Exits: exits, Faults: []history.Fault{onServer(0, ms, true)}}
	require.Zero(t, found((*model).exits, h))
	h.Faults = nil
	require.Equal(t, 1, found((*model).exits, h))
	h.Exits[2] = history.Exit{Process: 2, Killed: true, Races: 1}
	require.Equal(t, 2, found((*model).exits, h))
}

func TestAStoppedServerExcusesItsOwnSlowAnswersOnly(t *testing.T) {
	for process, violations := range map[int]int{routes.Victim: 0, 0: 1} {
		r := by(process, rejected("/ha/log", 100_000*ms, 1))
		r.Received = 103_000 * ms
		h := &history.History{Requests: []history.Request{r}, Faults: []history.Fault{onServer(100_000*ms, 102_900*ms, false)}}
		require.Equal(t, violations, found((*model).answersInTime, h), process)
	}
}

func TestAServerThatWasStoppedMayTakeAsLongAgainForWhatHasArrived(t *testing.T) {
	for received, violations := range map[int64]int{103_900: 0, 104_500: 1} {
		r := by(routes.Victim, rejected("/ha/log", 101_900*ms, 1))
		r.Received = received * ms
		h := &history.History{Requests: []history.Request{r}, Faults: []history.Fault{onServer(100_000*ms, 102_000*ms, false)}}
		require.Equal(t, violations, found((*model).answersInTime, h), received)
	}
}

func TestAServerMustShareAgainSoonAfterItWasStopped(t *testing.T) {
	for until, violations := range map[int64]int{14_000: 0, 16_000: 1} {
		h := &history.History{
			Faults: []history.Fault{onServer(9_000*ms, 10_000*ms, false)},
			Logs:   []history.Log{{Process: routes.Victim, Limiter: routes.Shared, Unwell: onSingle(history.Span{From: 9_100 * ms, To: until * ms})}},
		}
		require.Equal(t, violations, found((*model).recoveries, h), until)
	}
}

func TestASlotMustBeTakenIfARequestIsRejected(t *testing.T) {
	at := int64(100_000) * ms
	held := admitted("/busy", at)
	held.Received, held.Ended = at+1000*ms, at+1000*ms
	late := rejected("/busy", at+500*ms, 1)
	require.Zero(t, found((*model).slotsAreTaken, &history.History{Requests: append(many(3, held), late)}))
	require.Equal(t, 1, found((*model).slotsAreTaken, &history.History{Requests: append(many(2, held), late)}))
	faulty := &history.History{Requests: append(many(2, held), late), Faults: []history.Fault{during(at-2000*ms, at-1000*ms, false)}}
	require.Zero(t, found((*model).slotsAreTaken, faulty), "an answer that was lost takes a slot for a lease")
}

func TestSlotsOfAKilledServerAreTakenForOneLease(t *testing.T) {
	at := int64(100_000) * ms
	broken := by(routes.Victim, request("/busy", at))
	broken.Status, broken.Received = history.Broken, at+500*ms
	for after, violations := range map[time.Duration]int{routes.Lease: 0, routes.Lease + 2*time.Second: 1} {
		list := append(many(3, broken), rejected("/busy", at+micros(after), 1))
		require.Equal(t, violations, found((*model).slotsAreTaken, &history.History{Requests: list}), after)
	}
}

func TestLeasesOfSlotsMayEndWhileAServerIsStopped(t *testing.T) {
	held := admitted("/busy", 100_000*ms)
	held.Ended = 101_000 * ms
	for length, violated := range map[int64]bool{2000: true, 4000: false} {
		h := &history.History{Requests: many(4, held), Faults: []history.Fault{onServer((99_000-length)*ms, 99_000*ms, false)}}
		require.Equal(t, violated, found((*model).inProgress, h) > 0, length)
	}
}

func TestABreakerOpensOnlyIfNoNodeCharges(t *testing.T) {
	for sent, violations := range map[int64]int{99_890: 0, 99_920: 1, 99_970: 0} {
		h := &history.History{
			Requests: []history.Request{admitted("/cluster/log", sent*ms)},
			Logs:     []history.Log{{Limiter: routes.Cluster, Opened: []int64{100_000 * ms}}},
		}
		require.Equal(t, violations, found((*model).otherNodes, h), sent)
		h.Requests[0].Process = 1
		require.Zero(t, found((*model).otherNodes, h), "the other process does not know")
	}
}

func TestAServerThatWasStoppedInAnOutageWaitsForItsEnd(t *testing.T) {
	for until, violations := range map[int64]int{21_000: 0, 22_000: 1} {
		h := &history.History{
			Faults: []history.Fault{onServer(9_000*ms, 10_000*ms, false), during(8_000*ms, 16_500*ms, false)},
			Logs:   []history.Log{{Process: routes.Victim, Limiter: routes.Shared, Unwell: onSingle(history.Span{From: 8_100 * ms, To: until * ms})}},
		}
		require.Equal(t, violations, found((*model).recoveries, h), until)
	}
}
