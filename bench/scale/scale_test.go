package scale

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func small() Config {
	return Config{
		Processes: 20, Nodes: 3, Polite: 1000, Greedy: 10, PoliteRate: 1000, GreedyRate: 1000,
		Limit: 100, Per: time.Minute, RoundTrip: 500 * time.Microsecond, Timeout: 100 * time.Millisecond,
		CallCost: 10 * time.Microsecond, DecisionCost: 5 * time.Microsecond, Duration: 20 * time.Second, Seed: 1,
	}
}

func run(t *testing.T, c Config) []Phase {
	t.Helper()
	phases, err := Run(c)
	require.NoError(t, err)
	return phases
}

func TestEveryAnswerIsRightWhereNothingFails(t *testing.T) {
	p := run(t, small())[0]
	require.InDelta(t, 40_000, p.Requests, 1000, "two thousand a second")
	require.Zero(t, p.TooMany)
	require.Zero(t, p.Wrongly)
	require.Zero(t, p.Fallback)
	require.Less(t, p.Latency.Quantile(0.999), 2*time.Millisecond)
}

func TestNodesDecideWhatIsNotKnownToBeDenied(t *testing.T) {
	p := run(t, small())[0]
	require.Positive(t, p.KnownDenied)
	require.InDelta(t, p.Requests-p.KnownDenied, p.Decisions, 200, "but for equal keys that share a decision")
	require.LessOrEqual(t, p.Trips, p.Decisions)
	worked := time.Duration(p.Trips)*10*time.Microsecond + time.Duration(p.Decisions)*5*time.Microsecond
	require.Equal(t, worked, p.Busy[0]+p.Busy[1]+p.Busy[2])
}

func TestANodeThatIsAwayIsAnsweredForByTheProcesses(t *testing.T) {
	c := small()
	c.Limit, c.Per = 5, time.Second
	c.FailAt, c.FailFor = 8*time.Second, 4*time.Second
	phases := run(t, c)
	before, away, after := phases[0], phases[1], phases[2]
	require.Zero(t, before.Fallback)
	require.Zero(t, before.TooMany)
	require.InDelta(t, 1.0/3, float64(away.Fallback)/float64(away.Requests-away.KnownDenied), 0.07, "the keys of one node in three")
	require.Positive(t, away.TooMany, "each process allows the limit once more")
	require.LessOrEqual(t, away.Latency.Quantile(1), 115*time.Millisecond)
	require.Less(t, after.Fallback, after.Requests/100, "the breakers stay closed")
	require.Less(t, after.TooMany, away.TooMany)
}

func TestWithAShareProcessesAllowLittleMore(t *testing.T) {
	whole := small()
	whole.Limit, whole.Per = 40, time.Second
	whole.FailAt, whole.FailFor = 8*time.Second, 4*time.Second
	shared := whole
	shared.Share = 1.0 / 20
	require.Less(t, run(t, shared)[1].TooMany, run(t, whole)[1].TooMany/4)
}

func TestAReplicaForgetsTheLastWrites(t *testing.T) {
	c := small()
	c.GreedyRate, c.PoliteRate = 0, 2000
	c.Limit = 5
	c.FailAt, c.FailFor = 1500*time.Millisecond, time.Millisecond
	exact := run(t, c)
	c.ReplicaLag = time.Second
	lagging := run(t, c)
	require.Greater(t, lagging[2].TooMany, exact[2].TooMany+300)
}

func TestTheSameSeedGivesTheSameRun(t *testing.T) {
	c := small()
	first, again := run(t, c), run(t, c)
	require.Equal(t, first, again)
	other := c
	other.Seed = 2
	require.NotEqual(t, first, run(t, other))
}

func TestANonsensicalSimulationIsAnError(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no process":          func(c *Config) { c.Processes = 0 },
		"no node":             func(c *Config) { c.Nodes = 0 },
		"no client":           func(c *Config) { c.Polite, c.Greedy = 0, 0 },
		"requests of nobody":  func(c *Config) { c.Greedy = 0 },
		"no requests":         func(c *Config) { c.PoliteRate, c.GreedyRate = 0, 0 },
		"no limit":            func(c *Config) { c.Limit = 0 },
		"a short period":      func(c *Config) { c.Per = time.Microsecond },
		"no time":             func(c *Config) { c.Duration = 0 },
		"more than one share": func(c *Config) { c.Share = 2 },
	} {
		c := small()
		change(&c)
		_, err := Run(c)
		require.Error(t, err, name)
	}
}

func TestALatencyIsInAStepOfAnEighth(t *testing.T) {
	for _, micros := range []int64{0, 1, 7, 8, 15, 16, 17, 100, 575, 100_000, 123_456_789} {
		var l Latencies
		l.add(micros)
		got := l.Quantile(0.5).Microseconds()
		require.GreaterOrEqual(t, got, micros)
		require.LessOrEqual(t, got, micros+micros/8)
	}
}
