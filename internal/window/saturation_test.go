package window

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A burst that takes longer than MaxDebt to earn is capped at MaxDebt.
func TestABurstThatTakesCenturiesToEarnIsCapped(t *testing.T) {
	b := &bucket{}
	c := Charge{Limit: 1, Per: 30 * day, Burst: 2000}
	v := b.take(1<<50, c)
	require.Equal(t, (MaxDebt-1)/c.Per, v.Remaining)

	c.Cost = v.Remaining
	require.Equal(t, int64(0), b.take(1<<50, c).Remaining)
	c.Cost = 1
	v = b.take(1<<50, c)
	require.False(t, v.Allowed(), "more than the burst was allowed")
	require.True(t, (&bucket{b.Bucket}).take(1<<50+v.RetryAfter, c).Allowed())
	require.False(t, (&bucket{b.Bucket}).take(1<<50+v.RetryAfter-1, c).Allowed())

	for _, c.Cost = range []int64{1738, 2000, 2001, MaxLimit} {
		require.Equal(t, never, b.take(1<<50, c).RetryAfter, "a cost of %d", c.Cost)
	}
}

// RetryAfter is exact even for the largest possible debts and counters.
func TestRetryAfterIsExactWhenAStateIsSaturated(t *testing.T) {
	for _, limit := range []int64{1, 3, 100, 1000, MaxLimit} {
		for _, a := range algorithms() {
			c := Charge{Limit: limit, Per: 30 * day, Cost: MaxLimit, Forced: true}
			now := int64(1 << 50)
			for range 4 {
				require.True(t, a.take(now, c).Allowed())
				now += c.Per / 8
			}
			c.Forced = false
			for _, c.Cost = range []int64{0, 1, limit} {
				v := a.copy().take(now, c)
				require.False(t, v.Allowed())
				require.True(t, a.copy().take(now+v.RetryAfter, c).Allowed(), "%s: denied at its RetryAfter", a.name)
				require.False(t, a.copy().take(now+v.RetryAfter-1, c).Allowed(), "%s: allowed before its RetryAfter", a.name)
			}
		}
	}
}

// MaxDebt counts from the clock, so a clock that runs backwards must not lower the debt.
func TestAForcedChargeNeverLowersADebt(t *testing.T) {
	b := &bucket{}
	c := Charge{Limit: 1, Per: 30 * day, Cost: MaxLimit, Forced: true}
	b.take(1<<50, c)
	owed := b.TAT
	b.take(1<<49, c)
	require.Equal(t, owed, b.TAT)
}

func TestForcedChargesNeverCountMoreThanMaxUnits(t *testing.T) {
	c := Charge{Limit: 1, Per: day, Cost: MaxLimit, Forced: true}
	fixed, sliding, log := Fixed{}, Sliding{}, Log{}
	for range 4 {
		fixed, _ = fixed.Take(day, &c)
		sliding, _ = sliding.Take(day, &c)
		log, _ = log.Take(day, &c)
	}
	require.Equal(t, MaxUnits, fixed.Count)
	require.Equal(t, MaxUnits, sliding.Current)
	require.Equal(t, MaxUnits, total(log.Cells))
}

// A limit of more than one unit per microsecond.
func TestABucketCountsTheUnitsOfPartOfAMicrosecond(t *testing.T) {
	b := &bucket{}
	require.EqualValues(t, 5, b.take(100*second, Charge{Limit: 6000, Per: 1000, Cost: 5995}).Remaining)
	require.True(t, b.take(100*second, Charge{Limit: 6000, Per: 1000, Cost: 5}).Allowed())
	require.Zero(t, b.take(100*second, Charge{Limit: 6000, Per: 1000}).Remaining)
}
