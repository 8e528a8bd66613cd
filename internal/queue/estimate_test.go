package queue

import (
	"slices"
	"testing"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var algorithms = []backends.Algorithm{backends.SlidingWindow, backends.FixedWindow, backends.SlidingLog, backends.TokenBucket}

// limits are models that are charged together.
type limits []*model

// next returns the first time from now at which all limits allow a cost.
func (l limits) next(now, cost int64) int64 {
	for at := now; ; at = now {
		for _, m := range l {
			now = max(now, m.next(now, cost))
		}
		if now == at {
			return now
		}
	}
}

// pass lets requests through in order, each as soon as possible, and returns when the last
// one has passed.
func (l limits) pass(now int64, costs []int64) int64 {
	for _, cost := range costs {
		now = l.next(now, cost)
		for _, m := range l {
			m.charge(now, cost)
		}
	}
	return now
}

func (l limits) clone() (copies limits) {
	for _, m := range l {
		copies = append(copies, m.clone())
	}
	return copies
}

// estimateOf returns the estimate for a request with the last of the costs, behind requests
// with the others.
func (l limits) estimateOf(now int64, costs []int64) (retryAfter time.Duration, verdicts []backends.Verdict) {
	q := &queue{loads: make([]load, len(l))}
	var w *waiter
	for i, cost := range costs {
		w = &waiter{}
		for _, m := range l {
			w.quotas = append(w.quotas, m.quota(cost))
		}
		if i < len(costs)-1 {
			q.waiters = append(q.waiters, w)
			addTo(q.loads, w)
		}
	}
	e := q.estimate(w, len(costs)-1, q.loads)
	quotas := e.Quotas(0)
	for i, m := range l {
		verdicts = append(verdicts, m.verdict(now, quotas[i].Cost))
	}
	verdicts = append(verdicts, backends.Verdict{RetryAfter: -1})
	e.Correct(verdicts, nil)
	for i := range l {
		if !verdicts[i].Allowed {
			retryAfter = max(retryAfter, verdicts[i].RetryAfter)
		}
	}
	return retryAfter, verdicts
}

func drawModel(t *rapid.T) *model {
	m := &model{
		algorithm: rapid.SampledFrom(algorithms).Draw(t, "algorithm"),
		limit:     rapid.Int64Range(1, 12).Draw(t, "limit"),
		per:       rapid.SampledFrom([]int64{1000, 1024, 9999, 60_000_000}).Draw(t, "per"),
	}
	switch kind := rapid.SampledFrom([]string{"plain", "burst", "cells", "fast"}).Draw(t, "kind"); {
	case kind == "cells" && m.algorithm == backends.SlidingLog:
		m.limit = rapid.Int64Range(129, 400).Draw(t, "high limit")
	case kind == "burst" && m.algorithm == backends.TokenBucket:
		m.burst = rapid.Int64Range(1, 20).Draw(t, "burst")
	case kind == "fast": // more than a unit per microsecond
		m.limit, m.per = rapid.Int64Range(1000, 6000).Draw(t, "high limit"), 1000
	}
	return m
}

// drawHistory charges random allowed costs up to now.
func (l limits) drawHistory(t *rapid.T) (now int64) {
	per, most := l[0].per, l[0].most()
	for _, m := range l {
		most = min(most, m.most())
	}
	now = 1_000_000 * per
	for range rapid.IntRange(0, 30).Draw(t, "history") {
		now += rapid.Int64Range(0, per/4).Draw(t, "gap")
		if cost := rapid.Int64Range(1, most).Draw(t, "taken"); l.next(now, cost) == now {
			for _, m := range l {
				m.charge(now, cost)
			}
		}
	}
	return now + rapid.Int64Range(0, per/4).Draw(t, "last gap")
}

// drawCosts draws the costs of the requests in a queue, including the last one.
func (l limits) drawCosts(t *rapid.T) []int64 {
	most := l[0].most()
	for _, m := range l {
		most = min(most, m.most())
	}
	largest := rapid.Int64Range(1, most).Draw(t, "largest")
	return rapid.SliceOfN(rapid.Int64Range(0, largest), 1, 40).Draw(t, "costs")
}

func TestAnEstimateIsNeverTooEarly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := limits{drawModel(t)}
		now := l.drawHistory(t)
		costs := l.drawCosts(t)
		truth := time.Duration(l.clone().pass(now, costs)-now) * time.Microsecond
		estimate, _ := l.estimateOf(now, costs)
		require.GreaterOrEqual(t, estimate, truth)
		require.Positive(t, estimate, "a rejected request must wait")
	})
}

func TestAnEstimateOfSeveralLimitsIsNeverTooEarly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l limits
		for range rapid.IntRange(2, 3).Draw(t, "limits") {
			m := drawModel(t)
			m.per *= rapid.SampledFrom([]int64{1, 2, 3, 10}).Draw(t, "times")
			l = append(l, m)
		}
		now := l.drawHistory(t)
		costs := l.drawCosts(t)
		truth := time.Duration(l.clone().pass(now, costs)-now) * time.Microsecond
		estimate, _ := l.estimateOf(now, costs)
		require.GreaterOrEqual(t, estimate, truth)
	})
}

// These cases are easy to get wrong. The clock starts with a window, and units were taken
// at the given times.
func TestAnEstimateAccountsForUnusedUnitsOfAPeriod(t *testing.T) {
	const second, start = 1_000_000, 1_000_000_000_000
	of := func(algorithm backends.Algorithm, limit, per int64, used ...event) *model {
		m := &model{algorithm: algorithm, limit: limit, per: per}
		for _, e := range used {
			m.charge(start+e.at, e.units)
		}
		return m
	}
	for name, test := range map[string]struct {
		limits          limits
		now             int64
		costs           []int64
		truth, estimate time.Duration
	}{
		"the first does not fit into this window, nor the second into the next": {
			limits{of(backends.FixedWindow, 9, 10*second, event{0, 4})}, 4 * second, []int64{6, 4}, 16 * time.Second, 16 * time.Second,
		},
		"a request without a cost passes with the one before it": {
			limits{of(backends.FixedWindow, 9, 10*second, event{0, 4})}, 4 * second, []int64{0, 6, 0, 4}, 16 * time.Second, 16 * time.Second,
		},
		"all units fit into one window, but not into this one": {
			limits{of(backends.FixedWindow, 9, 10*second, event{0, 1})}, 4 * second, []int64{5, 4}, 6 * time.Second, 6 * time.Second,
		},
		"the first does not fit into a log": {
			limits{of(backends.SlidingLog, 9, 10*second, event{0, 3}, event{second, 1})}, 4 * second, []int64{6, 4}, 16 * time.Second, 16 * time.Second,
		},
		"the previous window holds less than the limit": {
			limits{of(backends.SlidingWindow, 10, 10*second, event{-5 * second, 2}, event{second, 9})}, 4 * second, slices.Repeat([]int64{1}, 12), 16 * time.Second, 16*time.Second + 888888*time.Microsecond,
		},
		"a sliding window of one unit": {
			limits{of(backends.SlidingWindow, 1, 10*second, event{3 * second, 1})}, 4 * second, []int64{1, 1, 1}, 26 * time.Second, 26 * time.Second,
		},
		"cells of a log hold units longer": {
			limits{of(backends.SlidingLog, 129, 128*second, event{0, 129})}, second / 2, slices.Repeat([]int64{1}, 130), 255*time.Second + time.Second/2, 257*time.Second + time.Second/2,
		},
		"a log of 128 has no cells": {
			limits{of(backends.SlidingLog, 128, 128*second, event{0, 128})}, second / 2, slices.Repeat([]int64{1}, 129), 255*time.Second + time.Second/2, 255*time.Second + time.Second/2,
		},
		"the first has not passed yet although it takes exactly what is left": {
			limits{of(backends.SlidingWindow, 2, 10*second, event{0, 1})}, 0, []int64{1, 1, 1}, 15 * time.Second, 25 * time.Second,
		},
		"the first has not passed yet although there is room": {
			limits{of(backends.SlidingWindow, 2, 10*second)}, 0, []int64{1, 1, 1}, 10 * time.Second, 15 * time.Second,
		},
		"turns are rounded up to a microsecond": {
			limits{{algorithm: backends.TokenBucket, limit: 3, burst: 1, per: 1000, events: []event{{start, 1}}}},
			0, []int64{1, 1, 1}, 1002 * time.Microsecond, 1003 * time.Microsecond,
		},
		"one limit holds up requests that another allows at once": {
			limits{of(backends.TokenBucket, 1, 10*second, event{0, 1}), of(backends.SlidingLog, 5, 3600*second)},
			0, slices.Repeat([]int64{1}, 6), 3610 * time.Second, 3660*time.Second + 5*time.Microsecond,
		},
	} {
		t.Run(name, func(t *testing.T) {
			now := start + test.now
			truth := time.Duration(test.limits.clone().pass(now, test.costs)-now) * time.Microsecond
			require.Equal(t, test.truth, truth)
			estimate, _ := test.limits.estimateOf(now, test.costs)
			require.Equal(t, test.estimate, estimate)
		})
	}
}

// If all requests cost 1 and the first is not allowed yet, each period passes exactly the
// limit. A sliding window may still contain a different number of units, which makes the
// estimate up to a period too late.
func TestAnEstimateForRequestsOfCostOneIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawModel(t)
		l := limits{m}
		now := l.drawHistory(t)
		m.charge(now, m.remaining(now))
		costs := slices.Repeat([]int64{1}, rapid.IntRange(1, 60).Draw(t, "requests"))
		truth := time.Duration(l.clone().pass(now, costs)-now) * time.Microsecond
		estimate, _ := l.estimateOf(now, costs)
		per, requests := time.Duration(m.per)*time.Microsecond, time.Duration(len(costs))*time.Microsecond
		switch {
		case m.algorithm == backends.SlidingWindow:
			require.Less(t, estimate-truth, per)
		case m.algorithm == backends.SlidingLog && m.limit > 128:
			require.LessOrEqual(t, estimate-truth, per/64+requests)
		case m.burst > 0: // turns are not whole microseconds
			require.LessOrEqual(t, estimate-truth, requests)
		default:
			require.Equal(t, truth, estimate)
		}
	})
}

func TestAnEstimateDoesNotChangeFinalVerdicts(t *testing.T) {
	quota := func(cost int64, shadow bool) backends.Quota {
		q := bucket(5, time.Second).quota(cost)
		q.Shadow = shadow
		return q
	}
	q := &queue{loads: make([]load, 4)}
	addTo(q.loads, &waiter{quotas: []backends.Quota{quota(2, false), quota(2, true), quota(2, false), quota(2, false)}})
	w := &waiter{quotas: []backends.Quota{quota(1, false), quota(1, true), quota(6, false), quota(1, false)}}
	e := q.estimate(w, 0, q.loads)

	quotas := e.Quotas(3)
	require.Len(t, quotas, 5)
	for i, cost := range []int64{3, 1, 6, 3, 1} {
		require.Equal(t, cost, quotas[i].Cost, i)
		require.True(t, quotas[i].Tentative)
	}
	require.True(t, quotas[1].Shadow)
	require.False(t, quotas[4].Shadow)
	require.Zero(t, quotas[4].Limit)
	require.EqualValues(t, 1, w.quotas[0].Cost, "the request itself does not change")

	verdicts := []backends.Verdict{
		{RetryAfter: 3 * time.Second}, {Allowed: true, Remaining: 4}, {RetryAfter: -1}, {RetryAfter: time.Hour},
	}
	want := slices.Clone(verdicts)
	e.Correct(verdicts, func(i int) bool { return i == 3 })
	require.Equal(t, want, verdicts)
}

// The requests ahead are about to use the room that the limits have.
func TestTheStrictestLimitDeniesAnEstimateIfAllHaveRoom(t *testing.T) {
	room := func(remaining int64) backends.Verdict {
		return backends.Verdict{Allowed: true, Remaining: remaining}
	}
	soon := func(remaining int64) backends.Verdict {
		return backends.Verdict{Remaining: remaining, RetryAfter: retrySoon}
	}
	banned, never := backends.Verdict{RetryAfter: time.Hour}, backends.Verdict{RetryAfter: -1}
	for name, test := range map[string]struct {
		given, want []backends.Verdict
		shadow      bool // the first
	}{
		"one limit":          {[]backends.Verdict{room(4)}, []backends.Verdict{soon(4)}, false},
		"the first":          {[]backends.Verdict{room(2), room(4)}, []backends.Verdict{soon(2), room(4)}, false},
		"the second":         {[]backends.Verdict{room(4), room(2)}, []backends.Verdict{room(4), soon(2)}, false},
		"not a shadow limit": {[]backends.Verdict{room(2), room(4)}, []backends.Verdict{room(2), soon(4)}, true},
		"not besides a ban":  {[]backends.Verdict{banned, room(4)}, []backends.Verdict{banned, room(4)}, false},
		"not if waiting does not help": {
			[]backends.Verdict{room(4), never, room(2)}, []backends.Verdict{room(4), never, room(2)}, false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := &Estimate{quotas: make([]backends.Quota, len(test.given)), ahead: make([]load, len(test.given))}
			e.quotas[0].Shadow = test.shadow
			e.Quotas(0)
			e.Correct(test.given, func(i int) bool { return test.given[i] == banned })
			require.Equal(t, test.want, test.given)
		})
	}
}

func TestALimitBesideABanIsEstimatedToo(t *testing.T) {
	quota := bucket(1, time.Second).quota(1)
	ahead := load{requests: 3, units: 3, first: 1, largest: 1}
	e := &Estimate{quotas: []backends.Quota{quota, quota}, ahead: []load{ahead, ahead}}
	e.Quotas(0)
	verdicts := []backends.Verdict{{RetryAfter: time.Hour}, {RetryAfter: time.Second}}
	e.Correct(verdicts, func(i int) bool { return i == 0 })
	require.Equal(t, []backends.Verdict{{RetryAfter: time.Hour}, {RetryAfter: 4 * time.Second}}, verdicts)
}

func TestALimitWithRoomDoesNotDelayTheEstimate(t *testing.T) {
	l := limits{bucket(2, time.Second), bucket(100, time.Minute)}
	now := int64(1_000_000_000)
	for range 2 {
		l.pass(now, []int64{1})
	}
	estimate, verdicts := l.estimateOf(now, []int64{1, 1, 1, 1})
	require.Equal(t, 2*time.Second, estimate)
	require.False(t, verdicts[0].Allowed)
	require.True(t, verdicts[1].Allowed)
	require.Zero(t, verdicts[1].RetryAfter)
}

func TestAnEstimateDoesNotOverflow(t *testing.T) {
	for _, algorithm := range algorithms {
		for _, limit := range []int64{0, 1, backends.MaxLimit} {
			for _, burst := range []int64{0, 1, backends.MaxLimit} {
				own := backends.Quota{Algorithm: algorithm, Limit: limit, Burst: burst, Per: backends.MaxPer, Cost: min(1, limit)}
				for _, largest := range []int64{1, backends.MaxLimit} {
					q := &queue{}
					ahead := []load{{requests: 1000, units: 1000 * largest, first: 1, largest: largest}}
					e := q.estimate(&waiter{quotas: []backends.Quota{own}}, 0, ahead)
					cost := e.Quotas(0)[0].Cost
					require.GreaterOrEqual(t, cost, int64(0))
					require.LessOrEqual(t, cost, max(limit, burst))
					verdicts := []backends.Verdict{{RetryAfter: 150 * backends.MaxPer}} // the largest debt of a token bucket
					e.Correct(verdicts, nil)
					require.GreaterOrEqual(t, verdicts[0].RetryAfter, 100*backends.MaxPer)
				}
			}
		}
	}
}

// Calendar windows differ in length. No estimate may be earlier than the longest, and no
// request may be given up before the shortest.
func TestCalendarWindowsDifferInLength(t *testing.T) {
	const day = 24 * time.Hour
	for per, bounds := range map[time.Duration][2]time.Duration{
		day:       {23 * time.Hour, 25 * time.Hour},
		7 * day:   {7*day - time.Hour, 7*day + time.Hour},
		30 * day:  {28*day - time.Hour, 31*day + time.Hour},
		365 * day: {365 * day, 366 * day},
	} {
		q := backends.Quota{Algorithm: backends.FixedWindow, Per: per, Calendar: time.UTC}
		require.LessOrEqual(t, shortestWindow(&q), bounds[0])
		require.GreaterOrEqual(t, longestWindow(&q), bounds[1])
		q.Calendar = nil
		require.Equal(t, [2]time.Duration{per, per}, [2]time.Duration{shortestWindow(&q), longestWindow(&q)})
	}
}
