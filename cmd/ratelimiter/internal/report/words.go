package report

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/gin-ratelimiter/ratelimiter"
)

// LimitsText formats limits for the configuration.
func LimitsText(limits []ratelimiter.Limit) string {
	parts := make([]string, len(limits))
	for i, l := range limits {
		parts[i] = fmt.Sprintf("%d/%s", l.Limit, PerText(l.Per))
		if strings.ContainsAny(PerText(l.Per), "0123456789") {
			parts[i] = fmt.Sprintf("%d per %s", l.Limit, PerText(l.Per))
		}
	}
	return strings.Join(parts, "; ")
}

// PerText formats a period for the configuration.
func PerText(per time.Duration) string {
	for _, unit := range []struct {
		name string
		per  time.Duration
	}{{"day", 24 * time.Hour}, {"hour", time.Hour}, {"minute", time.Minute}, {"second", time.Second}} {
		if per == unit.per {
			return unit.name
		}
		if per > unit.per && per%unit.per == 0 {
			return fmt.Sprintf("%d %ss", per/unit.per, unit.name)
		}
	}
	return per.String()
}

// shortPer formats a period briefly, such as 10s or 1h.
func shortPer(seconds float64) string {
	for _, unit := range []struct {
		name string
		size float64
	}{{"d", 86400}, {"h", 3600}, {"m", 60}} {
		if seconds >= unit.size {
			return fmt.Sprintf("%.3g%s", seconds/unit.size, unit.name)
		}
	}
	return fmt.Sprintf("%.3gs", seconds)
}

// count formats a number of things: "1 client", "2 clients".
func count[N int | int64](n N, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// Plain makes text from a log safe for a terminal, because clients can put anything into a
// log.
func Plain(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}

// cell returns a text from a log as a cell of a table. A spreadsheet takes a cell for a
// formula if it begins with one of these characters, and for text if it begins with an
// apostrophe.
func cell(text string) string {
	if begin := strings.TrimLeft(text, " "); len(begin) > 1 && strings.ContainsAny(begin[:1], "=+-@") {
		return "'" + text
	}
	return text
}
