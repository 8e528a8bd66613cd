package headers_test

import (
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"
	"github.com/gin-ratelimiter/ratelimiter/internal/headers"
	"github.com/stretchr/testify/require"
)

func TestHeaderNamesAreCanonical(t *testing.T) {
	for name, written := range map[string]string{
		headers.Limit:      "X-RateLimit-Limit",
		headers.Remaining:  "X-RateLimit-Remaining",
		headers.Reset:      "X-RateLimit-Reset",
		headers.Policy:     "RateLimit-Policy",
		headers.RateLimit:  "RateLimit",
		headers.RetryAfter: "Retry-After",
	} {
		require.Equal(t, http.CanonicalHeaderKey(name), name)
		require.Equal(t, http.CanonicalHeaderKey(written), name)
		response := http.Header{name: {"1"}}
		require.Equal(t, "1", response.Get(written))
	}
}

func TestSecondsAreRoundedUp(t *testing.T) {
	for duration, want := range map[time.Duration]int64{
		0:                               0,
		1:                               1,
		time.Second - 1:                 1,
		time.Second:                     1,
		time.Second + 1:                 2,
		366 * 24 * time.Hour:            366 * 24 * 3600,
		math.MaxInt64:                   math.MaxInt64/int64(time.Second) + 1,
		math.MaxInt64 - time.Nanosecond: math.MaxInt64/int64(time.Second) + 1,
		-1:                              0,
		-time.Second - 1:                -1,
		math.MinInt64:                   math.MinInt64 / int64(time.Second),
	} {
		require.Equal(t, want, headers.SecondsUp(duration), duration)
	}
}

func TestAValidNameNeedsNoEscapes(t *testing.T) {
	for name, want := range map[string]bool{
		"per-minute": true, "it's; a, name=1": true, " ": true, "~": true,
		"": false, `a"b`: false, `a\b`: false, "a\tb": false, "é": false, "a\x7f": false, "a\nb": false,
	} {
		require.Equal(t, want, headers.ValidName(name), "%q", name)
	}
}

func TestItemsHaveTheFormatOfTheDraft(t *testing.T) {
	policy := headers.AppendPolicy(nil, "per-minute", 100, time.Minute)
	require.Equal(t, `"per-minute";q=100;w=60`, string(policy))
	policy = headers.AppendPolicy(headers.AppendSeparator(policy), "blink", 1, 100*time.Millisecond)
	require.Equal(t, `"per-minute";q=100;w=60, "blink";q=1;w=1`, string(policy))
	jobs := headers.AppendUnit(headers.AppendPolicy(nil, "jobs", 5, 0), headers.ConcurrentRequests)
	require.Equal(t, `"jobs";q=5;qu="concurrent-requests"`, string(jobs))
	require.Equal(t, `"per-minute";r=50;t=30`, string(headers.AppendLimit(nil, "per-minute", 50, 29*time.Second+1)))
	require.Equal(t, `"per-minute";r=50;t=0`, string(headers.AppendLimit(nil, "per-minute", 50, 0)))
}

func TestAPartitionKeyDistinguishesClients(t *testing.T) {
	partition := func(secret, key, scope string) string {
		return string(headers.AppendPartition([]byte("x"), secret, key, scope))
	}
	require.Equal(t, "x;pk=:zKPJciUUA9hNOP3Z:", partition("a secret of 20 bytes", "GET /", "192.0.2.1"), "the same in every release")
	seen := map[string]bool{}
	for _, of := range [][3]string{
		{"secret", "GET /", "192.0.2.1"}, {"other", "GET /", "192.0.2.1"}, {"secret", "GET /a", "192.0.2.1"},
		{"secret", "GET /", "192.0.2.2"}, {"secret", "a b", "c"}, {"secret", "a", "b c"}, {"secret", "", ""},
	} {
		text := partition(of[0], of[1], of[2])
		require.False(t, seen[text], of)
		seen[text] = true
	}
}

func TestOneTextHoldsTheValuesOfThreeHeaders(t *testing.T) {
	for _, remaining := range []int64{0, 7, 99, 1_000_000, 10_000_000_000_000} {
		for _, before := range []string{"", "before"} {
			text, parts := headers.AppendValues([]byte(before), "per-minute", remaining, 29*time.Second+1, 1_700_000_030)
			all := string(text)
			require.Equal(t, before+string(headers.AppendLimit(nil, "per-minute", remaining, 30*time.Second)), all[:parts.Limit])
			require.Equal(t, "1700000030", all[parts.Limit:])
			require.Contains(t, all[:parts.Limit], ";r="+all[parts.RemainingFrom:parts.RemainingTo]+";")
		}
	}
}

func TestAppendValuesDoesNotAllocate(t *testing.T) {
	var buffer [96]byte
	name, length := strings.Repeat("n", 26), 0
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		text, _ := headers.AppendValues(buffer[:0], name, math.MinInt64, math.MaxInt64, math.MinInt64)
		length = len(text)
	}))
	require.LessOrEqual(t, length, 70+len(name), "the documented capacity")
}

func BenchmarkAppendValues(b *testing.B) {
	var buffer [64]byte
	for b.Loop() {
		headers.AppendValues(buffer[:0], "per-minute", 12_345, 29*time.Second, 1_700_000_030)
	}
}

// An independent parser must be able to parse the output, with the same meaning.
func FuzzWrittenItems(f *testing.F) {
	f.Add("per-minute", int64(100), int64(time.Minute), int64(50), int64(30*time.Second), "secret", "GET /", "192.0.2.1")
	f.Add("it's; a, name=1", int64(0), int64(1), int64(0), int64(0), "", "", "")
	f.Fuzz(func(t *testing.T, name string, limit, per, remaining, reset int64, secret, key, scope string) {
		const most = 10_000_000_000_000
		if !headers.ValidName(name) || min(limit, remaining, reset) < 0 || max(limit, remaining) > most || per <= 0 {
			return
		}
		policy := headers.AppendPolicy(nil, name, limit, time.Duration(per))
		policy = headers.AppendPartition(headers.AppendUnit(policy, "requests"), secret, key, scope)
		item, err := httpsfv.UnmarshalItem([]string{string(policy)})
		require.NoError(t, err)
		require.Equal(t, name, item.Value)
		require.Equal(t, []string{"q", "w", "qu", "pk"}, item.Params.Names())
		require.Equal(t, limit, parameter(item, "q"))
		require.Equal(t, headers.SecondsUp(time.Duration(per)), parameter(item, "w"))
		require.Len(t, parameter(item, "pk"), 12)
		require.Equal(t, name, headers.ItemName(string(policy)))

		text, parts := headers.AppendValues(nil, name, remaining, time.Duration(reset), 1)
		item, err = httpsfv.UnmarshalItem([]string{string(text[:parts.Limit])})
		require.NoError(t, err)
		require.Equal(t, name, item.Value)
		require.Equal(t, remaining, parameter(item, "r"))
		require.Equal(t, headers.SecondsUp(time.Duration(reset)), parameter(item, "t"))
	})
}

func parameter(item httpsfv.Item, name string) any {
	value, _ := item.Params.Get(name)
	return value
}
