package backends

import (
	"fmt"
	"strings"
)

// Algorithm is how a limit is counted. All of them are exact about their own
// rule; they differ in what they keep and in what the worst rolling window can
// admit.
type Algorithm uint8

const (
	// SlidingWindow counts in two windows, the older one weighted by how much
	// of it is still inside the last period, rounded down. A rolling window admits
	// at most twice the limit, a single burst never more than the limit. A client
	// that keeps to the limit is never denied. The default.
	SlidingWindow Algorithm = iota

	// FixedWindow counts in windows that begin at multiples of the period since
	// the Unix epoch, or in those of a calendar; see Quota.Calendar. A rolling window
	// admits at most twice the limit. Without a calendar, days begin at midnight UTC,
	// weeks on Thursdays, as the epoch did, and 30 and 365 days anywhere.
	FixedWindow

	// SlidingLog remembers when units were taken: no rolling window ever admits
	// more than the limit. Its state is larger than that of the others.
	SlidingLog

	// TokenBucket (GCRA) refills evenly and lets Burst units pass at once. A
	// rolling window admits at most burst + limit.
	TokenBucket

	algorithmCount // how many there are

	// strikes stands among them for the count of a quota with a Ban.
	rejections = algorithmCount
	// calendar stands among them for a FixedWindow with a Calendar.
	calendar = algorithmCount + 1
)

var algorithmNames = [algorithmCount]string{"sliding-window", "fixed-window", "sliding-log", "token-bucket"}

// String is the name used in the configuration, as "sliding-window".
func (a Algorithm) String() string {
	if a >= algorithmCount {
		return fmt.Sprintf("Algorithm(%d)", uint8(a))
	}
	return algorithmNames[a]
}

// ParseAlgorithm reads a name as String gives it.
func ParseAlgorithm(name string) (Algorithm, error) {
	for i, known := range algorithmNames {
		if name == known {
			return Algorithm(i), nil
		}
	}
	return 0, fmt.Errorf("%q is not the name of an algorithm; the names are %s", name, AlgorithmNames())
}

// AlgorithmNames lists the known names for a message.
func AlgorithmNames() string {
	return strings.Join(algorithmNames[:], ", ")
}

// Valid tells whether a is one of the constants above.
func (a Algorithm) Valid() bool { return a < algorithmCount }
