package backends

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAlgorithmsHaveTheNamesOfTheConfiguration(t *testing.T) {
	names := map[Algorithm]string{
		SlidingWindow: "sliding-window", FixedWindow: "fixed-window", SlidingLog: "sliding-log", TokenBucket: "token-bucket",
	}
	require.Len(t, names, int(algorithmCount))
	for algorithm, name := range names {
		require.True(t, algorithm.Valid())
		require.Equal(t, name, algorithm.String())
		parsed, err := ParseAlgorithm(name)
		require.NoError(t, err)
		require.Equal(t, algorithm, parsed)
		require.Contains(t, AlgorithmNames(), name)
	}
	require.Zero(t, SlidingWindow, "the default")
}

func TestAnUnknownNameIsNotAnAlgorithm(t *testing.T) {
	for number, text := range map[Algorithm]string{TokenBucket + 1: "Algorithm(4)", 9: "Algorithm(9)"} {
		require.False(t, number.Valid())
		require.Equal(t, text, number.String())
	}
	for _, name := range []string{"", "leaky-bucket", "Sliding-Window", "sliding_window", " fixed-window"} {
		_, err := ParseAlgorithm(name)
		require.ErrorContains(t, err, name)
		require.ErrorContains(t, err, AlgorithmNames())
	}
}
