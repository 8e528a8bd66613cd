package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// A suite is the compiled tests of one package.
type suite struct {
	binary, folder string
	out            io.Writer
	patience       time.Duration // see options
	arguments      []string
	tests          []*test
}

// A test is one test function and the mutants that it reaches.
type test struct {
	name    string
	took    time.Duration
	reached []byte // by the number of the mutant
}

type outcome string

const (
	killed     outcome = "killed"
	timedOut   outcome = "timed out"
	survived   outcome = "survived"
	notReached outcome = "not reached"
)

// trace lists the tests in the binary, and runs each alone to see which mutants it
// reaches. A test that fails without a mutant is left out, and named.
func (s *suite) trace(short bool, mutants int) error {
	s.arguments = []string{"-test.failfast"}
	if short {
		s.arguments = append(s.arguments, "-test.short")
	}
	// Property tests would write each failure to a file. Only they know this flag.
	if s.command(context.Background(), "", "-test.list=^$", "-rapid.nofailfile").Run() == nil {
		s.arguments = append(s.arguments, "-rapid.nofailfile")
	}
	list, err := s.command(context.Background(), "", "-test.list=.").Output()
	if err != nil {
		return fmt.Errorf("list the tests in %s: %w", s.folder, err)
	}
	for name := range strings.FieldsSeq(string(list)) {
		if strings.HasPrefix(name, "Benchmark") {
			continue
		}
		t, err := s.traceTest(name, mutants)
		if err != nil {
			_, _ = fmt.Fprintf(s.out, "left out: %s fails without a mutant: %v\n", name, err)
			continue
		}
		s.tests = append(s.tests, t)
	}
	slices.SortStableFunc(s.tests, func(a, b *test) int { return cmp.Compare(a.took, b.took) })
	return nil
}

func (s *suite) traceTest(name string, mutants int) (*test, error) {
	reached := s.binary + ".reached"
	if err := os.WriteFile(reached, make([]byte, mutants+1), 0o600); err != nil {
		return nil, err
	}
	began := time.Now()
	arguments := append([]string{"-test.run=^" + name + "$", "-test.timeout=5m"}, s.arguments...)
	output, err := s.command(context.Background(), "MUTANTS_REACHED="+reached, arguments...).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, bytes.TrimSpace(output[:min(len(output), 600)]))
	}
	t := &test{name: name, took: time.Since(began)}
	t.reached, err = os.ReadFile(reached)
	return t, err
}

// try runs the tests that reach a mutant, the quickest first, until one fails.
func (s *suite) try(m mutant) outcome {
	var quick, slow []*test
	var sum time.Duration
	for _, t := range s.tests {
		if t.reached[m.id] == 0 {
			continue
		}
		if sum += t.took; sum < 2*time.Second {
			quick = append(quick, t)
		} else {
			slow = append(slow, t)
		}
	}
	result := notReached
	for _, tests := range [][]*test{quick, slow} {
		if len(tests) > 0 {
			if result = s.run(m, tests); result != survived {
				break
			}
		}
	}
	return result
}

func (s *suite) run(m mutant, tests []*test) outcome {
	names, limit := make([]string, len(tests)), s.patience
	for i, t := range tests {
		names[i] = t.name
		limit += 5 * t.took
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	arguments := append([]string{"-test.run=^(" + strings.Join(names, "|") + ")$"}, s.arguments...)
	err := s.command(ctx, fmt.Sprintf("MUTANT=%d", m.id), arguments...).Run()
	switch {
	case ctx.Err() != nil:
		return timedOut
	case err != nil:
		return killed
	}
	return survived
}

// command starts the binary in a process group, so that what it starts ends with it.
func (s *suite) command(ctx context.Context, env string, arguments ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, s.binary, arguments...)
	c.Dir = s.folder
	c.Env = append(os.Environ(), env)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	c.WaitDelay = time.Second
	return c
}

// build compiles the tests of a package with the instrumented files in place.
func build(root, testPackage, overlay, binary string) error {
	c := exec.Command("go", "test", "-c", "-vet=off", "-overlay", overlay, "-o", binary, testPackage)
	c.Dir = root
	if output, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("compile the tests of %s: %w\n%s", filepath.Join(root, testPackage), err, output)
	}
	return nil
}
