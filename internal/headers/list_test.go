package headers_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"
	"github.com/gin-ratelimiter/ratelimiter/internal/headers"
	"github.com/stretchr/testify/require"
)

func TestCutItem(t *testing.T) {
	for list, want := range map[string][]string{
		``:                            nil,
		` , ,`:                        nil,
		`"a";q=1`:                     {`"a";q=1`},
		`"a";q=1, "b";q=2`:            {`"a";q=1`, `"b";q=2`},
		"\t\"a\" ,\t,\"b\" ":          {`"a"`, `"b"`},
		`"a, b";q=1,c`:                {`"a, b";q=1`, `c`},
		`"a";x="y, \"z, z\"" ,"b"`:    {`"a";x="y, \"z, z\""`, `"b"`},
		`"a\\", "b"`:                  {`"a\\"`, `"b"`},
		`%"a\", %"%22, b"`:            {`%"a\"`, `%"%22, b"`},
		`("a, b" c);d="e, f", :Z29v:`: {`("a, b" c);d="e, f"`, `:Z29v:`},
		`"never closed, "b"`:          {`"never closed, "b"`},
		`"ends with an escape\`:       {`"ends with an escape\`},
	} {
		require.Equal(t, want, slices.Collect(headers.Items([]string{list})), list)
	}
	require.Equal(t, []string{"a", "b", "c"}, slices.Collect(headers.Items([]string{"a, b", "", "c"})), "several values")
	for item := range headers.Items([]string{"a, b"}) {
		require.Equal(t, "a", item)
		break
	}
}

func TestItemName(t *testing.T) {
	for item, want := range map[string]string{
		`"per-minute";q=1`: "per-minute", `"per-minute"`: "per-minute", `"a;b, c";q=1`: "a;b, c",
		`"a\"b\\c";q=1`: `a"b\c`, `"\\\"";q=1`: `\"`,
		``: "", `""`: "", `token;q=1`: "", `100;w=60`: "", `%"a"`: "", `"`: "", `"a`: "", `"a\"`: "", `"a"b`: "", `"a" ;q=1`: "", `("a")`: "",
	} {
		require.Equal(t, want, headers.ItemName(item), item)
	}
}

func TestItemsOfOthersAreKeptAndOwnOnesReplaced(t *testing.T) {
	ours := func(name string) bool { return name == "per-minute" || name == "a, b" }
	for _, test := range []struct {
		existing []string
		want     string
	}{
		{nil, `"per-minute";r=1;t=2`},
		{[]string{""}, `"per-minute";r=1;t=2`},
		{[]string{`"foreign";r=9`}, `"foreign";r=9, "per-minute";r=1;t=2`},
		{[]string{`"per-minute";r=9`}, `"per-minute";r=1;t=2`},
		{[]string{`"per-minute-2";r=9,"per-minute";r=8`, `"a, b";r=7`, `per-minute`}, `"per-minute-2";r=9, per-minute, "per-minute";r=1;t=2`},
	} {
		b := headers.AppendSeparator(headers.AppendOthers(nil, test.existing, ours))
		require.Equal(t, test.want, string(headers.AppendLimit(b, "per-minute", 1, 2*time.Second)))
	}
}

func FuzzItems(f *testing.F) {
	f.Add(`"a";q=1, "b";q=2`, `"c";x="a, \"a, b\""`)
	f.Add(`a, (b "c, d");e, :Z29v:;f=?1, @12`, `%"%22, x\"`)
	f.Add(`, ,"a`, `\,\"`)
	f.Fuzz(func(t *testing.T, first, second string) {
		values := []string{first, second}
		items := slices.Collect(headers.Items(values))
		require.Equal(t, letters(first+second), letters(strings.Join(items, "")), "nothing is lost")
		for _, item := range items {
			require.NotEmpty(t, item)
		}

		var members httpsfv.List
		for _, value := range values {
			list, err := httpsfv.UnmarshalList([]string{value})
			if err != nil {
				return
			}
			members = append(members, list...)
		}
		require.Len(t, items, len(members))
		others := httpsfv.List{}
		for i, item := range items {
			alone, err := httpsfv.UnmarshalList([]string{item})
			require.NoError(t, err)
			require.Equal(t, httpsfv.List{members[i]}, alone)
			name := nameOf(members[i])
			require.Equal(t, name, headers.ItemName(item))
			if name != "a" {
				others = append(others, members[i])
			}
		}
		b := headers.AppendOthers(nil, values, func(name string) bool { return name == "a" })
		b = headers.AppendLimit(headers.AppendSeparator(b), "a", 7, time.Second)
		merged, err := httpsfv.UnmarshalList([]string{string(b)})
		require.NoError(t, err)
		require.Len(t, merged, len(others)+1)
		require.Equal(t, others, merged[:len(others)])
		require.Equal(t, "a", nameOf(merged[len(others)]))
	})
}

// letters returns a text without the characters that separate items.
func letters(text string) string {
	return strings.NewReplacer(" ", "", "\t", "", ",", "").Replace(text)
}

func nameOf(member httpsfv.Member) string {
	item, _ := member.(httpsfv.Item)
	name, _ := item.Value.(string)
	return name
}
