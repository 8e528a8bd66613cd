package window

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Three rejections in ten seconds lead to a ban of a minute.
func TestRejectionsWorkedByHand(t *testing.T) {
	c := Charge{Limit: 3, Per: 10 * second, Ban: 60 * second}
	var s Rejections
	for _, step := range []step{
		{100 * second, 1, allowed(2, 10*second)},
		{104 * second, 1, allowed(1, 10*second)},
		{104 * second, 0, allowed(1, 10*second)},
		{110 * second, 1, allowed(1, 10*second)}, // the first is ten seconds old
		{113 * second, 1, denied(0, 60*second, 60*second)},
		{113 * second, 1, denied(0, 60*second, 60*second)}, // a ban does not grow
		{172 * second, 0, denied(0, second, second)},
		{173*second - 1, 1, denied(0, 1, 1)},
		{173 * second, 0, allowed(3, 0)},
		{173 * second, 1, allowed(2, 10*second)},
	} {
		c.Cost = step.cost
		var v Verdict
		s, v = s.Take(step.now, &c)
		require.Equal(t, step.want, v, "at %d", step.now/second)
	}
}

func TestABanMayBeShorterThanThePeriodInWhichRejectionsCount(t *testing.T) {
	c := Charge{Limit: 1, Per: 3600 * second, Ban: 5 * second, Cost: 1}
	s, v := Rejections{}.Take(7200*second, &c)
	require.Equal(t, denied(0, 5*second, 5*second), v)
	c.Cost = 0
	_, v = s.Take(7205*second-1, &c)
	require.Equal(t, denied(0, 1, 1), v)
	_, v = s.Take(7205*second, &c)
	require.Equal(t, allowed(1, 0), v, "the rejections that led to the ban are gone")
}

func TestChangingTheTermsDoesNotAffectABanInForce(t *testing.T) {
	c := Charge{Limit: 2, Per: 10 * second, Ban: 60 * second, Cost: 1}
	s, _ := Rejections{}.Take(100*second, &c)
	lower, higher := c, c
	lower.Limit, lower.Cost = 1, 0
	_, v := s.Take(100*second, &lower)
	require.True(t, v.Allowed(), "only a new rejection can start a ban")
	s, _ = s.Take(100*second, &c)
	higher.Limit, higher.Cost = 100, 0
	_, v = s.Take(100*second, &higher)
	require.Equal(t, denied(0, 60*second, 60*second), v)
}

// The model keeps every rejection and the end of the ban.
func TestBansMatchAModelThatKeepsEveryRejection(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := Charge{
			Limit: rapid.Int64Range(1, 6).Draw(t, "after"),
			Per:   rapid.SampledFrom([]int64{1000, second, 30 * day}).Draw(t, "per"),
		}
		c.Ban = rapid.SampledFrom([]int64{1000, c.Per / 2, c.Per, 3 * c.Per, MaxPeriod}).Draw(t, "ban")
		var s Rejections
		var rejections []int64
		now, end := MaxPeriod, int64(0)
		for range rapid.IntRange(1, 60).Draw(t, "takes") {
			now += rapid.OneOf(
				rapid.Just(int64(0)), rapid.Int64Range(0, c.Per/c.Limit), rapid.SampledFrom([]int64{c.Per - 1, c.Per, c.Ban - 1, c.Ban}),
			).Draw(t, "pause")
			rejections = slices.DeleteFunc(rejections, func(at int64) bool { return at <= now-c.Per })
			c.Cost = rapid.SampledFrom([]int64{0, 1, 1}).Draw(t, "cost")
			if end <= now && c.Cost == 1 {
				rejections = append(rejections, now)
				if int64(len(rejections)) == c.Limit {
					rejections, end = nil, now+c.Ban
				}
			}
			want := Verdict{Remaining: c.Limit - int64(len(rejections))}
			if end > now {
				want = denied(0, end-now, end-now)
			} else if len(rejections) > 0 {
				want.ResetAfter = rejections[len(rejections)-1] + c.Per - now
			}
			var v Verdict
			s, v = s.Take(now, &c)
			require.Equal(t, want, v)
			require.LessOrEqual(t, len(s.Cells), MaxCells)
			if len(rejections) > 0 || end > now {
				require.Equal(t, now+v.ResetAfter, s.Expires(c.Per), "the state expires then")
			} else {
				require.LessOrEqual(t, s.Expires(c.Per), now)
			}
		}
	})
}

// However the clock steps, no ban ends before the latest clock reading says so, and no
// client is banned without enough rejections.
func TestAClockThatRunsBackwardsShortensNoBan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := Charge{Limit: 2, Per: second, Ban: rapid.SampledFrom([]int64{second / 2, 5 * second}).Draw(t, "ban")}
		var s Rejections
		now, end := MaxPeriod, int64(0)
		for range rapid.IntRange(1, 40).Draw(t, "takes") {
			now += rapid.Int64Range(-2*second, 2*second).Draw(t, "step")
			c.Cost = rapid.SampledFrom([]int64{0, 1}).Draw(t, "cost")
			var v Verdict
			s, v = s.Take(now, &c)
			if now < end {
				require.False(t, v.Allowed())
			}
			if !v.Allowed() {
				require.Positive(t, v.RetryAfter)
				end = max(end, now+v.RetryAfter)
			} else if c.Cost > 0 {
				end = 0 // the next rejection clears a ban that is over
			}
		}
	})
}

func TestARejectionOnAClockThatRanBackwardsCountsAtTheTimeOfTheLastOne(t *testing.T) {
	c := Charge{Limit: 3, Per: 10 * second, Ban: 60 * second, Cost: 1}
	s, _ := Rejections{}.Take(100*second, &c)
	s, v := s.Take(90*second, &c)
	require.Equal(t, allowed(1, 20*second), v)
	_, v = s.Take(95*second, &c)
	require.Equal(t, denied(0, 65*second, 65*second), v)
}

// Redis and the text format cannot store numbers below 0.
func TestABanInTheFirstPeriodOfTheEpochCanBeStored(t *testing.T) {
	s, v := Rejections{}.Take(second, &Charge{Limit: 1, Per: 10 * second, Ban: 5 * second, Cost: 1})
	require.False(t, v.Allowed())
	require.Zero(t, s.Cells[0].Time)
}

func TestManyRejectionsTakeBoundedMemory(t *testing.T) {
	c := Charge{Limit: 100_000, Per: 3600 * second, Ban: second, Cost: 1}
	var s Rejections
	now := MaxPeriod
	for i := range c.Limit {
		var v Verdict
		s, v = s.Take(now, &c)
		require.Equal(t, i+1 < c.Limit, v.Allowed(), i)
		require.LessOrEqual(t, len(s.Cells), MaxCells)
		now += 3599 * second / c.Limit
	}
}
