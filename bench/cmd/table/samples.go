package main

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// samples are the figures of a run: those of each benchmark, row and contender,
// by unit.
type samples struct {
	figures map[id]map[string][]float64
	names   map[string][]string // of the contenders in a benchmark, in the order they came
}

type id struct{ benchmark, row, name string }

var processors = regexp.MustCompile(`-\d+$`)

// parse reads lines such as
//
//	BenchmarkMemory/hot+key/ulule|limiter-2   123   45.6 ns/op   0 B/op   0 allocs/op
func parse(output string) *samples {
	s := &samples{map[id]map[string][]float64{}, map[string][]string{}}
	for line := range strings.Lines(output) {
		fields := strings.Fields(line)
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		parts := strings.Split(processors.ReplaceAllString(fields[0], ""), "/")
		at := id{strings.TrimPrefix(parts[0], "Benchmark"), "", plain(parts[len(parts)-1])}
		if len(parts) == 3 {
			at.row = plain(parts[1])
		}
		if s.figures[at] == nil {
			s.figures[at] = map[string][]float64{}
		}
		if !slices.Contains(s.names[at.benchmark], at.name) {
			s.names[at.benchmark] = append(s.names[at.benchmark], at.name)
		}
		for i := 2; i+1 < len(fields); i += 2 {
			if figure, err := strconv.ParseFloat(fields[i], 64); err == nil {
				s.figures[at][fields[i+1]] = append(s.figures[at][fields[i+1]], figure)
			}
		}
	}
	return s
}

// plain undoes what the benchmarks do to a name.
func plain(label string) string { return strings.NewReplacer("+", " ", "|", "/").Replace(label) }

// median is false for what was not measured.
func (s *samples) median(at id, unit string) (float64, bool) {
	list := slices.Sorted(slices.Values(s.figures[at][unit]))
	if len(list) == 0 {
		return 0, false
	}
	return list[len(list)/2], true
}
