// Package period parses and formats the periods of limits, such as "minute", "5 minutes" or
// "1m30s".
package period

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Periods longer than those of package time, of fixed length.
const (
	Day   = 24 * time.Hour
	Week  = 7 * Day
	Month = 30 * Day
	Year  = 365 * Day
)

// unit is a unit of time. Its first word is its name.
type unit struct {
	long    time.Duration
	words   []string // may be followed by an s
	letters []string // may not
}

var units = []unit{
	{time.Microsecond, []string{"microsecond"}, []string{"us", "µs", "μs"}}, // the micro sign and the Greek letter
	{time.Millisecond, []string{"millisecond", "msec"}, []string{"ms"}},
	{time.Second, []string{"second", "sec"}, []string{"s"}},
	{time.Minute, []string{"minute", "min"}, []string{"m"}},
	{time.Hour, []string{"hour", "hr"}, []string{"h"}},
	{Day, []string{"day"}, []string{"d"}},
	{Week, []string{"week"}, nil},
	{Month, []string{"month"}, nil},
	{Year, []string{"year"}, nil},
}

// Name returns the name of a period as it follows "per-": "minute", or a duration such as
// "1m30s" for a period without a name. It is ASCII without spaces, and Parse accepts it.
func Name(per time.Duration) string {
	for _, unit := range units {
		if unit.long == per {
			return unit.words[0]
		}
	}
	if per > 0 && per%Day == 0 {
		return strconv.FormatInt(int64(per/Day), 10) + "d"
	}
	text := per.String() // such as 1h30m0s
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return strings.ReplaceAll(text, "µ", "u")
}

// InWords returns a period as it follows "per" in a sentence: "minute", "15 minutes".
func InWords(per time.Duration) string {
	for _, unit := range slices.Backward(units) {
		switch {
		case per == unit.long:
			return unit.words[0]
		case per > 0 && per%unit.long == 0 && unit.long <= Day:
			return strconv.FormatInt(int64(per/unit.long), 10) + " " + unit.words[0] + "s"
		}
	}
	return per.String()
}

// Parse parses a unit of time such as "minute", a number of units such as "5 minutes" or
// "250ms", or anything that time.ParseDuration accepts except for a sign. It ignores case.
// A period too long for a time.Duration becomes the longest one.
func Parse(text string) (time.Duration, error) {
	lower := strings.ToLower(text)
	word := strings.TrimLeft(lower, "0123456789")
	count := lower[:len(lower)-len(word)]
	if long, known := unitOf(strings.TrimSpace(word)); known {
		return times(count, long), nil
	}
	if per, err := time.ParseDuration(lower); err == nil && count != "" {
		return per, nil
	}
	return 0, fmt.Errorf("%q is not a period; write second, minute, hour, day, week, month or year, a number of them such as 5 minutes, or a duration such as 1m30s or 250ms", text)
}

func unitOf(word string) (long time.Duration, known bool) {
	for _, unit := range units {
		if slices.Contains(unit.letters, word) || slices.Contains(unit.words, word) || slices.Contains(unit.words, strings.TrimSuffix(word, "s")) {
			return unit.long, true
		}
	}
	return 0, false
}

// times multiplies a unit by a decimal number. An empty number means 1.
func times(digits string, unit time.Duration) time.Duration {
	if digits == "" {
		return unit
	}
	count, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || count > math.MaxInt64/int64(unit) {
		return math.MaxInt64
	}
	return time.Duration(count) * unit
}
