package window

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAReceiptFromBeforeAResetRefundsNoOtherUnits(t *testing.T) {
	for _, limit := range []int64{4, exactLimit, exactLimit + 1, 1_000_000} {
		c := Charge{Limit: limit, Per: 128_000, Cost: 1, Tentative: true}
		_, lost := Log{}.Take(5_000_000, &c)
		require.NotZero(t, lost.Receipt)
		others, _ := Log{}.Take(5_002_000, &c) // after a reset
		refund := Charge{Limit: limit, Per: 128_000, Cost: -1, Receipt: lost.Receipt}
		after, v := others.Take(5_003_000, &refund)
		require.Equal(t, limit-1, v.Remaining, "limit %d", limit)
		require.Equal(t, []Cell{{5_002_000, 1}}, after.Cells)
	}
}

func TestAReceiptRefundsOnce(t *testing.T) {
	c := Charge{Limit: exactLimit, Per: 128_000, Cost: 1, Tentative: true}
	log, first := Log{}.Take(5_000_000, &c)
	log, _ = log.Take(5_000_001, &c)
	refund := Charge{Limit: exactLimit, Per: 128_000, Cost: -1, Receipt: first.Receipt}
	for range 3 {
		var v Verdict
		log, v = log.Take(5_000_002, &refund)
		require.EqualValues(t, exactLimit-1, v.Remaining)
	}
}

func TestAReceiptOfASharedCellRefundsOnlyItsOwnUnits(t *testing.T) {
	c := Charge{Limit: exactLimit + 1, Per: 128_000, Cost: 1, Tentative: true}
	log, first := Log{}.Take(5_000_100, &c)
	log, second := log.Take(5_000_900, &c)
	for left, receipt := range []int64{second.Receipt, first.Receipt} {
		refund := Charge{Limit: exactLimit + 1, Per: 128_000, Cost: -1, Receipt: receipt}
		var v Verdict
		log, v = log.Take(5_001_500, &refund)
		require.EqualValues(t, exactLimit+left, v.Remaining)
	}
	require.Empty(t, log.Cells)
}
