package ratelimiter

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gin-ratelimiter/ratelimiter/backends"
)

// Limit is at most Limit units in Per.
type Limit struct {
	Limit int64
	Per   time.Duration
}

// String writes a limit as ParseLimits reads it: "100/minute", "30 per 1m30s".
func (l Limit) String() string {
	number, per := strconv.FormatInt(l.Limit, 10), strings.TrimPrefix(policyName(l.Per), "per-")
	if periods[per] == l.Per {
		return number + "/" + per
	}
	return number + " per " + per
}

// ParseLimits reads limits as people write them, separated by semicolons or
// commas:
//
//	100/minute; 5/second
//	100 per 5 minutes
//	10-M                  (the letters S, M, H and D)
//	30 per 1m30s          (a Go duration)
//
// Upper and lower case and spaces do not matter. An error tells the place. A
// limit is 0 (nobody may pass) to backends.MaxLimit, a period
// backends.MinPer to backends.MaxPer, and no two periods may be the same.
func ParseLimits(text string) ([]Limit, error) {
	var limits []Limit
	at := 0
	for _, part := range strings.FieldsFunc(text, isSeparator) {
		start := at + strings.Index(text[at:], part)
		at = start + len(part)
		if strings.TrimSpace(part) == "" {
			continue
		}
		limit, err := parseLimit(part)
		if err != nil {
			place := start + len(part) - len(strings.TrimLeftFunc(part, unicode.IsSpace))
			return nil, fmt.Errorf("%q at character %d of %q: %w", strings.TrimSpace(part), utf8.RuneCountInString(text[:place])+1, text, err)
		}
		for _, other := range limits {
			if other.Per == limit.Per {
				return nil, fmt.Errorf("%q gives two limits for %s; keep one of them", text, other.Per)
			}
		}
		limits = append(limits, limit)
	}
	if len(limits) == 0 {
		return nil, fmt.Errorf(`%q holds no limit; write one as "100/minute", several as "100/minute; 5/second"`, text)
	}
	return limits, nil
}

func isSeparator(r rune) bool { return r == ';' || r == ',' }

// parseLimit reads one limit: a number, a word or sign between, and a period.
func parseLimit(text string) (Limit, error) {
	digits, rest := cutDigits(strings.ToLower(strings.TrimSpace(text)), "0123456789_")
	number, err := strconv.ParseInt(strings.ReplaceAll(digits, "_", ""), 10, 64)
	if err != nil || number > backends.MaxLimit || digits[0] == '_' {
		return Limit{}, fmt.Errorf("a limit begins with a number of units from 0 to %d, as in 100/minute", backends.MaxLimit)
	}
	for _, sign := range []string{"/", "-", "per "} {
		if period, ok := strings.CutPrefix(rest, sign); ok {
			per, err := parsePeriod(strings.TrimSpace(period))
			return Limit{number, per}, err
		}
	}
	return Limit{}, errors.New(`between the number and the period stands "/", "per" or "-", as in 100/minute`)
}

// cutDigits cuts a text after its leading digits, and the spaces behind them.
func cutDigits(text, digits string) (number, rest string) {
	rest = strings.TrimLeft(text, digits)
	return text[:len(text)-len(rest)], strings.TrimSpace(rest)
}

var periods = map[string]time.Duration{
	"s": time.Second, "sec": time.Second, "second": time.Second,
	"m": time.Minute, "min": time.Minute, "minute": time.Minute,
	"h": time.Hour, "hour": time.Hour,
	"d": 24 * time.Hour, "day": 24 * time.Hour,
	"week": 7 * 24 * time.Hour,
}

// parsePeriod reads "minute", "5 minutes" or "1m30s".
func parsePeriod(text string) (time.Duration, error) {
	per, err := time.ParseDuration(text)
	if err != nil {
		per, err = parseUnits(text)
	}
	if err != nil {
		return 0, fmt.Errorf("%q is not a period; write second, minute, hour, day or week, several of them as 5 minutes, or a duration as 1m30s", text)
	}
	if per < backends.MinPer || per > backends.MaxPer {
		return 0, fmt.Errorf("the period %q is not from %v to %v", text, backends.MinPer, backends.MaxPer)
	}
	return per, nil
}

// parseUnits reads "minute" or "5 minutes".
func parseUnits(text string) (time.Duration, error) {
	count, word := cutDigits(text, "0123456789")
	if count == "" {
		count = "1"
	}
	times, err := strconv.ParseInt(count, 10, 64)
	if err != nil {
		return 0, err
	}
	unit, known := periods[word]
	if !known {
		unit, known = periods[strings.TrimSuffix(word, "s")]
	}
	if !known {
		return 0, fmt.Errorf("%q is no unit of time", word)
	}
	// One more than the longest is refused as well, and cannot overflow.
	return time.Duration(min(times, int64(backends.MaxPer/unit)+1)) * unit, nil
}

// policyName is what a limit is called in headers and in Info when the route
// gives it no name: "per-minute", "per-5m".
func policyName(per time.Duration) string {
	for _, unit := range []struct {
		name string
		per  time.Duration
	}{{"day", 24 * time.Hour}, {"hour", time.Hour}, {"minute", time.Minute}, {"second", time.Second}} {
		if per == unit.per {
			return "per-" + unit.name
		}
	}
	text := per.String() // such as 1h30m0s
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return "per-" + strings.ReplaceAll(text, "µ", "u")
}
