// Package options reads typed values out of a map that may have been written in
// Go or decoded from JSON, strictly: a wrong type, a bad value and a name that
// nobody asked for are faults, and all faults are reported at once.
package options

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/agnivade/levenshtein"
)

// Reader takes values out of Values one by one. A nil value counts as absent.
type Reader struct {
	Values map[string]any
	// Describe names an option in a message, as `option "port" of backend "redis"`.
	Describe func(name string) string

	known  []string
	faults []error
}

// Value returns a value as it is. ok is false when it is absent.
func (r *Reader) Value(name string) (value any, ok bool) {
	r.known = append(r.known, name)
	value = r.Values[name]
	return value, value != nil
}

// Given tells whether a value is there.
func (r *Reader) Given(name string) bool { return r.Values[name] != nil }

// Fault notes that a value is not what it must be.
func (r *Reader) Fault(name string, value any, want string) {
	shown := fmt.Sprintf("%#v (%T)", value, value)
	if secret(name) || strings.Contains(shown, "://") {
		shown = "wrong (its value is not shown here)"
	}
	r.Reject(fmt.Errorf("%s is %s; it must be %s", r.Describe(name), shown, want))
}

// Reject notes a fault in a sentence of the caller's.
func (r *Reader) Reject(err error) { r.faults = append(r.faults, err) }

// secret values are never repeated in a message. Nor is a URL, wherever it is
// given: it may hold a password.
func secret(name string) bool { return strings.Contains(name, "password") || name == "url" }

// Text reads a string.
func (r *Reader) Text(name, absent string) string {
	value, ok := r.Value(name)
	if !ok {
		return absent
	}
	text, ok := value.(string)
	if !ok {
		r.Fault(name, value, "a text")
	}
	return text
}

// Flag reads a bool.
func (r *Reader) Flag(name string, absent bool) bool {
	value, ok := r.Value(name)
	if !ok {
		return absent
	}
	flag, ok := value.(bool)
	if !ok {
		r.Fault(name, value, "true or false")
	}
	return flag
}

// Integer reads a whole number, which JSON brings as a float64.
func (r *Reader) Integer(name string, absent, least, most int) int {
	value, ok := r.Value(name)
	if !ok {
		return absent
	}
	number := plainNumber(value)
	if number != math.Trunc(number) || number < float64(least) || number > float64(most) {
		r.Fault(name, value, fmt.Sprintf("a whole number from %d to %d", least, most))
		return absent
	}
	return int(number)
}

// Fraction reads a number over 0 and up to 1.
func (r *Reader) Fraction(name string, absent float64) float64 {
	value, ok := r.Value(name)
	if !ok {
		return absent
	}
	number := plainNumber(value)
	if !(number > 0 && number <= 1) {
		r.Fault(name, value, "a number over 0 and up to 1")
		return absent
	}
	return number
}

// plainNumber is not a number for anything else. A duration is no plain number,
// though Go stores it as one.
func plainNumber(value any) float64 {
	if _, isDuration := value.(time.Duration); isDuration {
		return math.NaN()
	}
	switch reflected := reflect.ValueOf(value); {
	case reflected.CanInt():
		return float64(reflected.Int())
	case reflected.CanUint():
		return float64(reflected.Uint())
	case reflected.CanFloat():
		return reflected.Float()
	}
	return math.NaN()
}

// Duration reads a time.Duration over 0, or a text such as "250ms".
func (r *Reader) Duration(name string, absent time.Duration) time.Duration {
	value, ok := r.Value(name)
	if !ok {
		return absent
	}
	duration, ok := value.(time.Duration)
	if text, isText := value.(string); isText {
		parsed, err := time.ParseDuration(text)
		duration, ok = parsed, err == nil
	}
	if !ok || duration <= 0 {
		r.Fault(name, value, `a time.Duration over 0, or a text such as "250ms"`)
		return absent
	}
	return duration
}

// Texts reads a list of texts, or one text with commas.
func (r *Reader) Texts(name string) []string {
	value, ok := r.Value(name)
	if !ok {
		return nil
	}
	var list []string
	switch value := value.(type) {
	case []string:
		list = slices.Clone(value)
	case string:
		list = strings.Split(value, ",")
	case []any:
		for _, item := range value {
			text, _ := item.(string) // anything else is refused as empty below
			list = append(list, text)
		}
	}
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	if len(list) == 0 || slices.Contains(list, "") {
		r.Fault(name, value, "a list of texts, none of them empty")
		return nil
	}
	return list
}

// Map reads a map, such as a JSON object.
func (r *Reader) Map(name string) map[string]any {
	value, ok := r.Value(name)
	if !ok {
		return nil
	}
	m, ok := value.(map[string]any)
	if !ok {
		r.Reject(fmt.Errorf("%s is a %T; it must be a map[string]any (its value is not shown here)", r.Describe(name), value))
	}
	return m
}

// Finish returns all faults. Values that nobody asked for are among them when
// ours says that their name is meant for this reader.
func (r *Reader) Finish(ours func(name string) bool) error {
	var unknown []string
	for name := range r.Values {
		if ours(name) && !slices.Contains(r.known, name) {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	for _, name := range unknown {
		r.Reject(fmt.Errorf("%s is not known; %s", r.Describe(name), Suggest(name, r.known)))
	}
	return errors.Join(r.faults...)
}

// Suggest tells what a name that is not known may have been meant to be.
func Suggest(name string, known []string) string {
	if nearest, ok := Nearest(name, known); ok {
		return fmt.Sprintf("did you mean %q?", nearest)
	}
	known = slices.Clone(known)
	slices.Sort(known)
	return "known are " + strings.Join(slices.Compact(known), ", ")
}

// Nearest finds the known name that differs from a name by the fewest letters,
// if those are few enough for a slip of the finger.
func Nearest(name string, known []string) (string, bool) {
	const slips = 3
	nearest, fewest := "", slips+1
	for _, candidate := range known {
		distance := levenshtein.ComputeDistance(strings.ToLower(name), strings.ToLower(candidate))
		if distance < fewest && 2*distance <= len(candidate) {
			nearest, fewest = candidate, distance
		}
	}
	return nearest, fewest <= slips
}
