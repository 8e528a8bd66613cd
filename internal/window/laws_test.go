package window

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// These laws hold for every algorithm, on histories that mix costs, peeks, refunds, forced
// charges, changing limits and a clock that steps back.

// algorithm is a limiter with what the laws need to know about it.
type algorithm struct {
	limiter
	name string

	// copy returns an independent limiter in the same state.
	copy func() limiter

	// reached returns the time from which a charge counts: the clock's, or that of the
	// state if it is later.
	reached func(now int64) int64

	// bound returns the most units that a rolling window admits.
	bound func(c Charge) int64
}

func algorithms() []algorithm {
	f, s, b, l := &fixed{}, &sliding{}, &bucket{}, &log{}
	return []algorithm{{
		f, "fixed", func() limiter { return &fixed{f.Fixed} },
		func(now int64) int64 { return max(now, f.Start) },
		func(c Charge) int64 { return 2 * c.Limit },
	}, {
		s, "sliding", func() limiter { return &sliding{s.Sliding} },
		func(now int64) int64 { return max(now, s.Start) },
		func(c Charge) int64 { return 2 * c.Limit },
	}, {
		b, "bucket", func() limiter { return &bucket{b.Bucket} },
		func(now int64) int64 { return now },
		func(c Charge) int64 { return capacity(c) + c.Limit },
	}, {
		l, "log", func() limiter { return &log{Log{slices.Clone(l.Cells)}} },
		func(now int64) int64 { return l.Log.reached(now) },
		func(c Charge) int64 { return c.Limit },
	}}
}

// capacity returns the most units that an unused bucket allows at once.
func capacity(c Charge) int64 {
	if c.Burst > 0 {
		return c.Burst
	}
	return c.Limit
}

// full returns the Remaining of an unused state.
func (a algorithm) full(c Charge) int64 {
	if a.name == "bucket" && c.Limit > 0 {
		return capacity(c)
	}
	return c.Limit
}

func (a algorithm) peek(now int64, c Charge) Verdict {
	c.Cost, c.Forced = 0, false
	return a.copy().take(now, c)
}

const day = 24 * 3600 * second

// limits range from the smallest to the largest limit and period.
var limits = []Charge{
	{Limit: 1, Per: 30 * day}, {Limit: 1, Per: 1000}, {Limit: 3, Per: second}, {Limit: 7, Per: 1001},
	{Limit: 100, Per: 60 * second}, {Limit: 128, Per: 1279}, {Limit: 129, Per: 1280}, {Limit: 1000, Per: 3600 * second},
	{Limit: 1_000_000, Per: second}, {Limit: 700_001, Per: 1000}, {Limit: MaxLimit, Per: MaxPeriod}, {Limit: MaxLimit, Per: 1000},
	{Limit: 10, Per: 10 * second, Burst: 3}, {Limit: 7, Per: second, Burst: 20}, {Limit: 1, Per: MaxPeriod, Burst: 100},
}

func drawLimit(t *rapid.T) Charge {
	if c := rapid.SampledFrom(limits).Draw(t, "limit"); rapid.Bool().Draw(t, "well-known") {
		return c
	}
	c := Charge{Limit: rapid.Int64Range(1, 400).Draw(t, "limit"), Per: rapid.Int64Range(1000, 100_000).Draw(t, "per")}
	c.Burst = rapid.SampledFrom([]int64{0, 0, 1, c.Limit, 2*c.Limit + 1}).Draw(t, "burst")
	return c
}

func drawStart(t *rapid.T, per int64) int64 {
	start := rapid.SampledFrom([]int64{0, 1 << 50, 1<<52 - 300*MaxPeriod/10}).Draw(t, "epoch")
	return start + rapid.Int64Range(0, 2*per).Draw(t, "offset")
}

// drawPause prefers the boundaries: no pause, the price of a unit, and just before, at or
// after the end of a window or of a denial.
func drawPause(t *rapid.T, now int64, c Charge, retry int64) int64 {
	edge := c.Per - now%c.Per
	off := rapid.Int64Range(-1, 1).Draw(t, "off")
	return max(0, rapid.SampledFrom([]int64{
		0, 1, c.Per/c.Limit + off, c.Per/128 + off, c.Per/7 + off, edge + off, c.Per + off, 2*c.Per + off, max(0, retry) + off,
		rapid.Int64Range(0, c.Per).Draw(t, "pause"),
	}).Draw(t, "until"))
}

func drawCost(t *rapid.T, c Charge, remaining int64) int64 {
	return min(MaxLimit, rapid.SampledFrom([]int64{
		0, 1, 1, 2, max(1, remaining), remaining + 1, max(1, c.Limit), c.Limit + 1, max(1, c.Limit/3), MaxLimit,
	}).Draw(t, "cost"))
}

// simulate charges a limiter at random and calls before and after for each charge. With
// steady, the limit does not change and no charge is forced.
func simulate(t *rapid.T, a algorithm, steady bool, before func(now int64, c Charge), after func(now int64, c Charge, v Verdict)) {
	base := drawLimit(t)
	now, retry := drawStart(t, base.Per), int64(0)
	backward := rapid.Bool().Draw(t, "clock steps back")
	for range rapid.IntRange(1, 50).Draw(t, "charges") {
		c := base
		c.Cost = drawCost(t, c, a.peek(now, c).Remaining)
		switch action := rapid.IntRange(0, 19).Draw(t, "action"); {
		case action == 0 && !(steady && backward):
			// A log whose newest cell was refunded loses the time it has reached, so the
			// bound holds only for histories without a refund or without a step back.
			c.Cost = -c.Cost
		case action == 1 && backward:
			now = max(0, now-rapid.Int64Range(0, 2*c.Per).Draw(t, "step back"))
		case action == 2 && !steady:
			c.Forced = true // but never up to saturation, which has a test of its own
			c.Cost = min(c.Cost, 3*c.Limit, MaxLimit/50)
		case action == 3 && !steady:
			base.Limit = rapid.SampledFrom([]int64{1, c.Limit/2 + 1, c.Limit + 1, 100, 200, MaxLimit}).Draw(t, "new limit")
			base.Limit = min(base.Limit, MaxLimit)
			base.Burst = 0
			continue
		}
		before(now, c)
		v := a.take(now, c)
		retry = v.RetryAfter
		after(now, c, v)
		if now += drawPause(t, now, c, retry); now > 1<<52 {
			return
		}
	}
}

func forEach(t *testing.T, law func(t *rapid.T, a algorithm)) {
	for i, a := range algorithms() {
		t.Run(a.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) { law(t, algorithms()[i]) })
		})
	}
}

// worstWindow returns the most units in any window [t, t+per).
func worstWindow(events []Cell, per int64) (units int64) {
	events = slices.Clone(events)
	slices.SortStableFunc(events, func(a, b Cell) int { return int(min(1, max(-1, a.Time-b.Time))) })
	first, now := 0, int64(0)
	for _, e := range events {
		for events[first].Time+per <= e.Time {
			now -= events[first].Units
			first++
		}
		now += e.Units
		units = max(units, now)
	}
	return units
}

func TestNoRollingWindowAdmitsMoreThanTheBound(t *testing.T) {
	ratios := map[string]float64{}
	forEach(t, func(t *rapid.T, a algorithm) {
		var events []Cell
		var limit Charge
		simulate(t, a, true, func(int64, Charge) {}, func(now int64, c Charge, v Verdict) {
			limit = c
			switch {
			case c.Cost > 0 && v.Allowed():
				at := a.reached(now)
				if n := len(events); n > 0 && a.name == "bucket" {
					at = max(at, events[n-1].Time)
				}
				events = append(events, Cell{at, c.Cost})
			case c.Cost < 0:
				events = refund(events, now, &Charge{Cost: c.Cost})
			}
		})
		got, bound := worstWindow(events, limit.Per), a.bound(limit)
		require.LessOrEqual(t, got, bound)
		ratios[a.name] = max(ratios[a.name], float64(got)/float64(bound))
	})
	for name, ratio := range ratios {
		t.Logf("%s: the worst rolling window reached %.3f of its bound", name, ratio)
	}
}

// The bounds are tight: a client that knows them can reach them.
func TestTheBoundsAreTight(t *testing.T) {
	c := Charge{Limit: 100, Per: 60 * second}
	for _, a := range algorithms() {
		var events []Cell
		start := 1000 * c.Per
		for _, now := range []int64{start + c.Per - 1, start + c.Per, start + 3*c.Per/2, start + 2*c.Per - 2} {
			for range 100 {
				c.Cost = 1
				if a.take(now, c).Allowed() {
					events = append(events, Cell{now, 1})
				}
			}
		}
		got, bound := worstWindow(events, c.Per), a.bound(c)
		t.Logf("%s: %d of %d", a.name, got, bound)
		require.GreaterOrEqual(t, got, bound-1)
	}
}

func TestADeniedChargeAndAPeekChangeNothing(t *testing.T) {
	forEach(t, func(t *rapid.T, a algorithm) {
		var was limiter
		simulate(t, a, false, func(int64, Charge) { was = a.copy() }, func(_ int64, c Charge, v Verdict) {
			if !v.Allowed() || c.Cost == 0 {
				require.Equal(t, was, a.copy())
			}
		})
	})
}

func TestRetryAfterIsExact(t *testing.T) {
	forEach(t, func(t *rapid.T, a algorithm) {
		simulate(t, a, false, func(int64, Charge) {}, func(now int64, c Charge, v Verdict) {
			switch {
			case v.Allowed():
				require.Zero(t, v.RetryAfter)
			case c.Cost > a.full(c):
				require.Equal(t, never, v.RetryAfter)
			default:
				require.Positive(t, v.RetryAfter)
				require.True(t, a.copy().take(now+v.RetryAfter, c).Allowed(), "denied at its RetryAfter")
				require.False(t, a.copy().take(now+v.RetryAfter-1, c).Allowed(), "allowed before its RetryAfter")
			}
		})
	})
}

func TestResetAfterAndExpiresAreExact(t *testing.T) {
	forEach(t, func(t *rapid.T, a algorithm) {
		simulate(t, a, false, func(int64, Charge) {}, func(now int64, c Charge, v Verdict) {
			full := a.full(c)
			require.Equal(t, full, a.peek(now+v.ResetAfter, c).Remaining)
			if v.ResetAfter > 0 {
				require.Less(t, a.peek(now+v.ResetAfter-1, c).Remaining, full)
				expires := now + v.ResetAfter
				if a.name == "sliding" { // it keeps its state until the end of the window
					expires = (expires + c.Per - 1) / c.Per * c.Per
				}
				require.Equal(t, expires, a.limiter.expires(c.Per))
			}
			end := max(now, a.limiter.expires(c.Per))
			require.Equal(t, full, a.peek(end, c).Remaining)
		})
	})
}

func TestRemainingIsWhatCanBeCharged(t *testing.T) {
	forEach(t, func(t *rapid.T, a algorithm) {
		simulate(t, a, false, func(int64, Charge) {}, func(now int64, c Charge, v Verdict) {
			require.GreaterOrEqual(t, v.Remaining, int64(0))
			require.LessOrEqual(t, v.Remaining, a.full(c))
			require.Equal(t, v.Remaining, a.peek(now, c).Remaining)
			c.Forced = false
			if c.Cost = v.Remaining; c.Cost > 0 {
				require.True(t, a.copy().take(now, c).Allowed())
			}
			if c.Cost++; c.Cost <= MaxLimit {
				require.False(t, a.copy().take(now, c).Allowed())
			}
		})
	})
}

func TestARefundRestoresTheUnitsTaken(t *testing.T) {
	forEach(t, func(t *rapid.T, a algorithm) {
		var was Verdict
		var later []Verdict
		var times []int64
		simulate(t, a, false, func(now int64, c Charge) {
			was, later, times = a.peek(now, c), nil, []int64{now + 1, now + c.Per/3, now + c.Per, now + 2*c.Per}
			for _, at := range times {
				later = append(later, a.peek(at, c))
			}
		}, func(now int64, c Charge, v Verdict) {
			if c.Cost <= 0 || !v.Allowed() || c.Forced {
				return
			}
			back := algorithm{limiter: a.copy()}
			c.Cost = -c.Cost
			v = back.take(now, c)
			require.True(t, v.Allowed())
			require.Equal(t, was.Remaining, v.Remaining)
			c.Cost = 0
			for i, at := range times {
				if a.name != "log" || c.Limit <= exactLimit { // a shared cell keeps the newer time
					require.Equal(t, later[i].Remaining, back.take(at, c).Remaining)
				}
			}
			c.Cost = -MaxLimit
			for range 10 { // more than was ever taken
				v = back.take(now, c)
			}
			require.Equal(t, a.full(c), v.Remaining)
		})
	})
}

func TestAClockThatRunsBackwardsAdmitsNoMore(t *testing.T) {
	forEach(t, func(t *rapid.T, a algorithm) {
		simulate(t, a, false, func(int64, Charge) {}, func(now int64, c Charge, v Verdict) {
			if c.Cost <= 0 || !v.Allowed() {
				return
			}
			reached := a.reached(now)
			back := reached - rapid.Int64Range(0, min(reached, 2*c.Per)).Draw(t, "back")
			c.Forced = false
			c.Cost = rapid.Int64Range(1, c.Limit).Draw(t, "then")
			early, late := a.copy(), a.copy()
			v, onTime := early.take(back, c), late.take(reached, c)
			require.False(t, v.Allowed() && !onTime.Allowed(), "allowed only at the earlier time")
			if v.Allowed() { // once the clock is right again
				require.LessOrEqual(t, v.Remaining, onTime.Remaining)
				c.Cost = 0
				require.LessOrEqual(t, early.take(reached, c).Remaining, late.take(reached, c).Remaining)
			}
		})
	})
}

func TestANewLimitAppliesAtOnceAndKeepsTheUsedUnits(t *testing.T) {
	forEach(t, func(t *rapid.T, a algorithm) {
		simulate(t, a, false, func(int64, Charge) {}, func(now int64, c Charge, _ Verdict) {
			if a.name == "bucket" {
				return // it stores time, not units; TestABucketCalculatesInExactFractions covers it
			}
			changed := c
			changed.Limit = rapid.SampledFrom([]int64{0, 1, c.Limit / 2, c.Limit, MaxLimit}).Draw(t, "other limit")
			// The largest limit shows the used units.
			c.Limit = MaxLimit
			used := MaxLimit - a.peek(now, c).Remaining
			if used == MaxLimit {
				return
			}
			require.Equal(t, max(0, changed.Limit-used), a.peek(now, changed).Remaining)
			require.Equal(t, used <= changed.Limit, a.peek(now, changed).Allowed())
		})
	})
}

func TestALimitOfZeroDeniesEveryCost(t *testing.T) {
	for _, a := range algorithms() {
		c := Charge{Limit: 0, Per: second, Burst: 5, Cost: 1}
		require.Equal(t, denied(0, 0, never), a.take(1<<50, c), a.name)
		c.Cost = 0
		require.Equal(t, allowed(0, 0), a.take(1<<50, c), a.name)
		c.Cost = -1
		require.Equal(t, allowed(0, 0), a.take(1<<50, c), a.name)
	}
}

// Doubles stop being exact integers at 2^53.
func TestStatesAndVerdictsAreExactAsDoubles(t *testing.T) {
	const exact = 1 << 53
	forEach(t, func(t *rapid.T, a algorithm) {
		simulate(t, a, false, func(int64, Charge) {}, func(_ int64, c Charge, v Verdict) {
			for _, n := range []int64{v.Remaining, v.ResetAfter, v.RetryAfter, a.limiter.expires(c.Per)} {
				require.Less(t, n, int64(exact))
				require.GreaterOrEqual(t, n, never)
			}
			if l, ok := a.limiter.(*log); ok {
				require.LessOrEqual(t, len(l.Cells), MaxCells)
			}
		})
	})
}
