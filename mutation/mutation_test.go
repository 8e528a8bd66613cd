package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The positions below are those of these lines.
const code = `package grades

type points int8

const pass = 40 + 10

// Passed reports whether a grade is enough.
func Passed(p points) bool { return p >= pass && p > 0 }

func Sum(list []points) (sum points) {
	for i := 0; i < len(list); i++ {
		if list[i] < 0 {
			continue
		}
		sum += list[i]
	}
	return sum
}

func Count(n int) (i int) {
	for i != n {
		i++
	}
	return i
}

func Untested(a float64) float64 { return -a * 2 }

func Any(a, b, c bool) bool { return a || b || c }

func Recovered(f func()) (recovered bool) {
	defer func() { recovered = recover() != nil }()
	f()
	return false
}

func Greet(name string) string { return "Hello, " + name }

func Largest[T ~int | ~string](a, b T) T {
	if !(a < b) {
		return a
	}
	return b
}
`

const codeTest = `package grades

import "testing"

func TestPassed(t *testing.T) {
	if !Passed(51) || Passed(49) {
		t.Fail()
	}
}

func TestSum(t *testing.T) {
	if Sum([]points{1, -1, 2}) != 3 {
		t.Fail()
	}
}

func TestCount(t *testing.T) {
	if Count(3) != 3 {
		t.Fail()
	}
}

func TestLargest(t *testing.T) {
	if Largest(1, 2) != 2 || Largest("b", "a") != "b" || Greet("you") != "Hello, you" {
		t.Fail()
	}
}

func TestAny(t *testing.T) {
	if Any(false, false, false) || !Any(true, false, false) || !Any(false, false, true) {
		t.Fail()
	}
}

func TestRecovered(t *testing.T) {
	if !Recovered(func() { panic("a reason") }) {
		t.Fail()
	}
}

func TestThatFails(t *testing.T) { t.Error("as always") }

func TestOnlyInTheLongRun(t *testing.T) {
	if !testing.Short() && Passed(50) != true {
		t.Fail()
	}
}
`

func mutateExample(t *testing.T, o options) string {
	folder := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module example\n\ngo 1.26\n", "grades/grades.go": code, "grades/grades_test.go": codeTest,
	} {
		path := filepath.Join(folder, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	var out strings.Builder
	o.root, o.out, o.patience = folder, &out, 2*time.Second
	require.NoError(t, o.mutate("./grades"))
	return out.String()
}

func TestMutantsThatNoTestNoticesAreListed(t *testing.T) {
	out := mutateExample(t, options{only: "."})
	require.Contains(t, out, "left out: TestThatFails fails without a mutant")
	_, list, _ := strings.Cut(out, "as always")
	_, list, _ = strings.Cut(list, "FAIL\n")
	require.Equal(t, `survived    grades.go:8:39  >= to >  | func Passed(p points) bool { return p >= pass && p > 0 }
survived    grades.go:8:52  > to >=  | func Passed(p points) bool { return p >= pass && p > 0 }
survived    grades.go:12:14  < to <=  | if list[i] < 0 {
timed out   grades.go:22:4  ++ to --  | i++
not reached grades.go:27:46  * to /  | func Untested(a float64) float64 { return -a * 2 }
not reached grades.go:27:43  - removed  | func Untested(a float64) float64 { return -a * 2 }
survived    grades.go:40:9  < to <=  | if !(a < b) {
./grades: 21 mutants, 14 killed, 1 timed out, 4 survived, 2 not reached: 71.4 % killed or timed out

`, list)
}

func TestTheLongRunKillsMore(t *testing.T) {
	require.NotContains(t, mutateExample(t, options{only: "8:39:", long: true}), "survived  ")
}

func TestAMutantThatNeverEndsIsStopped(t *testing.T) {
	require.Contains(t, mutateExample(t, options{only: "22:"}), "1 timed out")
}
