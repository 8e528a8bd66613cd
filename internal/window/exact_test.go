package window

import (
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The models keep every event and calculate with exact fractions. They implement the
// definitions of the algorithms and share no formula with them.

func rat(a, b int64) *big.Rat { return big.NewRat(a, b) }

func ceiling(r *big.Rat) int64 {
	q, m := new(big.Int).DivMod(r.Num(), r.Denom(), new(big.Int))
	if m.Sign() > 0 {
		q.Add(q, big.NewInt(1))
	}
	return q.Int64()
}

func floor(r *big.Rat) int64 { return -ceiling(new(big.Rat).Neg(r)) }

// between returns the units of the events in [from, to).
func between(events []Cell, from, to int64) (units int64) {
	for _, e := range events {
		if from <= e.Time && e.Time < to {
			units += e.Units
		}
	}
	return units
}

// refundNewest removes units from the newest events in [from, ...).
func refundNewest(events []Cell, from, units int64) {
	for i := len(events) - 1; i >= 0 && events[i].Time >= from; i-- {
		back := min(units, events[i].Units)
		events[i].Units -= back
		units -= back
	}
}

// models return the units used at a time, and the time from which events count.
var models = map[string]func(events []Cell, now int64, c Charge) (used, since int64){
	"fixed": func(events []Cell, now int64, c Charge) (int64, int64) {
		start := now - now%c.Per
		return between(events, start, start+c.Per), start
	},
	"sliding": func(events []Cell, now int64, c Charge) (int64, int64) {
		start := now - now%c.Per
		covered := rat(c.Per-1-(now-start), c.Per) // the part of the previous window that a rolling window covers
		covered.Mul(covered, rat(between(events, start-c.Per, start), 1))
		return floor(covered) + between(events, start, start+c.Per), start - c.Per
	},
	"log": func(events []Cell, now int64, c Charge) (int64, int64) {
		return between(events, now-c.Per+1, now+1), now - c.Per + 1
	},
}

// The clock never steps back here, because the definitions do not cover that case.
func TestDecisionsMatchAModelThatKeepsEveryEvent(t *testing.T) {
	for i, a := range algorithms() {
		model, ok := models[a.name]
		if !ok {
			continue
		}
		t.Run(a.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				a, events := algorithms()[i], []Cell{}
				c := drawLimit(t)
				if a.name == "log" {
					c.Limit = min(c.Limit, exactLimit)
				}
				now := drawStart(t, c.Per)
				for range rapid.IntRange(1, 60).Draw(t, "charges") {
					used, since := model(events, now, c)
					c.Cost = drawCost(t, c, max(0, c.Limit-used))
					want := c.Cost == 0 && used <= c.Limit || used+c.Cost <= c.Limit
					c.Forced = rapid.IntRange(0, 9).Draw(t, "forced") == 0 && c.Limit <= 1_000_000 && c.Cost <= c.Limit
					switch {
					case c.Cost > 0 && rapid.IntRange(0, 9).Draw(t, "refund") == 0:
						c.Cost, want = -c.Cost, true
						refundNewest(events, since, -c.Cost)
					case want || c.Forced && c.Cost > 0:
						want = true
						events = append(events, Cell{now, c.Cost})
					}
					v := a.take(now, c)
					require.Equal(t, want, v.Allowed())
					used, _ = model(events, now, c)
					require.Equal(t, max(0, c.Limit-used), v.Remaining)
					now += drawPause(t, now, c, v.RetryAfter)
				}
			})
		})
	}
}

// exactBucket decides one charge of a bucket in exact fractions, for any state and limit.
func exactBucket(s Bucket, now int64, c Charge) (tat *big.Rat, allowed bool, v Verdict) {
	part := rat(s.Frac, c.Limit)
	if s.Frac >= c.Limit {
		part = rat(min(1, s.Frac), 1)
	}
	clock := rat(now, 1)
	debt := new(big.Rat).Add(rat(s.TAT-now, 1), part)
	if debt.Sign() < 0 {
		debt = new(big.Rat)
	}
	unit := rat(c.Per, c.Limit)
	price := new(big.Rat).Mul(unit, rat(c.Cost, 1))
	full := new(big.Rat).Mul(unit, rat(capacity(c), 1))
	excess := new(big.Rat).Add(debt, price)
	excess.Sub(excess, full)
	allowed = c.Cost < 0 || excess.Sign() <= 0 || c.Forced && c.Cost > 0
	switch {
	case allowed:
		debt.Add(debt, price)
		if debt.Sign() < 0 {
			debt = new(big.Rat)
		}
	case c.Cost > capacity(c):
		v.RetryAfter = never
	default:
		v.RetryAfter = ceiling(excess)
	}
	v.ResetAfter = ceiling(debt)
	room := new(big.Rat).Sub(full, debt)
	v.Remaining = max(0, floor(room.Quo(room, unit)))
	return clock.Add(clock, debt), allowed, v
}

func TestABucketCalculatesInExactFractions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := algorithms()[2]
		b := a.limiter.(*bucket)
		var want Verdict
		var allowed bool
		var tat *big.Rat
		simulate(t, a, false,
			func(now int64, c Charge) { tat, allowed, want = exactBucket(b.Bucket, now, c) },
			func(_ int64, c Charge, v Verdict) {
				require.Equal(t, want, v)
				require.Equal(t, allowed, v.Allowed())
				if v.Allowed() && c.Cost != 0 {
					require.Zero(t, tat.Cmp(new(big.Rat).Add(rat(b.TAT, 1), rat(b.Frac, c.Limit))))
				}
			})
	})
}

// The debt is a single sum, the units times their price minus the elapsed time, without any
// rounding in between.
func TestTheDebtOfABucketIsTheExactSumOfItsHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b Bucket
		c := drawLimit(t)
		now := drawStart(t, c.Per)
		tat := new(big.Rat)
		for range 60 {
			c.Cost = min(capacity(c), rapid.Int64Range(1, 5).Draw(t, "cost"))
			next, v := b.Take(now, &c)
			if v.Allowed() {
				if tat.Cmp(rat(now, 1)) < 0 {
					tat = rat(now, 1)
				}
				tat.Add(tat, new(big.Rat).Mul(rat(c.Cost, 1), rat(c.Per, c.Limit)))
				require.Zero(t, tat.Cmp(new(big.Rat).Add(rat(next.TAT, 1), rat(next.Frac, c.Limit))))
			}
			b = next
			now = min(1<<52, now+drawPause(t, now, c, v.RetryAfter))
		}
	})
}

// A sliding window has no rounding error that could grow: after any number of charges its
// state equals two exact counts.
func TestASlidingWindowDoesNotDrift(t *testing.T) {
	const per = 999_983
	var s Sliding
	c := Charge{Limit: 700_001, Per: per, Cost: 1}
	counts, now, granted := map[int64]int64{}, int64(1<<50), 0
	for granted < 1_000_000 {
		next, v := s.Take(now, &c)
		if s = next; v.Allowed() {
			counts[now/per]++
			granted++
			continue
		}
		now += v.RetryAfter
	}
	require.Equal(t, counts[now/per], s.Current)
	require.Equal(t, counts[now/per-1], s.Previous)
}

// A log with a high limit returns a RetryAfter at most one slot longer than a log that
// keeps every charge.
func TestRetryAfterOfACoarseLogIsAtMostASlotLonger(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l, events := &log{}, []Cell{}
		c := Charge{Limit: rapid.Int64Range(129, 400).Draw(t, "limit"), Per: rapid.Int64Range(1000, 50_000).Draw(t, "per")}
		now := drawStart(t, c.Per)
		for range 150 {
			c.Cost = rapid.Int64Range(1, c.Limit/8).Draw(t, "cost")
			v := l.take(now, c)
			if v.Allowed() {
				events = append(events, Cell{now, c.Cost})
			} else {
				slot := (c.Per + exactLimit - 1) / exactLimit
				exact := retryAfter(events, between(events, 0, now+1), now, &c)
				require.Less(t, v.RetryAfter, max(0, exact)+slot)
			}
			now += drawPause(t, now, c, v.RetryAfter) / 16
		}
	})
}

// Charges that count at the same time can occupy 129 slots of the grid.
func TestALogCanUseAllOfItsCells(t *testing.T) {
	l := &log{}
	c := Charge{Limit: 1280, Per: 1280, Cost: 1}
	for now := int64(1280 + 9); now < 1280+9+c.Per; now++ {
		l.take(now, c)
	}
	require.Len(t, l.Cells, MaxCells)
}

// Charges recorded under a limit of 100, to the microsecond, still count when the limit
// becomes 1000, within the same number of cells, and the other way round.
func TestALogKeepsItsHistoryWhenItsCellWidthChanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l, events := &log{}, []Cell{}
		c, now := Charge{Per: 1280}, int64(1<<50)
		for range 300 {
			c.Limit = rapid.SampledFrom([]int64{1, 100, 128, 129, 1000}).Draw(t, "limit")
			c.Cost = rapid.Int64Range(1, 3).Draw(t, "cost")
			c.Forced = rapid.Bool().Draw(t, "forced")
			v := l.take(now, c)
			if v.Allowed() {
				events = append(events, Cell{now, c.Cost})
			}
			used := between(events, now-c.Per+1, now+1)
			require.LessOrEqual(t, v.Remaining, max(0, c.Limit-used), "a charge was lost")
			require.LessOrEqual(t, len(l.Cells), MaxCells)
			now += rapid.Int64Range(0, 12).Draw(t, "pause")
		}
	})
}
