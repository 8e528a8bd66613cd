package model

import (
	"testing"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/soak/internal/history"
	"github.com/gin-ratelimiter/ratelimiter/soak/internal/routes"
	"github.com/stretchr/testify/require"
)

// run is a run that begins with a window, for clocks that are right.
func run(list ...history.Request) *history.History {
	return &history.History{Started: time.Unix(1_000_000_000, 0), Duration: time.Hour, Requests: list}
}

const leasedPath = "/leased/fixed-window"

func TestAFixedWindowHasNoMoreThanTheLimit(t *testing.T) {
	within, next := int64(101_000)*ms, int64(106_000)*ms
	require.Zero(t, found((*model).alignedBounds, run(append(many(5, admitted("/fixed", within)), many(5, admitted("/fixed", next))...)...)))
	require.Equal(t, 1, found((*model).alignedBounds, run(many(6, admitted("/fixed", within))...)))
	lost := run(append(many(5, admitted("/fixed", within)), many(5, admitted("/fixed", within+2000*ms))...)...)
	lost.Faults = []history.Fault{{Span: history.Span{From: within + 1000*ms, To: within + 1000*ms}, Store: routes.Single, Loses: true}}
	require.Zero(t, found((*model).alignedBounds, lost))
	lost.Requests = append(lost.Requests, admitted("/fixed", within+2000*ms))
	require.Equal(t, 1, found((*model).alignedBounds, lost), "a loss begins the count anew, and no more")
}

func TestADayHasNoMoreThanTheLimit(t *testing.T) {
	route := routes.ByPath("/calendar/6")
	midnight := route.MidnightIn(run().Started, time.Hour).Sub(run().Started).Microseconds()
	before, after := many(10, admitted(route.Path, midnight-60_000*ms)), many(10, admitted(route.Path, midnight+60_000*ms))
	require.Zero(t, found((*model).alignedBounds, run(append(before, after...)...)))
	require.Equal(t, 1, found((*model).alignedBounds, run(append(before, admitted(route.Path, midnight-1000*ms))...)))
	require.Equal(t, 1, found((*model).usedUp, run(append(before, rejected(route.Path, midnight+1000*ms, 9))...)), "the day has begun")
	require.Zero(t, found((*model).usedUp, run(append(before, rejected(route.Path, midnight-1000*ms, 1))...)))
}

func TestAnOperatorMayEndADay(t *testing.T) {
	at := int64(200_000) * ms
	h := run(append(many(10, admitted("/calendar/1", at)), rejected("/calendar/1", at+12_000*ms, 9))...)
	require.Zero(t, found((*model).usedUp, h))
	h.Changes = []history.Change{{Span: history.Span{From: at + 1000*ms, To: at + 1000*ms}, Kind: "reset", Limiter: routes.Shared, Key: "GET /calendar/1", Scope: "a"}}
	require.Equal(t, 1, found((*model).usedUp, h), "ten seconds later, all processes have to know of it")
	h.Changes[0].Span.From, h.Changes[0].Span.To = at+4000*ms, at+4000*ms
	require.Zero(t, found((*model).usedUp, h))
}

func TestARequestIsRejectedOnlyIfTheUnitsAreUsedUp(t *testing.T) {
	at := int64(101_000) * ms
	for _, path := range []string{"/log", "/fixed"} {
		for charged, violations := range map[int]int{5: 0, 4: 1} {
			h := run(append(many(charged, admitted(path, at)), rejected(path, at+1000*ms, 1))...)
			require.Equal(t, violations, found((*model).usedUp, h), "%s %d", path, charged)
		}
		h := run(append(many(5, admitted(path, at)), rejected(path, at+5500*ms, 1))...)
		require.Equal(t, 1, found((*model).usedUp, h), "the window is over")
		broken := request(path, at)
		broken.Status = history.Broken
		h = run(append(many(5, broken), rejected(path, at+1000*ms, 1))...)
		require.Zero(t, found((*model).usedUp, h), "they may have been charged")
	}
}

func TestLeasedUnitsMayLieUnused(t *testing.T) {
	at := int64(101_000) * ms
	unspent := routes.Processes * (routes.LeaseUnits - 1)
	h := func(charged int, faults ...history.Fault) *history.History {
		h := run(append(many(charged, admitted(leasedPath, at)), rejected(leasedPath, at+2000*ms, 1))...)
		h.Faults = faults
		return h
	}
	require.Zero(t, found((*model).usedUp, h(40-unspent)))
	require.Equal(t, 1, found((*model).usedUp, h(40-unspent-1)))
	kill := onServer(at+500*ms, at+1000*ms, true)
	require.Zero(t, found((*model).usedUp, h(40-unspent-3, kill)))
	require.Equal(t, 1, found((*model).usedUp, h(40-unspent-4, kill)))
	require.Zero(t, found((*model).alignedBounds, h(40)))
	require.Equal(t, 1, found((*model).alignedBounds, h(41)))
}

func TestAPlanAppliesAtOnce(t *testing.T) {
	at := int64(100_000) * ms
	planned := func(plan int, r history.Request) history.Request {
		r.Plan = plan
		return r
	}
	high := many(3, planned(1, admitted("/plan", at)))
	last := planned(1, admitted("/plan", at+1000*ms))
	require.Zero(t, found((*model).plans, run(append(high, last)...)))
	last.Plan = 0
	require.Equal(t, 1, found((*model).plans, run(append(high, last)...)), "the lower plan has used all of it")
	require.Zero(t, found((*model).plans, run(append(high[:2:2], last)...)))
	refused := planned(1, rejected("/plan", at+1000*ms, 1))
	require.Equal(t, 1, found((*model).usedUp, run(append(high, refused)...)), "the higher plan has some left")
	refused.Plan = 0
	require.Zero(t, found((*model).usedUp, run(append(high, refused)...)))
}

func TestLeasedUnitsMayBeSpentAfterALoss(t *testing.T) {
	at := int64(100_000) * ms // where a window begins
	flush := history.Fault{Span: history.Span{From: at - 2*ms, To: at - ms}, Store: "single", Loses: true}
	bound := 2*10*routes.LeaseUnits + processes*(routes.LeaseUnits-1)
	for units, violated := range map[int]bool{bound: false, bound + 1: true} {
		h := &history.History{Requests: many(units, admitted(leasedPath, at)), Faults: []history.Fault{flush}}
		require.Equal(t, violated, found((*model).sharedBounds, h) > 0, units)
	}
	long := &history.History{Requests: many(bound, admitted(leasedPath, at+6000*ms)), Faults: []history.Fault{flush}}
	require.Positive(t, found((*model).sharedBounds, long), "the windows of the leases are over")
}
