package window

import (
	"fmt"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

const second = 1_000_000

// limiter stores its own state, which makes histories short to write.
type limiter interface {
	take(now int64, c Charge) Verdict
	expires(per int64) int64
}

type (
	fixed   struct{ Fixed }
	sliding struct{ Sliding }
	bucket  struct{ Bucket }
	log     struct{ Log }
)

func (s *fixed) take(now int64, c Charge) (v Verdict)   { s.Fixed, v = s.Take(now, &c); return v }
func (s *sliding) take(now int64, c Charge) (v Verdict) { s.Sliding, v = s.Take(now, &c); return v }
func (s *bucket) take(now int64, c Charge) (v Verdict)  { s.Bucket, v = s.Take(now, &c); return v }
func (s *log) take(now int64, c Charge) (v Verdict)     { s.Log, v = s.Take(now, &c); return v }

func (s *fixed) expires(per int64) int64   { return s.Expires(per) }
func (s *sliding) expires(per int64) int64 { return s.Expires(per) }
func (s *bucket) expires(int64) int64      { return s.Expires() }
func (s *log) expires(per int64) int64     { return s.Expires(per) }

var limiters = map[string]func() limiter{
	"fixed":   func() limiter { return &fixed{} },
	"sliding": func() limiter { return &sliding{} },
	"bucket":  func() limiter { return &bucket{} },
	"log":     func() limiter { return &log{} },
}

// step is a charge at a time and the expected verdict.
type step struct {
	now  int64
	cost int64
	want Verdict
}

func allowed(remaining, reset int64) Verdict {
	return Verdict{Remaining: remaining, ResetAfter: reset}
}
func denied(remaining, reset, retry int64) Verdict {
	return Verdict{Remaining: remaining, ResetAfter: reset, RetryAfter: retry}
}

// All of them allow 4 units in 10 seconds, in windows that begin at multiples of ten.
func TestHistoriesWorkedByHand(t *testing.T) {
	const per = 10 * second
	for name, steps := range map[string][]step{
		"fixed": {
			{103 * second, 3, allowed(1, 7*second)},
			{105 * second, 2, denied(1, 5*second, 5*second)},
			{105 * second, 1, allowed(0, 5*second)},
			{109 * second, 1, denied(0, second, second)},
			{109 * second, 5, denied(0, second, -1)},
			{110 * second, 4, allowed(0, 10*second)},
			{104 * second, 1, denied(0, 16*second, 16*second)}, // the clock ran backwards
			{120 * second, 1, allowed(3, 10*second)},
		},
		"sliding": {
			{103 * second, 4, allowed(0, 14500000)},          // at 117.5 s less than one of the 4 is left
			{109 * second, 1, denied(0, 8500000, second)},    // at 110 s less than 4 are left
			{110*second - 1, 1, denied(0, 7500001, 1)},       // all 4 still count
			{110 * second, 1, allowed(0, 10*second)},         // 3 old units, 1 new
			{115 * second, 1, allowed(1, 10*second)},         // 1 old unit (1.9999996 rounded down), 2 new
			{115 * second, 2, denied(1, 10*second, 2500000)}, // at 117.5 s no old unit is left
			{117500000 - 1, 2, denied(1, 7500001, 1)},
			{117500000, 2, allowed(0, 10*second)}, // 4 new units
			{118 * second, 5, denied(0, 9500000, -1)},
			{120 * second, 2, denied(1, 7500000, 2500000)},     // 3 old units, 2 at 122.5 s
			{122500000, 2, allowed(0, 12500000)},               // 2 old units, 2 new
			{108 * second, 1, denied(0, 27*second, 17*second)}, // the clock ran backwards
			{139 * second, 2, allowed(2, 6*second)},            // 0.2 old units rounded down, 2 new
		},
		"bucket": { // a unit comes back every 2.5 s
			{100 * second, 4, allowed(0, 10*second)},
			{102 * second, 1, denied(0, 8*second, 500000)},
			{102500000, 1, allowed(0, 10*second)},
			{105 * second, 2, denied(1, 7500000, 2500000)},
			{105 * second, 5, denied(1, 7500000, -1)},
			{120 * second, 1, allowed(3, 2500000)},
			{110 * second, 1, denied(0, 12500000, 5*second)}, // the clock ran backwards
		},
		"log": {
			{100 * second, 1, allowed(3, 10*second)},
			{103 * second, 2, allowed(1, 10*second)},
			{105 * second, 2, denied(1, 8*second, 5*second)}, // the first unit leaves at 110 s
			{105 * second, 3, denied(1, 8*second, 8*second)}, // the next two leave at 113 s
			{105 * second, 1, allowed(0, 10*second)},
			{110*second - 1, 1, denied(0, 5000001, 1)},
			{110 * second, 1, allowed(0, 10*second)},
			{101 * second, 1, denied(0, 19*second, 12*second)}, // the clock ran backwards
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := limiters[name]()
			for i, s := range steps {
				require.Equal(t, s.want, l.take(s.now, Charge{Limit: 4, Per: per, Cost: s.cost}), "step %d", i+1)
			}
		})
	}
}

func TestABucketAllowsItsBurst(t *testing.T) {
	b := &bucket{}
	c := Charge{Limit: 10, Per: 10 * second, Burst: 3, Cost: 1}
	for _, remaining := range []int64{2, 1, 0} {
		require.Equal(t, remaining, b.take(0, c).Remaining)
	}
	require.Equal(t, denied(0, 3*second, second), b.take(0, c))
	c.Burst, c.Cost = 15, 12
	require.Equal(t, allowed(0, 15*second), b.take(0, c))
}

// A refill rate that is not a whole number of microseconds must stay exact: after each
// period, exactly the limit has been granted.
func TestABucketDoesNotDrift(t *testing.T) {
	for _, limit := range []int64{3, 7, 700_001, 1_000_000} {
		b := &bucket{}
		c := Charge{Limit: limit, Per: second, Cost: 1}
		now, granted := int64(1<<50), int64(0)
		for granted < 1_000_000 {
			v := b.take(now, c)
			if v.Allowed() {
				granted++
			} else {
				now += v.RetryAfter
			}
		}
		// The burst is free, the rest took as long as it must, rounded up.
		took := new(big.Int).Mul(big.NewInt(granted-limit), big.NewInt(second))
		took.Add(took, big.NewInt(limit-1)).Div(took, big.NewInt(limit))
		require.Equal(t, took.Int64(), now-1<<50, "%d per second", limit)
		require.Equal(t, int64(second), b.take(now, Charge{Limit: limit, Per: second}).ResetAfter)
	}
}

func TestALogNeverExceedsMaxCells(t *testing.T) {
	for _, limit := range []int64{1, 128, 129, 1_000_000} {
		rapid.Check(t, func(t *rapid.T) {
			per := rapid.SampledFrom([]int64{1000, 1001, 1279, 1280, 12_345, second}).Draw(t, "per")
			l := &log{}
			now := rapid.Int64Range(1<<50, 1<<50+per).Draw(t, "start")
			for range 400 {
				c := Charge{Limit: limit, Per: per, Cost: 1}
				l.take(now, c)
				require.LessOrEqual(t, len(l.Cells), MaxCells)
				now += rapid.Int64Range(0, per/100).Draw(t, "pause")
			}
		})
	}
}

// A log with a high limit may deny longer than a log that keeps every charge, but by at
// most 1/128 of the period.
func TestACoarseLogDeniesAtMostOneSlotLonger(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const per = 128_000
		coarse, charges := &log{}, []Cell{}
		now := int64(1 << 50)
		for range 300 {
			now += rapid.Int64Range(0, 2000).Draw(t, "pause")
			v := coarse.take(now, Charge{Limit: 200, Per: per, Cost: 1})
			alive := int64(0)
			for _, cell := range charges {
				if cell.Time > now-per-per/128 {
					alive += cell.Units
				}
			}
			if v.Allowed() {
				charges = append(charges, Cell{now, 1})
			} else {
				require.GreaterOrEqual(t, alive, int64(200), "denied although the last 129/128 periods leave room")
			}
		}
	})
}

func TestNothingOverflowsAtTheExtremes(t *testing.T) {
	costs := []int64{1, MaxLimit, -MaxLimit, 0, MaxLimit / 3}
	for name, fresh := range limiters {
		for _, limit := range []int64{0, 1, MaxLimit} {
			for _, per := range []int64{1000, second, MaxPeriod} {
				l, now := fresh(), int64(1<<51)
				for i := range 200 {
					c := Charge{Limit: limit, Per: per, Burst: []int64{0, 1, MaxLimit}[i%3], Cost: costs[i%len(costs)], Forced: i%7 < 3}
					v := l.take(now, c)
					id := fmt.Sprintf("%s of %+v", name, c)
					require.GreaterOrEqual(t, v.Remaining, int64(0), id)
					require.LessOrEqual(t, v.Remaining, MaxLimit, id)
					require.GreaterOrEqual(t, v.ResetAfter, int64(0), id)
					require.LessOrEqual(t, v.ResetAfter, MaxDebt, id)
					require.GreaterOrEqual(t, v.RetryAfter, int64(-1), id)
					require.LessOrEqual(t, v.RetryAfter, MaxDebt, id)
					now += per / 3
				}
			}
		}
	}
}

func TestAnExpiredStateIsEquivalentToANewOne(t *testing.T) {
	for name, fresh := range limiters {
		rapid.Check(t, func(t *rapid.T) {
			c := Charge{
				Limit: rapid.Int64Range(1, 300).Draw(t, "limit"), Per: rapid.Int64Range(1000, 5000).Draw(t, "per"), Cost: 1,
			}
			l, now := fresh(), int64(1<<50)
			for range rapid.IntRange(1, 30).Draw(t, "charges") {
				now += rapid.Int64Range(0, 3000).Draw(t, "pause")
				c.Cost = rapid.Int64Range(-2, c.Limit).Draw(t, "cost")
				l.take(now, c)
			}
			now = max(now, l.expires(c.Per))
			c.Cost = 1
			require.Equal(t, fresh().take(now, c), l.take(now, c), name)
		})
	}
}

func TestDecisionsDoNotAllocate(t *testing.T) {
	c := Charge{Limit: 100, Per: 777_777, Cost: 1}
	for name, fresh := range limiters {
		l, now := fresh(), int64(1<<50)
		for range 1000 { // the cells of a log are allocated once
			now += 5000
			l.take(now, c)
		}
		require.Zero(t, testing.AllocsPerRun(1000, func() {
			now += 5000
			l.take(now, c)
		}), name)
	}
}

func FuzzMulDiv(f *testing.F) {
	f.Add(int64(1), int64(1), int64(1))
	f.Add(MaxLimit, MaxPeriod, int64(1))
	f.Add(MaxUnits, MaxPeriod, MaxLimit)
	f.Add(int64(7), int64(0), int64(0))
	f.Add(2*MaxDebt+1, int64(1), int64(2)) // the largest quotient, with a remainder
	f.Fuzz(func(t *testing.T, a, b, c int64) {
		if a < 0 || b < 0 || c < 0 {
			return
		}
		q, r := mulDiv(a, b, c)
		if c == 0 {
			require.Equal(t, MaxDebt, q)
			return
		}
		wantQ, wantR := new(big.Int).QuoRem(new(big.Int).Mul(big.NewInt(a), big.NewInt(b)), big.NewInt(c), new(big.Int))
		if wantQ.Cmp(big.NewInt(MaxDebt)) > 0 {
			wantQ, wantR = big.NewInt(MaxDebt), big.NewInt(0)
		}
		require.Equal(t, []int64{wantQ.Int64(), wantR.Int64()}, []int64{q, r})
	})
}

func ExampleSliding_Take() {
	var s Sliding
	c := Charge{Limit: 4, Per: 10 * second, Cost: 4}
	s, _ = s.Take(103*second, &c)
	c.Cost = 1
	_, v := s.Take(109*second, &c)
	fmt.Printf("%+v\n", v)
	// Output: {Remaining:0 ResetAfter:8500000 RetryAfter:1000000 Receipt:0}
}
