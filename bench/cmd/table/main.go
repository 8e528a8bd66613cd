// Command table runs the benchmarks once and prints what they found, as ratios
// in Markdown. Call it in the folder bench:
//
//	go run ./cmd/table
//	go run ./cmd/table -save raw.txt           # keep the output of go test
//	go run ./cmd/table -from raw.txt -figures  # print it again, not as ratios
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
)

func main() {
	from := flag.String("from", "", "read this output of go test -bench, and run nothing")
	save := flag.String("save", "", "write the output of go test -bench to this file")
	count := flag.Int("count", 3, "how often to run each benchmark; medians count")
	benchtime := flag.String("benchtime", "100ms", "how long to run each benchmark each time")
	figures := flag.Bool("figures", false, "print nanoseconds and operations a second in place of ratios")
	flag.Parse()

	results, err := results(*from, *save, *count, *benchtime)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	printAll(os.Stdout, results, *figures)
}

func results(from, save string, count int, benchtime string) (*samples, error) {
	if from != "" {
		file, err := os.Open(from)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		return parse(file)
	}
	seen := io.Writer(os.Stderr)
	if save != "" {
		file, err := os.Create(save)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		seen = io.MultiWriter(seen, file)
	}
	// Two cores, however many there are, so that rows mean the same everywhere.
	command := exec.Command("go", "test", "-run", "^$", "-bench", ".", "-timeout", "1h",
		"-cpu", "2", "-count", strconv.Itoa(count), "-benchtime", benchtime, ".")
	command.Stderr = os.Stderr
	output, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, err
	}
	found, err := parse(io.TeeReader(bufio.NewReader(output), seen))
	if err != nil {
		return nil, err
	}
	return found, command.Wait()
}
