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
	require.False(t, Algorithm(9).Valid())
	require.Equal(t, "Algorithm(9)", Algorithm(9).String())
	for _, name := range []string{"", "leaky-bucket", "Sliding-Window", "sliding_window", " fixed-window"} {
		_, err := ParseAlgorithm(name)
		require.ErrorContains(t, err, name)
		require.ErrorContains(t, err, AlgorithmNames())
	}
}
