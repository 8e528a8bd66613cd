package report

import (
	"testing"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestLimitsAreWrittenAsTheLibraryReadsThem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limits := []ratelimiter.Limit{{
			Limit: rapid.Int64Range(0, 1e6).Draw(t, "limit"),
			Per:   time.Duration(rapid.Int64Range(1, 1e7).Draw(t, "per")) * rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second, time.Minute}).Draw(t, "unit"),
		}}
		if limits[0].Per > 366*24*time.Hour {
			t.Skip("longer than a limit can be")
		}
		read, err := ratelimiter.ParseLimits(LimitsText(limits))
		require.NoError(t, err)
		require.Equal(t, limits, read)
	})
}

func TestTextFromALogCannotControlATerminal(t *testing.T) {
	require.Equal(t, "a?[31m?b?é", Plain("a\x1b[31m\nb\xffé"))
}

func TestPeriodsAreFormattedAsGo(t *testing.T) {
	for per, want := range map[time.Duration]string{
		time.Minute: "time.Minute", 24 * time.Hour: "24*time.Hour", 90 * time.Second: "90*time.Second", 1500 * time.Millisecond: "1500*time.Millisecond",
	} {
		require.Equal(t, want, goDuration(per))
	}
}
