package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// blanks is an input without end.
type blanks struct{}

func (blanks) Read(p []byte) (n int, err error) { return copy(p, strings.Repeat(" ", len(p))), nil }

// Somebody names a log, or a device, where a configuration or a list of routes should be.
func TestOnlyTheBeginningOfAHugeFileIsReadWhereASmallOneIsExpected(t *testing.T) {
	large := filepath.Join(t.TempDir(), "access.log")
	file, err := os.Create(large)
	require.NoError(t, err)
	require.NoError(t, file.Truncate(1<<40)) // zeros that take no room
	require.NoError(t, file.Close())
	for _, args := range [][]string{{"check", "-"}, {"check", large}, {"plan", "--routes", large, excerpt}} {
		root := newRoot()
		root.SetArgs(args)
		root.SetIn(blanks{})
		root.SetOut(io.Discard)
		require.ErrorContains(t, root.ExecuteContext(t.Context()), "is larger than 4 MiB", args)
	}
}

func TestYAMLThatNestsWithoutEndIsNotParsed(t *testing.T) {
	for _, level := range []string{"[", "{a: ", "- ", "? "} {
		_, _, err := run(t, "a: 1\nb:\n  "+strings.Repeat(level, 100_000), "check", "-")
		require.ErrorContains(t, err, "it nests more than 100 levels deep")
	}
	_, _, err := run(t, "nested: "+strings.Repeat("[", 100)+strings.Repeat("]", 100)+"\n# "+strings.Repeat("-", 200)+"\n"+strings.Repeat("# -\n", 200), "check", "-")
	require.NoError(t, err)
}

func TestAliasesOfYAMLDoNotMultiply(t *testing.T) {
	for _, nest := range []string{"[%s, %s, %s, %s, %s]", "{a: %s, b: %s, c: %s, d: %s, e: %s}"} {
		bomb := "a: &a text\n"
		for name := 'b'; name < 'z'; name++ {
			alias := fmt.Sprintf("*%c ", name-1)
			bomb += fmt.Sprintf("%c: &%c "+nest+"\n", name, name, alias, alias, alias, alias, alias)
		}
		_, _, err := run(t, bomb, "check", "-")
		require.ErrorContains(t, err, "the aliases of the configuration expand to more than 4 MiB")
	}
	out, _, err := run(t, "usual: &usual 100/minute\nRATELIMITER_DEFAULT_LIMITS: *usual\n", "check", "-")
	require.NoError(t, err)
	require.Contains(t, out, "100 per minute for each client on each route")
}
