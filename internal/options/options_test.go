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

func TestAbsentAndNilValuesAreTheirDefaults(t *testing.T) {
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

func TestAllFaultsAreReportedAtOnce(t *testing.T) {
	r := reader(map[string]any{"text": 1, "flag": "yes", "number": math.NaN(), "wait": "soon", "texts": []any{1}, "map": 3, "other": 1, "foreign": 1})
	r.Text("text", "")
	r.Flag("flag", false)
	r.Integer("number", 0, 0, 9)
	r.Duration("wait", 0)
	r.Texts("texts")
	r.Map("map")
	r.Reject(errors.New("and one more"))
	err := r.Finish(func(name string) bool { return name != "foreign" })
	for _, part := range []string{"option text", "option flag", "option number", "option wait", "option texts", "option map", "option other is not known", "and one more"} {
		require.ErrorContains(t, err, part)
	}
	require.NotContains(t, err.Error(), "foreign")
}

func TestSecretsAreNotRepeated(t *testing.T) {
	for _, name := range []string{"password", "sentinel_password", "url"} {
		r := reader(map[string]any{name: []string{"s3cret"}})
		r.Text(name, "")
		err := r.Finish(all)
		require.ErrorContains(t, err, name)
		require.NotContains(t, err.Error(), "s3cret")
	}
}

func TestASlipOfTheFingerIsRecognised(t *testing.T) {
	known := []string{"host", "port", "pool_size", "db"}
	for slip, meant := range map[string]string{"prot": "port", "hots": "host", "POOL_SIZE": "pool_size", "poolsize": "pool_size", "db1": "db"} {
		nearest, ok := Nearest(slip, known)
		require.True(t, ok, slip)
		require.Equal(t, meant, nearest)
	}
	_, ok := Nearest("colour", known)
	require.False(t, ok)
}

func TestAWholeNumberIsInItsRangeWhateverItsType(t *testing.T) {
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
