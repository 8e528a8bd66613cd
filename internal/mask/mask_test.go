package mask

import (
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestAMaskedScopeShowsAtMostItsBeginning(t *testing.T) {
	hash := regexp.MustCompile(`#[0-9a-f]{6}`)
	masker := New()
	for scope, want := range map[string]string{
		"192.0.2.7":                "192.0.2.x#",
		"::ffff:192.0.2.7":         "192.0.2.x#",
		"192.0.2.0/24":             "192.0.2.x#",
		"2001:db8:1:2::/64":        "2001:db8:x#",
		"2001:db8::7":              "2001:db8:x#",
		"2001:db8::7%eth0":         "2001:db8:x#",
		"::1":                      "0:0:x#",
		"ann@example.org":          "ann#",
		"sk_live_4242424242":       "sk_#",
		"alice":                    "a#",
		"42":                       "#",
		"":                         "#",
		"Bearer x y z":             "Bea#",
		"a b c d e f g h":          "a#",
		`"quoted" = yes`:           "#",
		"Ådåm Öberg":               "Ådå#",
		"\x1b[31mred":              "#",
		"\xff\xfe\xfd\xfc":         "#",
		"abc\u202edefghijkl":       "abc#",
		"sha256:AAAAAAAAAAAAAAAA":  "sha#",
		"192.0.2.7|ann@example.or": "192.0.2.x#|ann#",
		"192.0.2.7|":               "192.0.2.x#|#",
		"a|b|c|d":                  "#|#|#|#",
		"a|b|c|d|e":                "a#",
		strings.Repeat("|", 100):   "#",
		"everyone":                 "everyone",
		"no address":               "no address",
	} {
		masked := masker.Scope(scope)
		require.Equal(t, want, hash.ReplaceAllString(masked, "#"), scope)
		require.Len(t, hash.FindAllString(masked, -1), strings.Count(want, "#"), masked)
	}
}

func TestMasksAreStableAndDifferForNeighbouringClients(t *testing.T) {
	masker := New()
	first := masker.Scope("192.0.2.7")
	require.Equal(t, first, masker.Scope("192.0.2.7"))
	require.NotEqual(t, masker.Scope("192.0.2.7"), masker.Scope("192.0.2.8"))
	require.NotEqual(t, masker.Scope("ann@example.org"), masker.Scope("ann@example.com"))
}

func TestMasksDependOnTheSecret(t *testing.T) {
	require.NotEqual(t, New().Scope("192.0.2.7"), WithSecret("").Scope("192.0.2.7"), "without a secret, the key is that of the process")
	require.NotEqual(t, WithSecret("one").Scope("192.0.2.7"), WithSecret("two").Scope("192.0.2.7"))
	require.Equal(t, "192.0.2.x#6d2e21", WithSecret("one").Scope("192.0.2.7"), "the same in every process")
}

func TestAMaskContainsOnlySafeCharacters(t *testing.T) {
	masker := New()
	rapid.Check(t, func(t *rapid.T) {
		scope := rapid.OneOf(rapid.String(), rapid.StringOf(rapid.RuneFrom([]rune("a1:./%|\"'= <>&\n\x1b\u202e")))).Draw(t, "scope")
		masked := masker.Scope(scope)
		if masked == scope {
			require.Contains(t, []string{"everyone", "no address"}, scope)
			return
		}
		require.Less(t, len(masked), 120)
		require.True(t, utf8.ValidString(masked))
		require.False(t, strings.ContainsFunc(masked, func(r rune) bool {
			return !unicode.IsPrint(r) || strings.ContainsRune("\"'= <>&", r)
		}), masked)
	})
}

func TestAllMaskersOfAProcessShareAKey(t *testing.T) {
	first, second := New(), New()
	require.Equal(t, first.Scope("192.0.2.7"), second.Scope("192.0.2.7"))
	require.NotEqual(t, WithSecret("another").Scope("192.0.2.7"), New().Scope("192.0.2.7"))
}

func TestAnIDDistinguishesScopesAndRevealsNothing(t *testing.T) {
	m, again := New(), New()
	require.Equal(t, m.ID("ann"), again.ID("ann"))
	require.NotEqual(t, m.ID("ann"), m.ID("bob"))
	require.NotEqual(t, m.ID("ann"), WithSecret("another").ID("ann"), "it depends on the key")
	require.Regexp(t, "^[0-9a-f]{16}$", m.ID("ann"))
}
