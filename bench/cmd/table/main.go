// Command table measures this rate limiter beside its peers and prints what it
// found, as ratios in Markdown. Call it in the folder bench:
//
//	go run ./cmd/table                          # everything
//	go run ./cmd/table -memory -gin             # these parts alone
//	go run ./cmd/table -save run.json           # keep what was measured
//	go run ./cmd/table -from run.json -figures  # print it again, not as ratios
//	go run ./cmd/table -record                  # record the ratios in ratios.json
//	go run ./cmd/table -memory -gin -check      # fail if they are worse than those
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/gin-ratelimiter/ratelimiter/bench/results"
)

// recorded is the file that -record writes and -check reads.
const recorded = "ratios.json"

// parts are what can be measured by itself. Each has a process of its own, because
// not everybody cleans up.
var parts = []string{"sizes", "memory", "gin", "redis"}

type options struct {
	parts                  []string
	turns                  int
	from, save             string
	figures, record, check bool
	tolerance              float64
}

func main() {
	var o options
	chosen := map[string]*bool{}
	for _, part := range parts {
		chosen[part] = flag.Bool(part, false, "measure the part "+part+"; without any of these flags all parts are measured")
	}
	flag.IntVar(&o.turns, "turns", 200, "how many turns each contender has in each group; medians count")
	flag.StringVar(&o.from, "from", "", "read a run that was saved, and measure nothing")
	flag.StringVar(&o.save, "save", "", "write what was measured to this file")
	flag.BoolVar(&o.figures, "figures", false, "print nanoseconds and operations a second in place of ratios")
	flag.BoolVar(&o.record, "record", false, "record our ratios in "+recorded)
	flag.BoolVar(&o.check, "check", false, "fail if a ratio is worse than the recorded one, in two runs")
	flag.Float64Var(&o.tolerance, "tolerance", 0.15, "how much worse a ratio may be for -check, as a part of the recorded one")
	flag.Parse()
	for _, part := range parts {
		if *chosen[part] {
			o.parts = append(o.parts, part)
		}
	}
	if len(o.parts) == 0 {
		o.parts = parts
	}
	if err := o.run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func (o *options) run() error {
	run, err := o.measureOrLoad()
	if err != nil {
		return err
	}
	run.Print(os.Stdout, o.figures)
	if o.save != "" {
		if err := run.Save(o.save); err != nil {
			return err
		}
	}
	if o.check {
		if err := o.compare(run.Record()); err != nil {
			return err
		}
	}
	if o.record {
		return run.Record().Save(recorded)
	}
	return nil
}

func (o *options) measureOrLoad() (results.Run, error) {
	if o.from != "" {
		return results.Load(o.from)
	}
	return o.measure()
}

// compare fails if ratios are worse than those that were recorded. What disturbs a
// machine seldom does so twice, so it measures again before it says so.
func (o *options) compare(now results.Record) error {
	before, err := results.LoadRecord(recorded)
	if err != nil {
		return fmt.Errorf("nothing to compare with, run `go run ./cmd/table -record` first: %w", err)
	}
	worse := now.Worse(before, o.tolerance)
	if len(worse) > 0 && o.from == "" {
		fmt.Fprintln(os.Stderr, "worse, so it is measured again:\n"+strings.Join(worse, "\n"))
		again, err := o.measure()
		if err != nil {
			return err
		}
		worse = now.Better(again.Record()).Worse(before, o.tolerance)
	}
	if len(worse) > 0 {
		return fmt.Errorf("worse than recorded by more than %.0f %%:\n%s", 100*o.tolerance, strings.Join(worse, "\n"))
	}
	fmt.Println("\nNothing is worse than recorded.")
	return nil
}

// measure runs TestMeasure, once for each part.
func (o *options) measure() (run results.Run, err error) {
	folder, err := os.MkdirTemp("", "bench")
	if err != nil {
		return run, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	binary := filepath.Join(folder, "bench.test")
	if err := command("go", "test", "-c", "-o", binary, "."); err != nil {
		return run, fmt.Errorf("compiling the measurements: %w", err)
	}
	for _, part := range o.parts {
		output := filepath.Join(folder, part)
		// Two cores, however many there are, so that rows mean the same everywhere.
		err := command(binary, "-test.run", "^TestMeasure$", "-test.cpu", "2", "-test.timeout", "1h",
			"-part", part, "-turns", fmt.Sprint(o.turns), "-output", output)
		if err != nil {
			return run, fmt.Errorf("measuring the part %s: %w", part, err)
		}
		measured, err := results.Load(output)
		if errors.Is(err, os.ErrNotExist) {
			continue // it was skipped, as Redis is where there is none
		} else if err != nil {
			return run, err
		}
		run.Groups = append(run.Groups, measured.Groups...)
		run.Sizes = append(run.Sizes, measured.Sizes...)
	}
	return run, nil
}

func command(name string, arguments ...string) error {
	c := exec.Command(name, arguments...)
	c.Stdout, c.Stderr = os.Stderr, os.Stderr // to show how far it is
	return c.Run()
}
