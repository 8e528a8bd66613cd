package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMediansOfWhatGoTestPrints(t *testing.T) {
	s := parse(`goos: linux
BenchmarkMemory/one+hot+key/ulule|limiter-2   	 100	 30.0 ns/op	 0 B/op	 2 allocs/op
BenchmarkMemory/one+hot+key/ulule|limiter-2   	 100	 10.0 ns/op	 0 B/op	 2 allocs/op
BenchmarkMemory/one+hot+key/ulule|limiter-2   	 100	 20.0 ns/op	 0 B/op	 2 allocs/op
BenchmarkMemory/one+hot+key/ours,+sliding-window-2   	 100	 5.0 ns/op	 1.5 %errors	 0 B/op	 0 allocs/op
BenchmarkSize/ulule|limiter-2   	 1	 234 B/key	 900 MB	 0 freed
PASS
`)
	median, ok := s.median(id{"Memory", "one hot key", "ulule/limiter"}, "ns/op")
	require.True(t, ok)
	require.Equal(t, 20.0, median)
	var b bytes.Buffer
	printAll(&b, s, false)
	require.Contains(t, b.String(), "| ours, sliding-window | 0.25 (1.5 % errors) |")
	require.Contains(t, b.String(), "| ulule/limiter | 234 | 900 | 0 |")
}
