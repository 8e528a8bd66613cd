package headers

import (
	"testing"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/internal/period"
	"github.com/stretchr/testify/require"
)

func TestPeriodsInNamesAndSentences(t *testing.T) {
	for per, want := range map[time.Duration][2]string{
		time.Second:             {"per-second", "second"},
		time.Minute:             {"per-minute", "minute"},
		time.Hour:               {"per-hour", "hour"},
		24 * time.Hour:          {"per-day", "day"},
		7 * 24 * time.Hour:      {"per-week", "week"},
		14 * 24 * time.Hour:     {"per-14d", "14 days"},
		30 * 24 * time.Hour:     {"per-month", "month"},
		365 * 24 * time.Hour:    {"per-year", "year"},
		36 * time.Hour:          {"per-36h", "36 hours"},
		5 * time.Minute:         {"per-5m", "5 minutes"},
		90 * time.Minute:        {"per-1h30m", "90 minutes"},
		90 * time.Second:        {"per-1m30s", "90 seconds"},
		time.Hour + 30e9:        {"per-1h0m30s", "3630 seconds"},
		time.Millisecond:        {"per-millisecond", "millisecond"},
		1500 * time.Millisecond: {"per-1.5s", "1500 milliseconds"},
		1500 * time.Microsecond: {"per-1.5ms", "1500 microseconds"},
		999 * time.Microsecond:  {"per-999us", "999 microseconds"},
		0:                       {"per-0s", "0s"},
	} {
		require.Equal(t, want, [2]string{PolicyName(per), period.InWords(per)}, per)
		require.True(t, ValidName(PolicyName(per)))
	}
}
