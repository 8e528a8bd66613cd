// Command table runs the benchmarks once and prints what they found, as ratios
// in Markdown. Call it in the folder bench:
//
//	go run ./cmd/table
//	go run ./cmd/table -save raw.txt           # keep the output of the benchmarks
//	go run ./cmd/table -from raw.txt -figures  # print it again, not as ratios
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

func main() {
	from := flag.String("from", "", "read this output of the benchmarks, and run nothing")
	save := flag.String("save", "", "write the output of the benchmarks to this file")
	count := flag.Int("count", 3, "how often to run all benchmarks; medians count")
	benchtime := flag.String("benchtime", "100ms", "how long to run each benchmark each time")
	figures := flag.Bool("figures", false, "print nanoseconds and operations a second in place of ratios")
	flag.Parse()

	if err := run(*from, *save, *count, *benchtime, *figures); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(from, save string, count int, benchtime string, figures bool) error {
	var output []byte
	var err error
	if from != "" {
		output, err = os.ReadFile(from)
	} else {
		output, err = benchmarks(count, benchtime)
	}
	if err != nil {
		return err
	}
	if save != "" {
		if err := os.WriteFile(save, output, 0o644); err != nil {
			return err
		}
	}
	printAll(os.Stdout, parse(string(output)), figures)
	return nil
}

// benchmarks runs all of them, and then all of them again, for what disturbs a
// machine lasts longer than one benchmark: -test.count would repeat each before
// it goes on to the next. Sizes are the same each time. Each kind has a process
// of its own, because not everybody cleans up.
func benchmarks(count int, benchtime string) ([]byte, error) {
	folder, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	binary := filepath.Join(folder, "bench.test")
	var output bytes.Buffer
	run := func(name string, arguments ...string) error {
		command := exec.Command(name, arguments...)
		command.Stdout = io.MultiWriter(&output, os.Stderr) // to show how far it is
		command.Stderr = os.Stderr
		return command.Run()
	}
	if err := run("go", "test", "-c", "-o", binary, "."); err != nil {
		return nil, fmt.Errorf("compiling the benchmarks: %w", err)
	}
	kinds := []string{"Size"}
	for range count {
		kinds = append(kinds, "Memory", "Gin", "Redis")
	}
	for _, kind := range kinds {
		// Two cores, however many there are, so that rows mean the same everywhere.
		err := run(binary, "-test.run", "^$", "-test.bench", "^Benchmark"+kind+"$", "-test.cpu", "2", "-test.benchtime", benchtime)
		if err != nil {
			return nil, fmt.Errorf("running the benchmarks: %w", err)
		}
	}
	return output.Bytes(), nil
}
