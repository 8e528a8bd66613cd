package options

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func reader(values map[string]any) *Reader {
	return &Reader{Values: values, Describe: func(name string) string { return "option " + name }}
}

func all(string) bool { return true }

func TestAbsentAndNilValuesHaveTheirDefaults(t *testing.T) {
	for _, values := range []map[string]any{nil, {"x": nil}} {
		r := reader(values)
		require.Equal(t, "d", r.Text("x", "d"))
		require.True(t, r.Flag("x", true))
		require.Equal(t, 7, r.Integer("x", 7, 0, 9))
		require.Equal(t, time.Second, r.Duration("x", time.Second))
		require.Nil(t, r.Texts("x"))
		require.Nil(t, r.Map("x"))
		require.NoError(t, r.Finish(all))
	}
}

func TestAValueIsGivenUnlessItIsNil(t *testing.T) {
	r := reader(map[string]any{"zero": 0, "empty": "", "nil": nil})
	for name, given := range map[string]bool{"zero": true, "empty": true, "nil": false, "absent": false} {
		require.Equal(t, given, r.Given(name), name)
	}
}

func TestAllErrorsAreReportedTogether(t *testing.T) {
	r := reader(map[string]any{"name": 1, "flag": "yes", "number": math.NaN(), "wait": "soon", "texts": []any{1}, "map": 3, "other": 1, "foreign": 1})
	r.Text("name", "")
	r.Flag("flag", false)
	r.Integer("number", 0, 0, 9)
	r.Duration("wait", 0)
	r.Texts("texts")
	r.Map("map")
	r.Reject(errors.New("and one more"))
	err := r.Finish(func(name string) bool { return name != "foreign" })
	for _, part := range []string{"option name is 1 (int)", "option flag", "option number", "option wait", "option texts", "option map", "option other is not known", "and one more"} {
		require.ErrorContains(t, err, part)
	}
	require.NotContains(t, err.Error(), "foreign")
}

func TestAFractionIsGreaterThanZeroAndAtMostOne(t *testing.T) {
	for _, value := range []any{0.25, float32(0.25), 1, uint8(1), 1.0} {
		r := reader(map[string]any{"x": value})
		require.Positive(t, r.Fraction("x", 0), value)
		require.NoError(t, r.Finish(all), value)
	}
	for _, value := range []any{0, -0.5, 1.5, 2, math.NaN(), math.Inf(1), "0.5", true, time.Nanosecond} {
		r := reader(map[string]any{"x": value})
		require.Equal(t, 0.5, r.Fraction("x", 0.5), value)
		require.ErrorContains(t, r.Finish(all), "it must be a number greater than 0 and at most 1")
	}
	require.Equal(t, 0.5, reader(nil).Fraction("x", 0.5))
}

func TestErrorsDoNotContainSecrets(t *testing.T) {
	for _, name := range []string{"password", "sentinel_password", "url", "RATELIMITER_PARTITION_SECRET"} {
		for _, value := range []any{"s3cret", []string{"s3cret"}, []byte("s3cret"), map[string]any{"s3cret": 1}} {
			r := reader(map[string]any{name: value})
			r.Flag(name, false)
			err := r.Finish(all)
			require.ErrorContains(t, err, name)
			require.NotContains(t, err.Error(), "s3cret")
			require.NotContains(t, err.Error(), "115", "the bytes of a secret are secret, too")
		}
	}
}

// A value of an unexpected type may contain anything.
func TestErrorsContainOnlyPlainValues(t *testing.T) {
	var none *time.Location
	for _, test := range []struct {
		value any
		shown string
	}{
		{"soon", `"soon" (string)`},
		{7, "7 (int)"},
		{uint8(7), "7 (uint8)"},
		{true, "true (bool)"},
		{-time.Second, "-1s (time.Duration)"},
		{[]string{"s3cret"}, "a []string"},
		{map[string]any{"password": "s3cret"}, "a map[string]interface {}"},
		{struct{ Password string }{"s3cret"}, "a struct { Password string }"},
		{none, "a nil *time.Location"},
	} {
		r := reader(map[string]any{"x": test.value})
		r.Fault("x", test.value, "something else")
		r.Value("x")
		require.EqualError(t, r.Finish(all), "option x is "+test.shown+"; it must be something else")
	}
}

func TestAWordHasNoWhiteSpace(t *testing.T) {
	for value, want := range map[any]string{
		"h:1": "h:1", "h:1\n": "h:1", " h:1\r\n": "h:1", // valid
		"": "absent", " \n": "absent", "h :1": "absent", "h\n:1": "absent", 7: "absent", // invalid
	} {
		r := reader(map[string]any{"x": value})
		require.Equal(t, want, r.Word("x", "absent"), "%q", value)
		err := r.Finish(all)
		require.Equal(t, want == "absent", err != nil, "%q", value)
		if err != nil {
			require.ErrorContains(t, err, "contains no white space")
		}
	}
	require.Equal(t, "absent", reader(nil).Word("x", "absent"))
}

func TestATypoIsRecognised(t *testing.T) {
	known := []string{"host", "port", "pool_size", "db"}
	for slip, meant := range map[string]string{"prot": "port", "hots": "host", "POOL_SIZE": "pool_size", "poolsize": "pool_size", "db1": "db"} {
		nearest, ok := Nearest(slip, known)
		require.True(t, ok, slip)
		require.Equal(t, meant, nearest)
	}
	_, ok := Nearest("colour", known)
	require.False(t, ok)
}

func TestATypoHasAtMostThreeEdits(t *testing.T) {
	for slip, meant := range map[string]string{"pool_timeout": "pool_timeout", "poolout": "", "pool_tout": "pool_timeout", "pool_out": ""} {
		nearest, ok := Nearest(slip, []string{"pool_timeout"})
		require.Equal(t, meant, nearest)
		require.Equal(t, meant != "", ok)
	}
}

func TestAWholeNumberOfAnyTypeMustBeInRange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.OneOf(
			rapid.Int().AsAny(), rapid.Int64().AsAny(), rapid.Float64().AsAny(), rapid.IntRange(-3, 12).AsAny(), rapid.String().AsAny(),
		).Draw(t, "value")
		r := reader(map[string]any{"x": value})
		number := r.Integer("x", 5, 0, 9)
		require.GreaterOrEqual(t, number, 0)
		require.LessOrEqual(t, number, 9)
		if err := r.Finish(all); err != nil {
			require.Equal(t, 5, number)
		}
	})
}

func TestTheBoundsOfAWholeNumberAreIncluded(t *testing.T) {
	for value, valid := range map[any]bool{2: true, 9: true, 2.0: true, 9.0: true, 1: false, 10: false, 8.5: false, 9.5: false} {
		r := reader(map[string]any{"x": value})
		number := r.Integer("x", 5, 2, 9)
		if err := r.Finish(all); valid {
			require.NoError(t, err)
			require.EqualValues(t, value, number)
		} else {
			require.ErrorContains(t, err, "it must be a whole number from 2 to 9")
		}
	}
}

// The map may have been written by hand. Reading any value returns a valid value or an
// error that names it.
func TestAnyValueIsReadOrReported(t *testing.T) {
	anything := rapid.Deferred(func() *rapid.Generator[any] {
		plain := rapid.OneOf(
			rapid.Int().AsAny(), rapid.Float64().AsAny(), rapid.Bool().AsAny(), rapid.String().AsAny(),
			rapid.Int64().AsAny(), rapid.SliceOf(rapid.String()).AsAny(), rapid.Just[any](time.Minute), rapid.Just[any](nil),
		)
		return rapid.OneOf(plain, rapid.SliceOf(plain).AsAny(), rapid.MapOf(rapid.String(), plain).AsAny())
	})
	rapid.Check(t, func(t *rapid.T) {
		value := anything.Draw(t, "value")
		for kind, read := range map[string]func(*Reader) any{
			"text":     func(r *Reader) any { return r.Text("x", "") },
			"flag":     func(r *Reader) any { return r.Flag("x", false) },
			"duration": func(r *Reader) any { return r.Duration("x", 0) },
			"texts":    func(r *Reader) any { return r.Texts("x") },
			"map":      func(r *Reader) any { return r.Map("x") },
		} {
			r := reader(map[string]any{"x": value})
			got := read(r)
			if err := r.Finish(all); err != nil {
				require.ErrorContains(t, err, "option x is ", kind)
				require.NotNil(t, value, kind)
			} else if value != nil {
				require.NotZero(t, []any{got}, kind)
			}
		}
	})
}

func TestADurationOfAnyFormMustBePositive(t *testing.T) {
	for value, want := range map[any]time.Duration{
		"250ms": 250 * time.Millisecond, "1m30s": 90 * time.Second, time.Hour: time.Hour, // valid
		"": 0, "0s": 0, "-1s": 0, "3": 0, time.Duration(0): 0, -time.Second: 0, 3: 0, 3.0: 0, // invalid
	} {
		r := reader(map[string]any{"x": value})
		require.Equal(t, want, r.Duration("x", 0), "%v", value)
		err := r.Finish(all)
		require.Equal(t, want == 0, err != nil, "%v", value)
		if err != nil {
			require.ErrorContains(t, err, `"250ms"`)
		}
	}
}

func TestAListIsACopy(t *testing.T) {
	list := []string{" a ", "b"}
	read := reader(map[string]any{"x": list}).Texts("x")
	require.Equal(t, []string{"a", "b"}, read)
	require.Equal(t, []string{" a ", "b"}, list, "it is a copy")
}

func TestWholeNumbersOfAnyIntegerTypeAreRead(t *testing.T) {
	for _, value := range []any{7, int8(7), int16(7), int32(7), int64(7), uint(7), uint8(7), uint16(7), uint32(7), uint64(7), float32(7), 7.0} {
		r := reader(map[string]any{"x": value})
		require.Equal(t, 7, r.Integer("x", 0, 1, 9), "%T", value)
		require.NoError(t, r.Finish(all), "%T", value)
	}
}

// A secret may be in the wrong option by mistake.
func TestErrorsDoNotContainURLsWithPasswords(t *testing.T) {
	const url = "redis://limiter:s3cret@redis.example:6379/0"
	for _, value := range []any{url, []string{"h:1", url}, []any{url}, map[string]any{"url": url}} {
		r := reader(map[string]any{"x": value})
		r.Value("x")
		r.Fault("x", value, "something else")
		err := r.Finish(all)
		require.ErrorContains(t, err, "option x")
		require.ErrorContains(t, err, "something else")
		require.NotContains(t, err.Error(), "s3cret", "%T", value)
	}
}

func TestATypoIsRecognisedInAnyName(t *testing.T) {
	known := []string{"RATELIMITER_ENABLED", "RATELIMITER_BACKEND", "RATELIMITER_KEY_PREFIX", "password", "master_name", "pool_timeout"}
	rapid.Check(t, func(t *rapid.T) {
		meant := rapid.SampledFrom(known).Draw(t, "meant")
		at := rapid.IntRange(0, len(meant)-1).Draw(t, "at")
		letter := rapid.StringMatching("[a-z]?").Draw(t, "letter")
		slip := meant[:at] + letter + meant[at+rapid.IntRange(0, 1).Draw(t, "gone"):]
		nearest, ok := Nearest(slip, known)
		require.True(t, ok, slip)
		require.Equal(t, meant, nearest)
	})
}

func FuzzNearestAndSuggest(f *testing.F) {
	for _, seed := range []string{"", "prot", "pört", "\x00", "RATELIMITER_"} {
		f.Add(seed)
	}
	known := []string{"port", "host", "db", "port"}
	f.Fuzz(func(t *testing.T, name string) {
		nearest, ok := Nearest(name, known)
		require.Equal(t, ok, nearest != "", "the nearest name is a known one")
		if ok {
			require.Contains(t, known, nearest)
			require.Contains(t, Suggest(name, known), nearest)
		} else {
			require.Equal(t, "the known names are db, host, port", Suggest(name, known))
		}
	})
}
