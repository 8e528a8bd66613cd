package bench

import (
	"flag"
	"testing"

	"github.com/gin-ratelimiter/ratelimiter/bench/results"
	"github.com/stretchr/testify/require"
)

var (
	part   = flag.String("part", "", "what TestMeasure measures: sizes, memory, gin or redis")
	turns  = flag.Int("turns", 200, "how many turns each contender has")
	output = flag.String("output", "", "the file that it writes")
)

// TestMeasure is for cmd/table.
func TestMeasure(t *testing.T) {
	var run results.Run
	switch *part {
	case "":
		t.Skip("it measures, and checks nothing; see cmd/table")
	case "sizes":
		run.Sizes = sizes(t)
	case "memory":
		run.Groups = memoryGroups()
	case "gin":
		run.Groups = ginGroups()
	case "redis":
		run.Groups = redisGroups(t)
	default:
		t.Fatalf("%q is no part", *part)
	}
	require.NoError(t, run.Save(*output))
}
