package window

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A receipt names the window of its charge. A refund leaves all other windows alone.
func TestAReceiptRefundsOnlyTheWindowOfItsCharge(t *testing.T) {
	const per = 10 * second
	current := Fixed{Start: 110 * second, Count: 3}
	for _, step := range []struct {
		receipt, cost int64
		want          Fixed
	}{
		{110 * second, -2, Fixed{110 * second, 1}},
		{110 * second, -5, Fixed{110 * second, 0}},
		{100 * second, -2, current},
		{0, -2, Fixed{110 * second, 1}},
	} {
		got, v := current.Take(112*second, &Charge{Limit: 10, Per: per, Cost: step.cost, Receipt: step.receipt})
		require.Equal(t, step.want, got, "a refund of %d with receipt %d", -step.cost, step.receipt)
		require.Equal(t, 10-got.Count, v.Remaining)
	}

	both := Sliding{Start: 110 * second, Previous: 4, Current: 3}
	for _, step := range []struct {
		receipt, cost int64
		want          Sliding
	}{
		{110 * second, -2, Sliding{110 * second, 4, 1}},
		{110 * second, -5, Sliding{110 * second, 4, 0}},
		{100 * second, -2, Sliding{110 * second, 2, 3}},
		{100 * second, -5, Sliding{110 * second, 0, 3}},
		{90 * second, -2, both},
		{0, -2, Sliding{110 * second, 4, 1}}, // the newest units first
		{0, -5, Sliding{110 * second, 2, 0}},
	} {
		got, _ := both.Take(112*second, &Charge{Limit: 10, Per: per, Cost: step.cost, Receipt: step.receipt})
		require.Equal(t, step.want, got, "a refund of %d with receipt %d", -step.cost, step.receipt)
	}
}

// Two units cost 2.5 seconds each. The first is paid back at 102.5 s, the second at 105 s.
func TestABucketRefundsOnlyWhatIsStillUnpaid(t *testing.T) {
	c := Charge{Limit: 4, Per: 10 * second, Cost: 1, Tentative: true}
	s, first := Bucket{}.Take(100*second, &c)
	s, last := s.Take(100*second, &c)
	require.Equal(t, Bucket{TAT: 105 * second}, s)
	require.Equal(t, []int64{102_500_000, 105 * second}, []int64{first.Receipt, last.Receipt})

	for _, step := range []struct{ now, receipt, want int64 }{
		{100 * second, last.Receipt, 102_500_000},
		{101_500_000, first.Receipt, 104 * second}, // a second of it is unpaid
		{102_500_000, first.Receipt, 105 * second}, // all of it is paid back
		{103 * second, first.Receipt, 105 * second},
		{103 * second, 0, 103 * second}, // not below zero
	} {
		got, _ := s.Take(step.now, &Charge{Limit: 4, Per: 10 * second, Cost: -1, Receipt: step.receipt})
		require.Equal(t, Bucket{TAT: step.want}, got, "at %d with receipt %d", step.now, step.receipt)
	}
}

func TestAnImmediateRefundOfABucketRestoresFractionsOfAMicrosecond(t *testing.T) {
	c := Charge{Limit: 3, Per: second, Cost: 1, Tentative: true}
	one, v := Bucket{}.Take(100*second, &c)
	two, _ := one.Take(100*second, &c)
	restored, _ := two.Take(100*second, &Charge{Limit: 3, Per: second, Cost: -1, Receipt: v.Receipt})
	require.Equal(t, one, restored)
}
