// Package examples_test holds the texts of the project to what its code does.
package examples_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/examples/internal/exampletest"
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

// compile builds a file against this module, without changing anything in it.
func compile(t *testing.T, source string) (faults []string) {
	t.Helper()
	folder := t.TempDir()
	file := filepath.Join(folder, "main.go")
	require.NoError(t, os.WriteFile(file, []byte(source), 0o600))
	command := exec.CommandContext(t.Context(), "go", "build", "-gcflags=-e", "-o", filepath.Join(folder, "program.exe"), file)
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

// prelude declares what the fragments in the texts take for granted.
const prelude = `package main

import (
	"context"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/dashboard"
	"github.com/gin-ratelimiter/ratelimiter/logging"
	"github.com/redis/go-redis/v9"
)

var (
	engine   *gin.Engine
	admin    *gin.RouterGroup
	limiter  *ratelimiter.RateLimiter
	config   ratelimiter.Config
	client   redis.UniversalClient
	recorder *httptest.ResponseRecorder

	options  []ratelimiter.Option
	ctx      context.Context
	address  string

	metrics, audit ratelimiter.Observer
	c        *gin.Context

	upload, login, search, chat gin.HandlerFunc

	_ = log.Printf
	_ = http.StatusOK
	_ = time.Second
)

func main() {
`

// compiled are the texts of which the fragments are compiled, and not run: they say
// at length elsewhere what they only touch upon.
var compiled = []string{readme, reference, fromFlask}

func TestTheFragmentsInTheTextsCompile(t *testing.T) {
	var source strings.Builder
	source.WriteString(prelude)
	for _, path := range compiled {
		for _, block := range blocks(read(t, path), "go") {
			if !isProgram(block) {
				fmt.Fprintf(&source, "{\n%s}\n", block)
			}
		}
	}
	source.WriteString("}\n")
	for _, fault := range compile(t, source.String()) {
		// A fragment need not go on to use what it declares.
		require.Contains(t, fault, "declared and not used", source.String())
	}
}

// sources are the files that run the code of a page: docs/limit-logins.md is run by
// pages/limit_logins_test.go, and some pages have more.
func sources(page string) []string {
	more := map[string][]string{
		"own-backend.md": {"../backends/backendtest/example_test.go"},
		"observe.md":     {"observed/main.go"},
		"testing.md":     {"usertests/app_test.go"},
	}
	name := filepath.Base(page)
	test := "pages/" + strings.ReplaceAll(strings.TrimSuffix(name, ".md"), "-", "_") + "_test.go"
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
		if slices.Contains(compiled, page) {
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
		for _, match := range regexp.MustCompile(`\]\(([^)#]+)(#[^)]*)?\)`).FindAllStringSubmatch(read(t, path), -1) {
			if !strings.HasPrefix(match[1], "https://") {
				_, err := os.Stat(filepath.Join(filepath.Dir(path), match[1]))
				require.NoError(t, err, path)
			}
		}
	}
}

func TestTheReferenceKnowsEveryKeyAndOption(t *testing.T) {
	text := read(t, reference)
	for path, pattern := range map[string]string{
		"../config.go":                 `(?m)^\tConfig\w+ += "(RATELIMITER_[A-Z0-9_]+)"$`,
		"../backends/redis_options.go": `read\.[A-Z]\w+\("(\w+)"`,
		"../backends/memory.go":        `read\.[A-Z]\w+\("(\w+)"`,
		"../options.go":                `(?m)^func (With\w+)\(`,
		"../ban.go":                    `(?m)^func (With\w+)\(`,
		"../wait.go":                   `(?m)^func (With\w+)\(`,
		"../calendar.go":               `(?m)^func (With\w+)\(`,
		"../backends/algorithm.go":     `"([a-z]+-[a-z]+)"[,}]`,
	} {
		names := regexp.MustCompile(pattern).FindAllStringSubmatch(read(t, path), -1)
		require.NotEmpty(t, names, path)
		for _, name := range names {
			switch {
			case strings.HasPrefix(name[1], "With"): // a heading, and a line of code
				require.Contains(t, text, "\n#### "+name[1]+"\n\n```go\noptions = append(options, ratelimiter."+name[1]+"(")
			case strings.HasPrefix(name[1], "RATELIMITER_"): // a heading, with type and default
				require.Regexp(t, "(?m)^### "+name[1]+"\n\n.*; default .*\\. ", text)
			default: // the first column of a table; a cell may hold several names
				require.Regexp(t, "(?m)^\\| [^|]*`"+name[1]+"`[^|]* \\|", text, path)
			}
		}
	}
}

func TestTheReadmeIsShort(t *testing.T) {
	require.LessOrEqual(t, strings.Count(read(t, readme), "\n"), 200)
}

func TestTheTextsShowARejectionAsItIs(t *testing.T) {
	gin.SetMode(gin.TestMode)
	for path, per := range map[string]time.Duration{readme: 15 * time.Minute, reference: time.Second} {
		server := miniredis.RunT(t) // with a clock that stands still, in the middle of a second
		server.SetTime(time.Date(2026, 1, 1, 0, 0, 0, 500_000_000, time.UTC))
		engine := gin.New()
		limiter, err := ratelimiter.New(engine, ratelimiter.Config{
			"RATELIMITER_BACKEND":         "redis",
			"RATELIMITER_BACKEND_OPTIONS": map[string]any{"addr": server.Addr()},
			"RATELIMITER_TIMEOUT":         time.Minute,
		})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, limiter.Close()) })
		engine.GET("/", limiter.RateLimit(3, per), func(c *gin.Context) { c.Status(http.StatusOK) })
		url := exampletest.Serve(t, engine)
		exampletest.Statuses(t, 3, url)

		shown := blocks(read(t, path), "http")
		require.Len(t, shown, 1)
		varying := regexp.MustCompile(`(?m)^(Date|Content-Length|Connection|X-Ratelimit-Reset): .*\n`)
		rejection := strings.ReplaceAll(exampletest.Raw(t, url), "\r", "") + "\n"
		require.Equal(t, varying.ReplaceAllString(rejection, ""), varying.ReplaceAllString(shown[0], ""))
	}
}
