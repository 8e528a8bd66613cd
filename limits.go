package ratelimiter

import (
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/internal/period"
)

// Periods for which package time has no constant: 24 hours, 7 days, 30 days and 365 days.
// WithCalendar counts calendar weeks, months and years instead.
const (
	Day   = period.Day
	Week  = period.Week
	Month = period.Month
	Year  = period.Year
)

// Limit allows at most Limit units in Per. Limit is from 0 (no request is allowed) to
// backends.MaxLimit, or Unlimited. Per is from backends.MinPer to backends.MaxPer, so the
// zero value of the struct is not valid.
type Limit struct {
	Limit int64
	Per   time.Duration
}

// String formats a limit so that ParseLimits can read it: "100/minute", "30 per 1m30s".
func (l Limit) String() string {
	number, per := strconv.FormatInt(l.Limit, 10), period.Name(l.Per)
	if hasDigits(per) {
		return number + " per " + per
	}
	return number + "/" + per
}

// ParseLimits parses a list of limits that are separated by semicolons, commas, vertical
// bars or newlines. These are the forms of a limit:
//
//	100/minute; 5/second
//	100 per 5 minutes
//	100 requests/minute   (also req and r, as in 10r/s)
//	10k/hour              (k means thousand, M means million)
//	10-M                  (per minute; also S, H and D)
//	30 per 1m30s          (a Go duration)
//
// The units of a period are Go's, from us to h, and milliseconds, seconds, minutes,
// hours, days, weeks, months (30 days) and years (365 days). Spaces are optional. Upper
// and lower case mean the same, except that m is not million. A limit is a whole number
// from 0 (no request is allowed) to backends.MaxLimit, and a period is from
// backends.MinPer to backends.MaxPer.
//
// ParseLimits returns an error if the text contains no limit, an invalid limit, or two
// limits with the same period. The error contains the position and, if possible, a
// correction.
func ParseLimits(text string) ([]Limit, error) {
	const separators = ";,|\n\r"
	var limits []Limit
	for start, end := 0, 0; start < len(text); start = end + 1 {
		end = len(text)
		if length := strings.IndexAny(text[start:], separators); length >= 0 {
			end = start + length
		}
		part := strings.TrimSpace(text[start:end])
		if part == "" {
			continue
		}
		limit, err := parseLimit(part)
		if err == nil && slices.ContainsFunc(limits, func(other Limit) bool { return other.Per == limit.Per }) {
			err = fmt.Errorf("this is the second limit per %s; remove one of them", period.Name(limit.Per))
		}
		if err != nil {
			position := end - len(strings.TrimLeftFunc(text[start:end], unicode.IsSpace))
			return nil, fmt.Errorf("%q at character %d of %q: %w", part, utf8.RuneCountInString(text[:position])+1, text, err)
		}
		limits = append(limits, limit)
	}
	if len(limits) == 0 {
		return nil, fmt.Errorf(`%q contains no limit; write one limit as "100/minute" and several as "100/minute; 5/second"`, text)
	}
	return limits, nil
}

// limitForm matches a limit with single spaces. The groups are the number, its fraction,
// k or M, and the period.
var limitForm = regexp.MustCompile(`(?i)^(\d+(?:_\d+)*)(\.\d+)? ?([km]?) ?(?:requests?|reqs?|r)? ?(?:/|-|per )(.*)$`)

// parseLimit parses one limit.
func parseLimit(text string) (Limit, error) {
	text = strings.Join(strings.Fields(text), " ")
	parts := limitForm.FindStringSubmatch(text)
	if parts == nil {
		return Limit{}, misread(text)
	}
	number, err := parseNumber(parts[1], parts[2], parts[3])
	if err != nil {
		return Limit{}, err
	}
	per, err := parsePer(strings.TrimSpace(parts[4]))
	if err != nil {
		return Limit{}, err
	}
	if parts[2] != "" {
		return Limit{}, notWhole(number, per)
	}
	return Limit{number.Num().Int64(), per}, nil
}

// parseNumber converts digits, the fraction with its decimal point, and k or M to a
// number.
func parseNumber(digits, fraction, factor string) (*big.Rat, error) {
	digits = strings.ReplaceAll(digits, "_", "") + strings.TrimPrefix(fraction, ".")
	value, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || len(digits) > maxDigits {
		return nil, errNumber
	}
	number := big.NewRat(value, 1)
	for range max(len(fraction)-1, 0) {
		number.Mul(number, big.NewRat(1, 10))
	}
	switch factor {
	case "":
	case "m":
		return nil, errors.New(`a lower-case "m" could mean minutes; write M for million, or write out the number`)
	case "M":
		number.Mul(number, big.NewRat(1_000_000, 1))
	default:
		number.Mul(number, big.NewRat(1000, 1))
	}
	if number.Cmp(big.NewRat(backends.MaxLimit, 1)) > 0 {
		return nil, errNumber
	}
	return number, nil
}

// maxDigits bounds the work for a number that consists of zeros.
const maxDigits = 30

var errNumber = fmt.Errorf("a limit begins with a whole number from 0 to %d, as in 100/minute", backends.MaxLimit)

// parsePer parses the period of a limit.
func parsePer(text string) (time.Duration, error) {
	per, err := period.Parse(text)
	if err == nil && (per < backends.MinPer || per > backends.MaxPer) {
		err = fmt.Errorf("the period %q is out of range; it must be from %v to %v", text, backends.MinPer, backends.MaxPer)
	}
	return per, err
}

// notWhole rejects a number with a fraction, and suggests the equivalent limit.
func notWhole(number *big.Rat, per time.Duration) error {
	if number.Denom().Cmp(big.NewInt(int64(backends.MaxPer/per))) > 0 {
		return errNumber // the period of the equivalent limit would be too long
	}
	units, times := number.Num().Int64(), number.Denom().Int64()
	same := Limit{units, per * time.Duration(times)}.String()
	if name := period.Name(per); times > 1 && !hasDigits(name) {
		same = fmt.Sprintf("%d per %d %ss", units, times, name)
	}
	return fmt.Errorf("a limit is a whole number; write %s", same)
}

// misread explains what is wrong with a text that does not have the form of a limit.
func misread(text string) error {
	rest := strings.TrimLeft(text, "0123456789_")
	number := text[:len(text)-len(rest)]
	if number == "" || number[0] == '_' {
		return errNumber
	}
	rest = strings.TrimSpace(rest)
	if _, err := parsePer(rest); err == nil {
		return fmt.Errorf(`"/" is missing between the number and the period; write %s/%s`, strings.ReplaceAll(number, "_", ""), rest)
	}
	return errors.New(`write a number, "/" or "per", and a period, as in 100/minute or 100 requests per minute; a thousand is 1000, 1_000 or 1k`)
}

func hasDigits(text string) bool { return strings.ContainsAny(text, "0123456789") }
