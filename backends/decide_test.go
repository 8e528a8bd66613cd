package backends_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
)

// texts is a store of one string per key and scope, as Decide expects it. It records the
// calls of put.
type texts struct {
	stored  map[string]string
	written []string    // keys
	expires []time.Time // of each written string
}

func (s *texts) decide(t *testing.T, now time.Time, quotas ...backends.Quota) []backends.Verdict {
	t.Helper()
	verdicts := make([]backends.Verdict, len(quotas))
	require.NoError(t, backends.Decide(now, quotas, verdicts, s.get, s.put))
	return verdicts
}

func (s *texts) get(key, _ string) (string, error) { return s.stored[key], nil }

func (s *texts) put(key, _, text string, expires time.Time) error {
	if s.stored == nil {
		s.stored = map[string]string{}
	}
	s.stored[key] = text
	s.written, s.expires = append(s.written, key), append(s.expires, expires)
	return nil
}

var noon = time.Date(2026, 2, 3, 12, 0, 0, 0, time.UTC)

func TestDecideStoresOnlyWhatATakeChanges(t *testing.T) {
	charge, other := hourly("k", 5), hourly("other", 5)
	peek, tooMuch, shadow, none := charge, charge, charge, hourly("none", 0)
	peek.Cost, tooMuch.Cost, shadow.Cost, shadow.Shadow = 0, 6, 6, true
	ban := backends.Quota{Key: "k", Scope: "somebody", Limit: 2, Per: time.Hour, Ban: time.Hour, Cost: 1}
	peekAtBan := ban
	peekAtBan.Cost = 0
	for _, test := range []struct {
		name    string
		quotas  []backends.Quota
		written []string
	}{
		{"a charge", []backends.Quota{charge}, []string{"k"}},
		{"two charges on one key", []backends.Quota{charge, charge}, []string{"k"}},
		{"two charges on two keys", []backends.Quota{charge, other}, []string{"k", "other"}},
		{"a peek", []backends.Quota{peek}, nil},
		{"a charge and a peek elsewhere", []backends.Quota{peek, other}, []string{"other"}},
		{"a denied charge", []backends.Quota{tooMuch}, nil},
		{"a denied shadow", []backends.Quota{shadow}, nil},
		{"a charge with another that is denied", []backends.Quota{charge, none}, nil},
		{"a ban without a rejection", []backends.Quota{ban}, nil},
		{"a rejection that counts towards a ban", []backends.Quota{tooMuch, ban}, []string{"k"}},
		{"a rejection with a peek at the ban", []backends.Quota{tooMuch, peekAtBan}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			store := &texts{}
			store.decide(t, noon, test.quotas...)
			require.ElementsMatch(t, test.written, store.written)
		})
	}

	store := &texts{}
	for range 2 {
		store.decide(t, noon, tooMuch, ban)
	}
	store.written = nil
	require.False(t, store.decide(t, noon, charge, ban)[1].Allowed)
	require.Empty(t, store.written, "a denial by a ban does not extend it")
}

func TestDecideDeletesAStringThatHoldsNothingAnyMore(t *testing.T) {
	for _, algorithm := range everyAlgorithm {
		charge := hourly("k", 5)
		charge.Algorithm = algorithm
		daily, refund := charge, charge
		daily.Per, refund.Cost = 24*time.Hour, -1

		store := &texts{}
		store.decide(t, noon, charge)
		require.NotEmpty(t, store.stored["k"])
		require.True(t, store.expires[0].After(noon))
		store.decide(t, noon, refund)
		require.Empty(t, store.stored["k"], "%s: all units are refunded", algorithm)

		store.decide(t, noon, charge)
		expires := store.expires[len(store.expires)-1]
		store.decide(t, expires.Add(-time.Microsecond), daily)
		require.Equal(t, 2, strings.Count(store.stored["k"], "="), algorithm)
		daily.Cost = -1
		store.decide(t, expires, daily)
		require.NotContains(t, store.stored["k"], "3600000000=", "%s: a limit ends exactly when it expires", algorithm)
	}
}

// Anything can happen to a database. A string that was cut or edited must not be counted
// as something else.
func TestACorruptStringIsAnErrorThatNamesItsKey(t *testing.T) {
	logOf := func(numbers int) string { return "l3600000000=" + strings.Repeat("1,", numbers) + ";" }
	for name, text := range map[string]string{
		"not a state":                "hello",
		"cut before the semicolon":   "s3600000000=1,2,3,",
		"cut within the numbers":     "s3600000000=1,2,;",
		"a name without numbers":     "s3600000000;",
		"a semicolon":                ";",
		"no name":                    "=1,2,3,;",
		"an unknown algorithm":       "x3600000000=1,2,3,;",
		"a letter alone":             "s=1,2,3,;",
		"a period in letters":        "shour=1,2,3,;",
		"a period below the least":   "s999=1,2,3,;",
		"a period over the longest":  "s31622400000001=1,2,3,;",
		"a zone without a calendar":  "f86400000000@UTC=1,2,;",
		"a calendar without a zone":  "c86400000000=1,2,3,;",
		"a number without a comma":   "s3600000000=1,2,3;",
		"a number in letters":        "s3600000000=1,2,three,;",
		"a fraction":                 "s3600000000=1,2,3.5,;",
		"a negative number":          "s3600000000=1,2,-3,;",
		"a number over 2^53":         "s3600000000=1,2,9007199254740993,;",
		"too few for fixed-window":   "f3600000000=1,;",
		"too many for fixed-window":  "f3600000000=1,2,3,;",
		"too many for token-bucket":  "t3600000000=1,2,3,;",
		"too few for a calendar":     "c86400000000@UTC=1,2,;",
		"a log with half a cell":     logOf(3),
		"a log with too many cells":  logOf(2 * 130),
		"rejections with half a one": "b3600000000=1,2,3,;",
		"a corrupt second limit":     "s3600000000=1,2,3,;f3600000000=1,2;",
	} {
		t.Run(name, func(t *testing.T) {
			store := &texts{stored: map[string]string{"k": text}}
			err := backends.Decide(noon, []backends.Quota{hourly("k", 5)}, make([]backends.Verdict, 1), store.get, store.put)
			require.ErrorContains(t, err, `the stored state of key "k" and scope "somebody" is corrupt`)
			require.Empty(t, store.written)
		})
	}
	for name, text := range map[string]string{
		"nothing":          "",
		"a full log":       logOf(2 * 129),
		"an empty log":     logOf(0),
		"another limit":    "T1000=1,0,;",
		"the longest":      "f31622400000000=1,2,;",
		"another calendar": "c86400000000@UTC=1,2,3,;",
	} {
		store := &texts{stored: map[string]string{"k": text}}
		require.EqualValues(t, 4, store.decide(t, noon, hourly("k", 5))[0].Remaining, name)
	}
}

func TestDecideReturnsTheErrorsOfTheStore(t *testing.T) {
	failure := errors.New("the disk is full")
	store := &texts{}
	quotas, verdicts := []backends.Quota{hourly("k", 5)}, make([]backends.Verdict, 1)
	err := backends.Decide(noon, quotas, verdicts, func(string, string) (string, error) { return "", failure }, store.put)
	require.Equal(t, failure, err)
	err = backends.Decide(noon, quotas, verdicts, store.get, func(string, string, string, time.Time) error { return failure })
	require.Equal(t, failure, err)
	require.Empty(t, store.written)
}

// Names that could be mistaken for other parts of a stored string are hashed. A name that
// is stored differently in another version loses its counters during an update.
func TestTheNameOfATimeZoneIsStoredUnlessItIsAmbiguous(t *testing.T) {
	hashed := regexp.MustCompile(`^c86400000000@[0-9]{10,20}=`)
	for name, plain := range map[string]bool{
		"UTC": true, "Europe/Zurich": true, "America/Port-au-Prince": true, "Etc/GMT+0": true, "Etc/GMT-14": true, "America/St_Johns": true,
		"A": true, "Z": true, "a": true, "z": true, "AZ09": true,
		"17": false, "UTC123": false, "As60000000": false, "EST5EDT": false, "Café": false, "a b": false, "a;b": false, "a=b": false,
		"a@b": false, "a[b": false, "a`b": false, "a{b": false, "a:b": false, "a.b": false, "a,b": false,
	} {
		store := &texts{}
		quota := hourly("k", 5)
		quota.Algorithm, quota.Per, quota.Calendar = backends.FixedWindow, 24*time.Hour, time.FixedZone(name, 3600)
		store.decide(t, noon, quota)
		if plain {
			require.Contains(t, store.stored["k"], "c86400000000@"+name+"=")
		} else {
			require.Regexp(t, hashed, store.stored["k"], name)
		}
		require.EqualValues(t, 3, store.decide(t, noon, quota)[0].Remaining, name)
	}
}
