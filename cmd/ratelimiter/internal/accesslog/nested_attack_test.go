package accesslog

import (
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A line whose objects nest as deep as the first lines of a log have room for.
func TestObjectsThatNestThousandsDeepTakeLittleMemory(t *testing.T) {
	deep := []byte(strings.Repeat(`{"b":1,"a":`, 5000) + "1" + strings.Repeat("}", 5000))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := Recognise([][]byte{deep}, Wanted{})
	runtime.ReadMemStats(&after)
	require.ErrorContains(t, err, "not recognised")
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(16<<20))
}

func TestALineThatNestsAMillionDeepIsReadOrRejected(t *testing.T) {
	good := `{"time":"2026-01-01T00:00:00Z","ip":"192.0.2.1","method":"GET","path":"/","status":200`
	format, err := Recognise([][]byte{[]byte(good + "}")}, Wanted{})
	require.NoError(t, err)
	parser := format.NewParser()
	var record Record
	for _, rest := range []string{
		strings.Repeat(`,"a":{"x":1`, 1_000_000) + strings.Repeat("}", 1_000_001),
		`,"a":` + strings.Repeat("[", 1_000_000) + strings.Repeat("]", 1_000_000) + "}",
	} {
		require.NoError(t, parser.Parse([]byte(good+rest), &record))
	}
	for _, rest := range []string{
		`,"a":` + strings.Repeat(`{"x":`, 1_000_000) + "}",
		`,"a` + strings.Repeat(`\"`, 1_000_000) + "}",
	} {
		_ = parser.Parse([]byte(good+rest), &record) // what it makes of it does not matter; it ends
	}
}
