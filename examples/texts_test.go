// Package examples_test holds the texts of the project to what its code does.
package examples_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	readme    = "../README.md"
	reference = "../docs/reference.md"
	fromFlask = "../docs/from-flask-ratelimiter.md"
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

// blocks finds the code of one language in a text.
func blocks(text, language string) (found []string) {
	for _, match := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		found = append(found, match[1])
	}
	return found
}

// compile compiles a program against this module, without changing anything in it. A package
// that is not called main is not linked, which takes longer than all the rest.
func compile(t *testing.T, source string) (faults []string) {
	t.Helper()
	folder := t.TempDir()
	file := filepath.Join(folder, "main.go")
	require.Contains(t, source, "\nfunc main() {\n")
	source = strings.Replace(source, "package main", "package program", 1)
	require.NoError(t, os.WriteFile(file, []byte(source), 0o600))
	command := exec.CommandContext(t.Context(), "go", "build", "-gcflags=-e", file)
	command.Dir = ".."
	output, err := command.CombinedOutput()
	if err == nil {
		return nil
	}
	for line := range strings.Lines(string(output)) {
		if !strings.HasPrefix(line, "#") {
			faults = append(faults, strings.TrimSpace(line))
		}
	}
	return faults
}

// texts are the README and all pages of docs.
func texts(t *testing.T) []string {
	t.Helper()
	pages, err := filepath.Glob("../docs/*.md")
	require.NoError(t, err)
	require.NotEmpty(t, pages)
	return append(pages, readme)
}

func isProgram(block string) bool { return strings.HasPrefix(block, "package main") }

func TestTheProgramsInTheTextsCompile(t *testing.T) {
	for _, path := range texts(t) {
		programs := 0
		for _, block := range blocks(read(t, path), "go") {
			if isProgram(block) {
				programs++
				require.Empty(t, compile(t, block), block)
				require.Less(t, strings.Count(block, "\n"), 30, "longer than it has to be")
			}
		}
		if path == readme || path == fromFlask {
			require.Equal(t, 1, programs, path)
		}
	}
}

// isRunHere reports whether the fragments of a page are run by TestTheFragmentsRun, because they
// are too short for tests of their own.
func isRunHere(page string) bool { return page == reference || page == fromFlask }

// sources are the files that run the code of a page: docs/limit-logins.md is run by
// pages/limit_logins_test.go, and some pages have more.
func sources(page string) []string {
	more := map[string][]string{
		"own-backend.md": {"../backends/backendtest/example_test.go"},
		"observe.md":     {"observed/main.go"},
		"testing.md":     {"usertests/app_test.go"},
	}
	name := filepath.Base(page)
	test := "pages/" + strings.ToLower(strings.ReplaceAll(strings.TrimSuffix(name, ".md"), "-", "_")) + "_test.go"
	return append([]string{test}, more[name]...)
}

// runs tells whether a source file has the code of a block, as it stands on the page
// but for its indentation, in a declaration that a test gets to.
func runs(t *testing.T, file, block string) bool {
	t.Helper()
	if _, err := os.Stat(file); err != nil {
		return false
	}
	source := read(t, file)
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, file, source, parser.SkipObjectResolution)
	require.NoError(t, err)
	for indent := range 4 {
		indented := regexp.MustCompile("(?m)^(.)").ReplaceAllString(block, strings.Repeat("\t", indent)+"$1")
		at := strings.Index("\n"+source, "\n"+indented)
		if at < 0 {
			continue
		}
		for _, declared := range parsed.Decls {
			if set.Position(declared.Pos()).Offset <= at+len(indented)-1 && at < set.Position(declared.End()).Offset {
				return isReached(parsed, declared)
			}
		}
	}
	return false
}

// isReached tells whether a declaration is a test or is named by another one. That
// it is named to some purpose is for the compiler and the linter to see.
func isReached(file *ast.File, declared ast.Decl) bool {
	function, ok := declared.(*ast.FuncDecl)
	if !ok || function.Recv != nil || strings.HasPrefix(function.Name.Name, "Test") || strings.HasPrefix(function.Name.Name, "Example") {
		return true
	}
	reached := false
	for _, other := range file.Decls {
		ast.Inspect(other, func(node ast.Node) bool {
			name, isName := node.(*ast.Ident)
			reached = reached || isName && other != declared && name.Name == function.Name.Name
			return !reached
		})
	}
	return reached
}

func TestTheCodeOnThePagesIsRun(t *testing.T) {
	for _, page := range texts(t) {
		if isRunHere(page) {
			continue
		}
		require.NotRegexp(t, "(?m)^```+ *(go.+|golang.*)$", read(t, page), "write ```go, so that it is run: %s", page)
		for _, block := range blocks(read(t, page), "go") {
			found := isProgram(block)
			for _, file := range sources(page) {
				found = found || runs(t, file, block)
			}
			require.True(t, found, "%s shows code that no test runs; it must stand, letter by letter, in one of %v:\n%s", page, sources(page), block)
		}
	}
}

func TestTheIndexListsEveryPage(t *testing.T) {
	index := read(t, "../docs/README.md")
	for _, page := range texts(t) {
		if name := filepath.Base(page); name != "README.md" {
			require.Contains(t, index, "]("+name+")")
		}
	}
}

func TestTheLinksInTheTextsLeadSomewhere(t *testing.T) {
	for _, path := range append(texts(t), "../CHANGELOG.md") {
		for _, match := range regexp.MustCompile(`\]\(([^)#]*)(#[^)]*)?\)`).FindAllStringSubmatch(read(t, path), -1) {
			if strings.HasPrefix(match[1], "https://") {
				continue
			}
			target := filepath.Join(filepath.Dir(path), match[1])
			if match[1] == "" {
				target = path
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s, which does not exist", path, match[1])
			} else if match[2] != "" && !slices.Contains(anchors(read(t, target)), match[2]) {
				t.Errorf("%s links to %s%s, but there is no such heading", path, match[1], match[2])
			}
		}
	}
}

// anchors returns the fragments by which GitHub links to the headings of a text.
func anchors(text string) (list []string) {
	text = regexp.MustCompile("(?ms)^```.*?^```").ReplaceAllString(text, "")
	for _, match := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		plain := regexp.MustCompile(`[^\w -]`).ReplaceAllString(strings.ToLower(match[1]), "")
		list = append(list, "#"+strings.ReplaceAll(plain, " ", "-"))
	}
	return list
}
