package period_test

import (
	"math"
	"testing"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/internal/period"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"second": time.Second, "seconds": time.Second, "sec": time.Second, "secs": time.Second, "s": time.Second, "S": time.Second,
		"minute": time.Minute, "MINUTES": time.Minute, "min": time.Minute, "mins": time.Minute, "m": time.Minute,
		"hour": time.Hour, "hours": time.Hour, "hr": time.Hour, "h": time.Hour,
		"day": 24 * time.Hour, "days": 24 * time.Hour, "d": 24 * time.Hour,
		"week": 7 * 24 * time.Hour, "month": 30 * 24 * time.Hour, "months": 30 * 24 * time.Hour, "year": 365 * 24 * time.Hour,
		"ms": time.Millisecond, "millisecond": time.Millisecond, "milliseconds": time.Millisecond,
		"us": time.Microsecond, "µs": time.Microsecond, "μs": time.Microsecond, "microseconds": time.Microsecond,
		"5 minutes": 5 * time.Minute, "5minutes": 5 * time.Minute, "5m": 5 * time.Minute, "100 ms": 100 * time.Millisecond, "100ms": 100 * time.Millisecond,
		"1m30s": 90 * time.Second, "1.5h": 90 * time.Minute, "0 days": 0, "2 d": 48 * time.Hour,
		"99999999999999999999 days": math.MaxInt64, "9999999999 days": math.MaxInt64,
		"106751 days": 106751 * period.Day, "106752 days": math.MaxInt64, // 292 years
	} {
		per, err := period.Parse(text)
		require.NoError(t, err, text)
		require.Equal(t, want, per, text)
	}
}

func TestAnInvalidPeriodIsAnErrorThatListsTheUnits(t *testing.T) {
	for _, text := range []string{
		"", "5", "ss", "hs", "mss", "uss", "ds", "secondss", "fortnight", "minute 5", "-1 minute", "-5m", "+5m", "1.5 hours", "1h 30m", "minute/2", "5 5 minutes", "1_000 ms",
	} {
		_, err := period.Parse(text)
		require.ErrorContains(t, err, "is not a period; write second, minute", text)
	}
}

func TestParseReversesName(t *testing.T) {
	for per, want := range map[time.Duration]string{
		time.Second: "second", time.Minute: "minute", time.Hour: "hour", period.Day: "day",
		period.Week: "week", period.Month: "month", period.Year: "year", time.Millisecond: "millisecond",
		5 * time.Minute: "5m", 90 * time.Second: "1m30s", 90 * time.Minute: "1h30m", 3 * time.Hour: "3h",
		2 * period.Week: "14d", 250 * time.Millisecond: "250ms", 1500 * time.Microsecond: "1.5ms", 20 * time.Microsecond: "20us", 0: "0s",
	} {
		require.Equal(t, want, period.Name(per))
	}
	rapid.Check(t, func(t *rapid.T) {
		per := time.Duration(rapid.Int64Range(1, math.MaxInt64).Draw(t, "per"))
		read, err := period.Parse(period.Name(per))
		require.NoError(t, err)
		require.Equal(t, per, read)
	})
}

func TestInWords(t *testing.T) {
	for per, want := range map[time.Duration]string{
		time.Microsecond: "microsecond", time.Millisecond: "millisecond", time.Second: "second", time.Minute: "minute", time.Hour: "hour",
		period.Day: "day", period.Week: "week", period.Month: "month", period.Year: "year",
		15 * time.Minute: "15 minutes", 90 * time.Second: "90 seconds", 36 * time.Hour: "36 hours", 1500 * time.Millisecond: "1500 milliseconds",
		2 * period.Day: "2 days", 2 * period.Week: "14 days", 2 * period.Year: "730 days",
		0: "0s", -time.Hour: "-1h0m0s", time.Nanosecond: "1ns",
	} {
		require.Equal(t, want, period.InWords(per))
	}
}
