package examples_test

import (
	"encoding/json"
	"io/fs"
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
	architecture = "../docs/architecture.md"
	module       = "github.com/gin-ratelimiter/ratelimiter"
)

// testSources is the text of all test files, and of the conformance suite.
func testSources(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	require.NoError(t, filepath.WalkDir("..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") && !strings.HasPrefix(path, "../backends/backendtest/") || filepath.Ext(path) != ".go" {
			return err
		}
		text, err := os.ReadFile(path)
		all.Write(text)
		return err
	}))
	return all.String()
}

// requireNamesExist checks the files and the test functions that a page names.
func requireNamesExist(t *testing.T, page, sources string) {
	t.Helper()
	files := regexp.MustCompile("`([\\w/-]+(?:\\.(?:go|lua|md)|/))`").FindAllStringSubmatch(page, -1)
	require.NotEmpty(t, files)
	for _, file := range files {
		_, err := os.Stat(filepath.Join("..", file[1]))
		require.NoError(t, err)
	}
	tests := regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllStringSubmatch(page, -1)
	require.NotEmpty(t, tests)
	for _, test := range tests {
		if !strings.Contains(sources, "\nfunc "+test[1]+"(") {
			t.Errorf("there is no test %s", test[1])
		}
	}
}

func TestTheArchitectureNamesFilesAndTestsThatExist(t *testing.T) {
	sources := testSources(t)
	page := read(t, architecture)
	requireNamesExist(t, page, sources)
	requireNamesExist(t, read(t, "../CONTRIBUTING.md"), sources)
	laws := regexp.MustCompile(`(?m)^\| \d \|.*`).FindAllString(page, -1)
	require.Len(t, laws, 9)
	for _, law := range laws {
		cases := regexp.MustCompile(`"[^"]+"`).FindAllString(law, -1)
		require.NotEmpty(t, cases, law)
		for _, name := range cases {
			if !strings.Contains(sources, "("+name+", ") {
				t.Errorf("the conformance suite has no test %s", name)
			}
		}
	}
}

// imported is what go list says about a package.
type imported struct {
	ImportPath string
	Imports    []string
}

// libraryImports returns what the packages of the library import themselves.
func libraryImports(t *testing.T) (list []imported) {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", "./...")
	command.Dir = ".."
	output, err := command.Output()
	require.NoError(t, err)
	for decoder := json.NewDecoder(strings.NewReader(string(output))); decoder.More(); {
		var p imported
		require.NoError(t, decoder.Decode(&p))
		if !strings.HasPrefix(p.ImportPath, module+"/examples") {
			list = append(list, p)
		}
	}
	return list
}

// shown writes an import path as the page does.
func shown(path string) string {
	if path == module {
		return "`.`"
	}
	return "`" + strings.TrimPrefix(path, module+"/") + "`"
}

// row writes the imports of a package as the page does: those of this module, and others.
func (p imported) row() (own, others string) {
	var inside, outside []string
	for _, path := range p.Imports {
		switch host, _, _ := strings.Cut(path, "/"); {
		case strings.HasPrefix(path, module):
			inside = append(inside, shown(path))
		case strings.Contains(host, "."):
			outside = append(outside, shown(path))
		}
	}
	slices.Sort(inside)
	return strings.Join(inside, ", "), strings.Join(outside, ", ")
}

func TestImportsAreThoseOfTheArchitectureAndRunOneWay(t *testing.T) {
	above := map[string]bool{}
	packages := libraryImports(t)
	rows := regexp.MustCompile("(?m)^\\| (`[^`|]+`) \\| [^|]+ \\| ?([^|]*?) ?\\| ?([^|]*?) ?\\|$").FindAllStringSubmatch(read(t, architecture), -1)
	for _, row := range rows {
		name := row[1]
		above[name] = true
		at := slices.IndexFunc(packages, func(p imported) bool { return shown(p.ImportPath) == name })
		require.GreaterOrEqual(t, at, 0, "there is no package %s", name)
		own, others := packages[at].row()
		require.Equal(t, own, row[2], "what %s imports", name)
		require.Equal(t, others, row[3], "what %s imports from elsewhere", name)
		for _, path := range packages[at].Imports {
			require.False(t, above[shown(path)], "%s imports %s, which is not below it", name, path)
		}
	}
	require.Len(t, rows, len(packages), "one row for each package")
}

func TestGinAndRedisAreImportedInFewPlaces(t *testing.T) {
	for prefix, places := range map[string][]string{
		"github.com/gin-gonic/":  {".", "internal/clientip"},
		"github.com/redis/":      {"backends", "internal/redistest"},
		"github.com/stretchr/":   {"backends/backendtest", "internal/redistest"},
		"github.com/alicebob/":   {},
		"github.com/prometheus/": {},
	} {
		found := []string{}
		for _, p := range libraryImports(t) {
			if slices.ContainsFunc(p.Imports, func(path string) bool { return strings.HasPrefix(path, prefix) }) {
				found = append(found, strings.Trim(shown(p.ImportPath), "`"))
			}
		}
		require.Equal(t, places, found, prefix)
	}
}
