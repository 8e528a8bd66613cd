// The command mutation changes one operator of a package at a time, and lists the
// changes that no test notices. From the folder of this module:
//
//	go run . ./internal/window
//	go run . -tests . ./internal/inprogress
//
// The package is compiled once, with all its mutants: conditions negated, bounds moved
// by one, && and || exchanged, + and - exchanged, and so on, as in
// https://github.com/go-gremlins/gremlins. For each mutant, only the tests that reach it
// are run.
package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"golang.org/x/tools/go/packages"
)

type options struct {
	root, tests, only string
	long              bool
	patience          time.Duration // how much longer than five times their usual time the tests of a mutant may run
	out               io.Writer
}

func main() {
	o := options{patience: 10 * time.Second, out: os.Stdout}
	flag.StringVar(&o.root, "root", "..", "the folder of the module that the packages are in")
	flag.StringVar(&o.tests, "tests", "", "the packages whose tests run, separated by commas; by default the changed package")
	flag.StringVar(&o.only, "only", ".", "a pattern for the mutants that run, as `bucket.go:12:`")
	flag.BoolVar(&o.long, "long", false, "run the tests without -short")
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	for _, name := range flag.Args() {
		if err := o.mutate(name); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// mutate runs the mutants of one package, and prints those that survive.
func (o *options) mutate(name string) error {
	scratch, err := os.MkdirTemp("", "mutation")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	root, err := filepath.Abs(o.root)
	if err != nil {
		return err
	}
	mutants, overlay, err := instrument(root, name, scratch)
	if err != nil {
		return err
	}
	var suites []*suite
	for i, testPackage := range strings.Split(cmp.Or(o.tests, name), ",") {
		binary := filepath.Join(scratch, fmt.Sprintf("%d.test", i))
		if err := build(root, testPackage, overlay, binary); err != nil {
			return err
		}
		s := &suite{binary: binary, folder: filepath.Join(root, testPackage), out: o.out, patience: o.patience}
		if err := s.trace(!o.long, len(mutants)); err != nil {
			return err
		}
		suites = append(suites, s)
	}
	if mutants, err = o.choose(mutants); err != nil {
		return err
	}
	counts := map[outcome]int{}
	for _, m := range mutants {
		result := tryAll(suites, m)
		if counts[result]++; result != killed {
			_, _ = fmt.Fprintf(o.out, "%-11s %v\n", result, m)
		}
	}
	o.report(name, counts)
	return nil
}

// instrument writes the files of a package with all mutants into a folder, and returns
// the mutants and the overlay for the compiler.
func instrument(root, name, folder string) ([]mutant, string, error) {
	loaded, err := packages.Load(&packages.Config{
		Dir:  root,
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedCompiledGoFiles | packages.NeedSyntax | packages.NeedTypes | packages.NeedTypesInfo | packages.NeedImports,
	}, name)
	if err != nil {
		return nil, "", err
	}
	if len(loaded) != 1 || len(loaded[0].Errors) > 0 || len(loaded[0].Syntax) == 0 {
		return nil, "", fmt.Errorf("%s is not one package without errors: %v", name, loaded)
	}
	p := loaded[0]
	in := &instrumenter{files: p.Fset, info: p.TypesInfo}
	replaced := map[string]string{}
	write := func(path, text string) error {
		out := filepath.Join(folder, filepath.Base(path))
		replaced[path] = out
		return os.WriteFile(out, []byte(text), 0o600)
	}
	for i, file := range p.Syntax {
		path := p.CompiledGoFiles[i]
		if in.source, err = os.ReadFile(path); err != nil {
			return nil, "", err
		}
		from := in.offset(file.Package) // build constraints and comments stay in front
		text := string(in.source[:from]) + in.rewrite(file) + string(in.source[in.offset(file.End()):])
		if err := write(path, text); err != nil {
			return nil, "", err
		}
	}
	if len(in.mutants) == 0 {
		return nil, "", errors.New(name + " has no operator to change")
	}
	folderOfPackage := filepath.Dir(p.CompiledGoFiles[0])
	if err := write(filepath.Join(folderOfPackage, "mutant_switch.go"), "package "+p.Name+"\n"+mutantSwitch); err != nil {
		return nil, "", err
	}
	text, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		return nil, "", err
	}
	overlay := filepath.Join(folder, "overlay.json")
	return in.mutants, overlay, os.WriteFile(overlay, text, 0o600)
}

// choose returns the mutants that -only names.
func (o *options) choose(mutants []mutant) ([]mutant, error) {
	only, err := regexp.Compile(o.only)
	if err != nil {
		return nil, err
	}
	var chosen []mutant
	for _, m := range mutants {
		if only.MatchString(m.String()) {
			chosen = append(chosen, m)
		}
	}
	return chosen, nil
}

// tryAll runs a mutant in one suite after the other, until it is killed.
func tryAll(suites []*suite, m mutant) outcome {
	result := notReached
	for _, s := range suites {
		switch got := s.try(m); got {
		case killed, timedOut:
			return got
		case survived:
			result = survived
		}
	}
	return result
}

func (o *options) report(name string, counts map[outcome]int) {
	ran := counts[killed] + counts[timedOut] + counts[survived] + counts[notReached]
	_, _ = fmt.Fprintf(o.out, "%s: %d mutants, %d killed, %d timed out, %d survived, %d not reached: %.1f %% killed or timed out\n\n",
		name, ran, counts[killed], counts[timedOut], counts[survived], counts[notReached],
		100*float64(counts[killed]+counts[timedOut])/float64(max(ran, 1)))
}
