package backends

import (
	"fmt"
	"strings"
)

// Algorithm selects how a limit is counted. The algorithms differ in how much state they
// keep and in how much a rolling window (any span of one period) can allow at most.
type Algorithm uint8

const (
	// SlidingWindow counts in two windows and weights the older one by how much of it lies
	// within the last period, rounded down. A rolling window allows at most twice the
	// limit, and a single burst at most the limit. A client whose units are at least
	// Per/Limit apart is never denied; one that spends them in bursts may be denied
	// although it took fewer than the limit within the last period. This is the default.
	SlidingWindow Algorithm = iota

	// FixedWindow counts in windows that begin at multiples of the period since the Unix
	// epoch, or in the windows of a calendar; see Quota.Calendar. A rolling window allows
	// at most twice the limit. Without a calendar, days begin at midnight UTC and weeks on
	// Thursdays, like the epoch; periods of 30 and 365 days begin on arbitrary dates.
	FixedWindow

	// SlidingLog stores when units were taken, so no rolling window ever allows more than
	// the limit. It needs more memory than the others.
	SlidingLog

	// TokenBucket (GCRA) refills at a constant rate and allows Burst units at once. A
	// rolling window allows at most burst + limit.
	TokenBucket

	algorithmCount // number of algorithms

	// rejections is the internal algorithm of a quota with a Ban.
	rejections = algorithmCount
	// calendar is the internal algorithm of a FixedWindow with a Calendar.
	calendar = algorithmCount + 1
)

var algorithmNames = [algorithmCount]string{"sliding-window", "fixed-window", "sliding-log", "token-bucket"}

// String returns the name used in the configuration, such as "sliding-window".
func (a Algorithm) String() string {
	if a >= algorithmCount {
		return fmt.Sprintf("Algorithm(%d)", uint8(a))
	}
	return algorithmNames[a]
}

// ParseAlgorithm returns the algorithm with the given name, as returned by String. An
// unknown name is an error that lists the known names.
func ParseAlgorithm(name string) (Algorithm, error) {
	for i, known := range algorithmNames {
		if name == known {
			return Algorithm(i), nil
		}
	}
	return 0, fmt.Errorf("%q is not an algorithm; it must be one of %s", name, AlgorithmNames())
}

// AlgorithmNames returns the names of all algorithms, separated by commas, for use in
// messages.
func AlgorithmNames() string {
	return strings.Join(algorithmNames[:], ", ")
}

// Valid reports whether a is one of the constants above.
func (a Algorithm) Valid() bool { return a < algorithmCount }
