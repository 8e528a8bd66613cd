package pages_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The tests on the page testing.md run in a module of their own. Here the page is held
// to show all of them, as they stand there.
func TestThePageShowsTheTestsOfTheModule(t *testing.T) {
	page, err := os.ReadFile("../../docs/testing.md")
	require.NoError(t, err)
	files, err := filepath.Glob("../usertests/*.go")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		source, err := os.ReadFile(file)
		require.NoError(t, err)
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, file, source, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, declared := range parsed.Decls {
			function, ok := declared.(*ast.FuncDecl)
			if !ok || function.Name.Name == "init" {
				continue
			}
			text := source[set.Position(function.Pos()).Offset:set.Position(function.End()).Offset]
			require.Contains(t, string(page), "```go\n"+string(text)+"\n```\n", function.Name.Name)
		}
	}
}
