package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/replay"
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/simulate"
	"github.com/stretchr/testify/require"
)

func TestThePicturesShowWhatTheAlgorithmsAllow(t *testing.T) {
	for _, algorithm := range replay.Algorithms {
		drawn, err := draw(algorithm)
		require.NoError(t, err)
		committed, err := os.ReadFile(filepath.Join("../..", folder, algorithm+".svg"))
		require.NoError(t, err)
		require.Equal(t, string(drawn), string(committed), "the picture is stale: in cmd/ratelimiter, go run ./internal/pictures")
	}
}

func TestThePageShowsThePicturesAndWhatTheAlgorithmsAllow(t *testing.T) {
	text, err := os.ReadFile("../../../../docs/algorithms.md")
	require.NoError(t, err)
	for _, algorithm := range replay.Algorithms {
		require.Contains(t, string(text), "](images/"+algorithm+".svg)")
		row := "| `" + algorithm + "` |"
		for _, p := range panels {
			events, err := simulate.Traffic(p.traffic, limit)
			require.NoError(t, err)
			result := simulate.Run(algorithm, []ratelimiter.Limit{limit}, limit, events, 1)
			row += fmt.Sprintf(" %d |", result.Worst[0])
		}
		require.Contains(t, string(text), row)
	}
}

func TestWhatIsInTheWindowLeavesItAfterAPeriod(t *testing.T) {
	passed := make([]int, stretches)
	passed[3], passed[5] = 2, 1
	sums := inWindow(passed)
	require.Equal(t, []int{0, 0, 0, 2, 2, 3}, sums[:6])
	require.Equal(t, []int{3, 1, 1, 0}, sums[42:46])
}
