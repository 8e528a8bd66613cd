// Command pictures draws what simulate finds out about each algorithm, for the page
// docs/algorithms.md. Run it in cmd/ratelimiter:
//
//	go run ./internal/pictures
package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/replay"
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/simulate"
)

// folder is where the pictures are, seen from cmd/ratelimiter.
const folder = "../../docs/images"

func main() {
	for _, algorithm := range replay.Algorithms {
		picture, err := draw(algorithm)
		if err == nil {
			err = os.WriteFile(filepath.Join(folder, algorithm+".svg"), picture, 0o600)
		}
		if err != nil {
			log.Fatal(err)
		}
	}
}

// limit is what all pictures are about.
var limit = ratelimiter.Limit{Limit: 100, Per: time.Minute}

// panels are the kinds of traffic, each with a panel of the picture.
var panels = []struct{ traffic, title string }{
	{"edge", "Two bursts of 100, before and after a full minute"},
	{"attack", "1000 requests within one minute"},
}

const (
	width     = 360 // of a panel, in the units of the picture
	barHeight = 60
	stretches = 40 * simulate.Periods
)

// panel is what the template draws. Y grows downwards from 0, which is the base line.
type panel struct {
	Title, Label      string
	X                 int
	Requests, Allowed string // outlines of bars, from the base line up
	InWindow          string // a line through what was allowed within the last minute
	Ticks             []int
}

//go:embed picture.svg
var layout string

// draw makes the picture of an algorithm.
func draw(algorithm string) ([]byte, error) {
	var all []panel
	for i, p := range panels {
		events, err := simulate.Traffic(p.traffic, limit)
		if err != nil {
			return nil, err
		}
		requests := make([]int, stretches)
		for _, e := range events {
			requests[simulate.Stretch(e, limit, stretches)]++
		}
		result := simulate.Run(algorithm, []ratelimiter.Limit{limit}, limit, events, stretches)
		highest := slices.Max(requests)
		all = append(all, panel{
			Title:    p.title,
			Label:    fmt.Sprintf("at most %d allowed within any minute", result.Worst[0]),
			X:        20 + i*(width+40),
			Requests: bars(requests, highest), Allowed: bars(result.Passed, highest),
			InWindow: line(inWindow(result.Passed)),
			Ticks:    []int{0, width / 4, width / 2, width * 3 / 4, width},
		})
	}
	var b bytes.Buffer
	err := template.Must(template.New("").Parse(layout)).Execute(&b, map[string]any{"Algorithm": algorithm, "Panels": all})
	return b.Bytes(), err
}

// bars are the outlines of a bar for each stretch of time that has requests.
func bars(counts []int, highest int) string {
	var path strings.Builder
	for i, n := range counts {
		if n > 0 {
			height := barHeight * float64(n) / float64(highest)
			fmt.Fprintf(&path, "M%.2f 0v%.1fh%.2fv%.1fz", at(i), -height, at(1), height)
		}
	}
	return path.String()
}

// inWindow is how many passed in the period that ends with each stretch.
func inWindow(passed []int) []int {
	sums, sum := make([]int, len(passed)), 0
	for i, n := range passed {
		sum += n
		if before := i - stretches/simulate.Periods; before >= 0 {
			sum -= passed[before]
		}
		sums[i] = sum
	}
	return sums
}

// line goes through the counts at the end of each stretch. The limit is at a height of 30.
func line(counts []int) string {
	var path strings.Builder
	path.WriteString("M0 0")
	for i, n := range counts {
		fmt.Fprintf(&path, "L%.2f %.1f", at(i+1), -30*float64(n)/float64(limit.Limit))
	}
	return path.String()
}

// at is where a stretch starts.
func at(stretch int) float64 { return float64(stretch) * width / stretches }
