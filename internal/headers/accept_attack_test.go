package headers

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Headers of a megabyte, which is what a server reads at most, in the forms that cost a
// parser most. One that looked at each character more than a few times would not end.
func TestALongAcceptHeaderIsReadInOnePass(t *testing.T) {
	const long = 1 << 20
	for _, header := range []string{
		"text/html" + strings.Repeat(",", long),
		strings.Repeat(",", long) + "text/html",
		"text/html" + strings.Repeat(", ", long/2) + strings.Repeat(" ", long/2),
		"text/html" + strings.Repeat(";", long),
		"text/html" + strings.Repeat(";a=b", long/4),
		"text/html" + strings.Repeat(",a/b;q=0.5", long/10),
		"text/html,\"" + strings.Repeat(`\`, long),
		"text/html," + strings.Repeat(`"`, long+1),
		"text/html," + strings.Repeat(`%"`, long/2),
	} {
		require.True(t, PrefersHTML(header), header[:20])
	}
}

func TestLongItemsOfOthersAreKept(t *testing.T) {
	const long = 1 << 20
	for _, item := range []string{
		`"` + strings.Repeat(`\"`, long/2) + `";r=1`, `"` + strings.Repeat(`\`, long), strings.Repeat("(", long), strings.Repeat(`%"a"`, long/4),
	} {
		kept := AppendOthers(nil, []string{item}, func(string) bool { return false })
		require.Equal(t, item, string(kept))
	}
	list := strings.Repeat(`"a";r=1, `, long/9)
	require.Empty(t, AppendOthers(nil, []string{list}, func(name string) bool { return name == "a" }))
}
