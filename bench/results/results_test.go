package results

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func sample() Run {
	return Run{Groups: []Group{
		{Part: "A decision in memory", Name: "one hot key", Contenders: []Contender{
			{Name: "ours, sliding-window", Nanos: 40}, {Name: "slow", Nanos: 200, Allocs: 2, Errors: 1.5}, {Name: "fast", Nanos: 50},
		}},
		{Part: "Gin", Name: "with headers", Contenders: []Contender{
			{Name: BareRoute, Nanos: 100}, {Name: "ours, all headers", Nanos: 150}, {Name: "fast", Nanos: 200},
		}},
		{Part: "Redis, distinct keys", Name: "1 caller", Reference: "floor: plain loop", Contenders: []Contender{
			{Name: "floor: plain loop", Nanos: 1000}, {Name: "ours, sliding-window", Nanos: 500}, {Name: "fast", Nanos: 10},
		}},
	}}
}

func TestRatiosAreOfTheFastestPeerOrTheReference(t *testing.T) {
	run := sample()
	require.Equal(t, Record{
		"A decision in memory / one hot key / ours, sliding-window": 0.8,
		"Gin / with headers / ours, all headers":                    0.5,
		"Redis, distinct keys / 1 caller / ours, sliding-window":    0.5,
	}, run.Record())
}

func TestTables(t *testing.T) {
	run := sample()
	run.Sizes = []Size{{"fast", 168.4, 900, 3}}
	var b bytes.Buffer
	run.Print(&b, false)
	require.Contains(t, b.String(), "| slow | 4.00 (1.5 % errors) | 2 | 0 |")
	require.Contains(t, b.String(), "| ours, all headers | 0.50 | 0 | 0 |")
	require.Contains(t, b.String(), "| bare route | 0 | 0 | 0 |")
	require.Contains(t, b.String(), "decisions a second, plain loop = 1 (more is better)")
	require.Contains(t, b.String(), "| ours, sliding-window | 2.00 |")
	require.Contains(t, b.String(), "| fast | 168 | 900 | 3 |")
	b.Reset()
	run.Print(&b, true)
	require.Contains(t, b.String(), "| ours, all headers | 50 |")
	require.Contains(t, b.String(), "| ours, sliding-window | 2000.0 |")
}

func TestARunAndARecordAreReadAsTheyWereWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	run := sample()
	require.NoError(t, run.Save(path))
	again, err := Load(path)
	require.NoError(t, err)
	require.Equal(t, run, again)

	path = filepath.Join(t.TempDir(), "record")
	require.NoError(t, Record{"a": 1, "b": 2}.Save(path))
	require.NoError(t, Record{"b": 3}.Save(path))
	record, err := LoadRecord(path)
	require.NoError(t, err)
	require.Equal(t, Record{"a": 1, "b": 3}, record, "what was not measured again stays")
}

func TestWhatGotWorse(t *testing.T) {
	recorded := Record{"a": 1, "b": 1, "c": 1, "gone": 1}
	measured := Record{"a": 1.15, "b": 1.16, "c": 0.5, "new": 9}
	require.Equal(t, []string{"b: 1.16, and 1.00 was recorded"}, measured.Worse(recorded, 0.15))
	require.Empty(t, measured.Better(Record{"b": 1.1}).Worse(recorded, 0.15))
}
