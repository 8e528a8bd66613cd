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

// The shared cell counts until 5.128900 s, the charge of the receipt only until 5.128100 s.
func TestAReceiptOfASharedCellExpiresWithItsCharge(t *testing.T) {
	shared := []Cell{{5_000_900, 2}}
	refund := Charge{Limit: exactLimit + 1, Per: 128_000, Cost: -1, Receipt: 5_000_100}
	_, v := Log{[]Cell{shared[0]}}.Take(5_128_099, &refund)
	require.EqualValues(t, exactLimit, v.Remaining)
	same, v := Log{shared}.Take(5_128_100, &refund)
	require.EqualValues(t, exactLimit-1, v.Remaining)
	require.Equal(t, []Cell{{5_000_900, 2}}, same.Cells)
}

func TestOnlyATentativeChargeGetsAReceipt(t *testing.T) {
	for _, a := range algorithms() {
		for _, cost := range []int64{1, 0, -1} {
			v := a.take(100*second, Charge{Limit: 4, Per: 10 * second, Cost: cost, Tentative: true})
			require.Equal(t, cost > 0, v.Receipt != 0, "%s: a cost of %d", a.name, cost)
			v = a.take(100*second, Charge{Limit: 4, Per: 10 * second, Cost: cost})
			require.Zero(t, v.Receipt, "%s: a cost of %d", a.name, cost)
		}
	}
}
