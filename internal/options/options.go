// Package options reads typed values from a map that was written in Go or decoded from
// JSON. It is strict: a wrong type, a bad value and an unknown name are errors, and all
// errors are reported together.
package options

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/agnivade/levenshtein"
)

// Reader reads the values of a map one by one. A nil value counts as absent.
type Reader struct {
	Values map[string]any
	// Describe returns the name of a value for messages, such as `option "port" of backend
	// "redis"`.
	Describe func(name string) string

	known  []string
	faults []error
}

// Value returns a value without checking it. ok is false if the value is absent.
func (r *Reader) Value(name string) (value any, ok bool) {
	r.known = append(r.known, name)
	value = r.Values[name]
	return value, value != nil
}

// Given reports whether a value is present.
func (r *Reader) Given(name string) bool { return r.Values[name] != nil }

// Fault records an error about a value that is not what it must be.
func (r *Reader) Fault(name string, value any, want string) {
	r.Reject(fmt.Errorf("%s is %s; it must be %s", r.Describe(name), show(name, value), want))
}

// Reject records an error.
func (r *Reader) Reject(err error) { r.faults = append(r.faults, err) }

// show formats a value for a message. It hides secrets: values with names of secrets, URLs
// in any place because they may contain a password, and the contents of lists, maps and
// structs.
func show(name string, value any) string {
	switch reflected := reflect.ValueOf(value); {
	case secret(name), reflected.Kind() == reflect.String && strings.Contains(reflected.String(), "://"):
		return "invalid (its value is not shown here)"
	case reflected.Kind() == reflect.String:
		return fmt.Sprintf("%q (%T)", value, value)
	case reflected.Kind() == reflect.Bool, reflected.CanInt(), reflected.CanUint(), reflected.CanFloat():
		return fmt.Sprintf("%v (%T)", value, value)
	case nilable(reflected) && reflected.IsNil():
		return fmt.Sprintf("a nil %T", value)
	}
	return fmt.Sprintf("a %T", value)
}

func secret(name string) bool {
	name = strings.ToLower(name)
	return strings.Contains(name, "password") || strings.Contains(name, "secret") || name == "url"
}

func nilable(value reflect.Value) bool {
	switch value.Kind() {
	case reflect.Pointer, reflect.Func, reflect.Map, reflect.Slice, reflect.Chan:
		return true
	}
	return false
}

// Text reads a string, or returns defaultValue if it is absent.
func (r *Reader) Text(name, defaultValue string) string {
	value, ok := r.Value(name)
	if !ok {
		return defaultValue
	}
	text, ok := value.(string)
	if !ok {
		r.Fault(name, value, "a string")
	}
	return text
}

// Word reads a string that is not empty and contains no white space, such as an address. It
// removes white space around the string, such as the line break at the end of a file.
func (r *Reader) Word(name, defaultValue string) string {
	value, ok := r.Value(name)
	if !ok {
		return defaultValue
	}
	text, _ := value.(string) // any other type is rejected as empty
	word := strings.TrimSpace(text)
	if word == "" || strings.ContainsFunc(word, unicode.IsSpace) {
		r.Fault(name, value, "a string that is not empty and contains no white space")
		return defaultValue
	}
	return word
}

// Flag reads a bool, or returns defaultValue if it is absent.
func (r *Reader) Flag(name string, defaultValue bool) bool {
	value, ok := r.Value(name)
	if !ok {
		return defaultValue
	}
	flag, ok := value.(bool)
	if !ok {
		r.Fault(name, value, "true or false")
	}
	return flag
}

// Integer reads a whole number from minimum to maximum. Any numeric type is accepted,
// because JSON decodes numbers as float64.
func (r *Reader) Integer(name string, defaultValue, minimum, maximum int) int {
	value, ok := r.Value(name)
	if !ok {
		return defaultValue
	}
	number := plainNumber(value)
	if number != math.Trunc(number) || number < float64(minimum) || number > float64(maximum) {
		r.Fault(name, value, fmt.Sprintf("a whole number from %d to %d", minimum, maximum))
		return defaultValue
	}
	return int(number)
}

// Fraction reads a number greater than 0 and at most 1.
func (r *Reader) Fraction(name string, defaultValue float64) float64 {
	value, ok := r.Value(name)
	if !ok {
		return defaultValue
	}
	number := plainNumber(value)
	if !(number > 0 && number <= 1) {
		r.Fault(name, value, "a number greater than 0 and at most 1")
		return defaultValue
	}
	return number
}

// plainNumber returns NaN for a value that is not a number. A duration is not, although its
// type is an integer.
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

// Duration reads a positive time.Duration, or a string such as "250ms".
func (r *Reader) Duration(name string, defaultValue time.Duration) time.Duration {
	value, ok := r.Value(name)
	if !ok {
		return defaultValue
	}
	duration, ok := value.(time.Duration)
	if text, isText := value.(string); isText {
		parsed, err := time.ParseDuration(text)
		duration, ok = parsed, err == nil
	}
	if !ok || duration <= 0 {
		r.Fault(name, value, `a time.Duration greater than 0, or a string such as "250ms"`)
		return defaultValue
	}
	return duration
}

// Texts reads a list of strings, or one string separated by commas.
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
			text, _ := item.(string) // any other type is rejected as empty below
			list = append(list, text)
		}
	}
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	if len(list) == 0 || slices.Contains(list, "") {
		r.Fault(name, value, "a list of strings, none of them empty")
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

// Finish returns all errors. A value that was never read is an error if isOurs reports that
// its name is meant for this reader.
func (r *Reader) Finish(isOurs func(name string) bool) error {
	var unknown []string
	for name := range r.Values {
		if isOurs(name) && !slices.Contains(r.known, name) {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	for _, name := range unknown {
		r.Reject(fmt.Errorf("%s is not known; %s", r.Describe(name), Suggest(name, r.known)))
	}
	return errors.Join(r.faults...)
}

// Suggest returns a suggestion for an unknown name: the known name that was probably meant,
// or all known names.
func Suggest(name string, known []string) string {
	if nearest, ok := Nearest(name, known); ok {
		return fmt.Sprintf("did you mean %q?", nearest)
	}
	known = slices.Clone(known)
	slices.Sort(known)
	return "the known names are " + strings.Join(slices.Compact(known), ", ")
}

// Nearest returns the known name that differs from an unknown one in the fewest characters,
// at most three.
func Nearest(name string, known []string) (string, bool) { return Within(3, name, known) }

// Within returns the known name that differs from a name in the fewest characters. They may
// differ in at most maxEdits characters, and at most half of the known name. Case is
// ignored.
func Within(maxEdits int, name string, known []string) (string, bool) {
	nearest, fewest := "", maxEdits+1
	for _, candidate := range known {
		distance := levenshtein.ComputeDistance(strings.ToLower(name), strings.ToLower(candidate))
		if distance < fewest && 2*distance <= len(candidate) {
			nearest, fewest = candidate, distance
		}
	}
	return nearest, fewest <= maxEdits
}
