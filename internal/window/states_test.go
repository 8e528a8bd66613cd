package window

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Frac is less than the limit, so that equal debts are equal states.
func TestTheFractionOfABucketIsLessThanItsLimit(t *testing.T) {
	const now = 100 * second
	for _, step := range []struct {
		what        string
		state       Bucket
		limit, cost int64
		want        Bucket
	}{
		{"three thirds are a microsecond", Bucket{now + 666_666, 2}, 3, 1, Bucket{now + second, 0}},
		{"a refund leaves a whole number", Bucket{now + 333_333, 1}, 3, -1, Bucket{now, 0}},
		{"a refund leaves more than one unit", Bucket{now + 666_666, 2}, 3, -1, Bucket{now + 333_333, 1}},
		{"a refund of a whole number", Bucket{now + second, 0}, 2, -1, Bucket{now + 500_000, 0}},
		{"a fraction that the new limit cannot express", Bucket{now + 666_666, 2}, 2, -1, Bucket{now + 166_667, 0}},
	} {
		got, _ := step.state.Take(now, &Charge{Limit: step.limit, Per: second, Cost: step.cost})
		require.Equal(t, step.want, got, step.what)
	}
}

func TestADebtIsAtMostMaxDebt(t *testing.T) {
	third := Bucket{TAT: 100 * second, Frac: 1} // a third of a microsecond is owed
	c := Charge{Limit: 3, Per: second, Cost: MaxLimit, Forced: true}
	full, v := third.Take(100*second, &c)
	require.Equal(t, Bucket{TAT: 100*second + MaxDebt}, full)
	require.Equal(t, MaxDebt, v.ResetAfter)
}

// The debt from before the limit became 0 still shrinks with time.
func TestALimitOfZeroReportsTheDebtThatIsLeft(t *testing.T) {
	owed := Bucket{TAT: 103 * second}
	for _, step := range []struct {
		cost   int64
		forced bool
		want   Verdict
	}{
		{0, false, denied(0, 3*second, 3*second)},
		{0, true, denied(0, 3*second, 3*second)},
		{1, false, denied(0, 3*second, never)},
		{1, true, allowed(0, 3*second)},
		{-1, false, allowed(0, 3*second)},
	} {
		same, v := owed.Take(100*second, &Charge{Limit: 0, Per: second, Cost: step.cost, Forced: step.forced})
		require.Equal(t, step.want, v, "a cost of %d, forced: %t", step.cost, step.forced)
		require.Equal(t, owed, same)
	}
}

func TestForcedHasNoEffectOnAPeek(t *testing.T) {
	for _, a := range algorithms() {
		c := Charge{Limit: 4, Per: 10 * second, Cost: 7, Forced: true}
		require.True(t, a.take(100*second, c).Allowed())
		c.Cost, c.Forced = 0, false
		want := a.copy().take(100*second, c)
		require.False(t, want.Allowed(), "%s: 7 of 4 units are used", a.name)
		c.Forced = true
		require.Equal(t, want, a.take(100*second, c), a.name)
	}
}

// A window whose units were all refunded is equivalent to the zero value at once, and so is
// a sliding window with a single unit in the previous one.
func TestAWindowExpiresWhenItsUnitsNoLongerCount(t *testing.T) {
	const start, per = 100 * second, 10 * second
	require.EqualValues(t, start, Fixed{Start: start}.Expires(per))
	require.EqualValues(t, start, Calendar{Start: start, End: start + day}.Expires())
	require.Zero(t, Log{}.Expires(per))
	for _, step := range []struct{ previous, current, want int64 }{
		{0, 0, start}, {1, 0, start}, {2, 0, start + per}, {0, 1, start + per}, {1, 1, start + per}, {0, 2, start + 2*per},
	} {
		require.Equal(t, step.want, Sliding{start, step.previous, step.current}.Expires(per), "%+v", step)
	}
}

func TestASlidingWindowForgetsUnitsAfterTwoPeriods(t *testing.T) {
	c := Charge{Limit: 9, Per: 10 * second, Cost: 1}
	s := Sliding{Start: 100 * second, Previous: 3, Current: 4}
	moved, _ := s.Take(120*second-1, &c)
	require.Equal(t, Sliding{110 * second, 4, 1}, moved)
	fresh, _ := s.Take(120*second, &c)
	require.Equal(t, Sliding{120 * second, 0, 1}, fresh)
}

func TestChargesAtTheSameTimeShareACell(t *testing.T) {
	for _, limit := range []int64{exactLimit, exactLimit + 1} {
		c := Charge{Limit: limit, Per: 128_000, Cost: 1}
		l, _ := Log{}.Take(5*second, &c)
		l, _ = l.Take(5*second, &c)
		require.Equal(t, []Cell{{5 * second, 2}}, l.Cells)
	}
}

// The peek finds an expired cell, and the rest is exactly the limit.
func TestAPeekAtAFullLogKeepsItsExpiredCells(t *testing.T) {
	l := Log{[]Cell{{100 * second, 1}, {105 * second, 4}}}
	same, v := l.Take(111*second, &Charge{Limit: 4, Per: 10 * second})
	require.Equal(t, allowed(0, 4*second), v)
	require.Equal(t, []Cell{{100 * second, 1}, {105 * second, 4}}, same.Cells)
}
