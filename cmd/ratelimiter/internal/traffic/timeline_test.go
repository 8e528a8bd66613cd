package traffic

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestATimelineHasRoundIntervalsAndLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var line Timeline
		now := rapid.Int64Range(0, 2e15).Draw(t, "start")
		steps := rapid.SliceOfN(rapid.Int64Range(0, 3e11), 1, 50).Draw(t, "steps")
		at := []int64{}
		for _, step := range steps {
			now += step
			at = append(at, now)
			line.add(now)
		}
		require.LessOrEqual(t, len(line.Counts), maxStretches)
		require.Zero(t, line.Start%line.Width)
		counts := make([]int64, len(line.Counts))
		for _, now := range at {
			counts[line.Place(now)]++
		}
		require.Equal(t, counts, line.Counts)
	})
	var line Timeline
	start := time.Date(2026, 1, 31, 12, 3, 7, 0, time.UTC).UnixMicro()
	for minute := range int64(3 * 24 * 60) {
		line.add(start + minute*60_000_000)
	}
	require.Equal(t, 10*time.Minute, time.Duration(line.Width)*time.Microsecond)
	require.True(t, slices.Contains(widths, line.Width/1_000_000))
}
