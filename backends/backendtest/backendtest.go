// Package backendtest contains the tests that every backend of the rate limiter passes. Use
// it to test a backend of your own:
//
//	func TestMine(t *testing.T) {
//		backendtest.Run(t, func(t *testing.T) backends.Backend { return mine.New() })
//	}
//
// The tests use virtual time. Run executes each test in a bubble of testing/synctest, in
// which the clock of the time package stands still until a test moves it. That suits every
// backend that uses the time package and does no network I/O. Test a backend with another
// clock, such as that of a server, with RunWithClock.
package backendtest

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Clock moves the clock that a backend uses.
type Clock interface {
	// Advance moves the clock forward by d, or back if d is negative.
	Advance(d time.Duration)
}

// Run tests a backend that uses the clock of the time package. Each test opens a backend of
// its own and closes it.
func Run(t *testing.T, open func(t *testing.T) backends.Backend) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if c.backward {
				t.Skip("the clock of the time package never runs backwards")
			}
			c.test(&subject{T: t, fresh: func(test func(s *subject)) { inBubble(t, open, test) }})
		})
	}
}

// inBubble runs a test in a bubble, on a backend of its own. It passes on the panics with
// which rapid ends a run.
func inBubble(t *testing.T, open func(t *testing.T) backends.Backend, test func(s *subject)) {
	var panicked any
	synctest.Test(t, func(t *testing.T) {
		defer func() { panicked = recover() }()
		s := &subject{T: t, backend: open(t), clock: bubble{}}
		defer s.close()
		test(s)
	})
	if panicked != nil {
		panic(panicked)
	}
}

// RunWithClock tests a backend that uses another clock. If open returns a nil Clock,
// because the clock cannot be moved, the tests that need time to pass are skipped.
func RunWithClock(t *testing.T, open func(t *testing.T) (backends.Backend, Clock)) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			backend, clock := open(t)
			s := &subject{T: t, backend: backend, clock: clock}
			defer s.close()
			if clock == nil && c.timed {
				t.Skip("needs a clock that can be moved")
			}
			s.fresh = func(test func(s *subject)) { test(s) }
			c.test(s)
		})
	}
}

// bubble is the clock of testing/synctest.
type bubble struct{}

func (bubble) Advance(d time.Duration) { <-time.After(d) }

// testCase is one test. A timed test needs a clock, a backward one needs a clock that can
// be moved back.
type testCase struct {
	name            string
	timed, backward bool
	test            func(s *subject)
}

// single returns a case that needs only a fresh backend.
func single(name string, test func(s *subject)) testCase {
	return testCase{name: name, test: func(s *subject) { s.fresh(test) }}
}

// each returns a case for every algorithm.
func each(name string, test func(s *subject, algorithm backends.Algorithm)) (list []testCase) {
	for _, algorithm := range algorithms {
		list = append(list, single(fmt.Sprintf("%s/%s", name, algorithm), func(s *subject) { test(s, algorithm) }))
	}
	return list
}

// law returns a case for every algorithm from a property that holds for all histories. Each
// history has a scope of its own.
func law(name string, property func(s *subject, t *rapid.T, algorithm backends.Algorithm, scope string)) (list []testCase) {
	for _, algorithm := range algorithms {
		list = append(list, testCase{
			name: fmt.Sprintf("%s/%s", name, algorithm), timed: true,
			test: func(s *subject) {
				run, worst := 0, 0.0
				rapid.Check(s.T, func(t *rapid.T) {
					run++
					s.fresh(func(s *subject) {
						s.worst = &worst
						property(s, t, algorithm, fmt.Sprint(name, run))
					})
				})
				if worst > 0 {
					s.Logf("the worst window admitted %.3f of the bound", worst)
				}
			},
		})
	}
	return list
}

var algorithms = []backends.Algorithm{backends.SlidingWindow, backends.FixedWindow, backends.SlidingLog, backends.TokenBucket}

// subject is the backend under test.
type subject struct {
	*testing.T
	backend backends.Backend
	clock   Clock
	fresh   func(test func(s *subject)) // runs a test on unused scopes
	worst   *float64                    // largest ratio of admitted units to the bound
}

func (s *subject) close() { require.NoError(s, s.backend.Close()) }

// take charges quotas and returns the verdicts.
func (s *subject) take(quotas ...backends.Quota) []backends.Verdict {
	s.Helper()
	verdicts := make([]backends.Verdict, len(quotas))
	require.NoError(s, s.backend.Take(s.Context(), quotas, verdicts))
	for i := range verdicts {
		verdicts[i].Fallback = false // the decision is the same either way
	}
	return verdicts
}

// takeOne charges a single quota.
func (s *subject) takeOne(q backends.Quota) backends.Verdict {
	s.Helper()
	return s.take(q)[0]
}

// daily returns a quota for one unit whose period is longer than any test.
func daily(algorithm backends.Algorithm, limit int64) backends.Quota {
	return backends.Quota{Key: "key", Scope: "scope", Algorithm: algorithm, Limit: limit, Per: 24 * time.Hour, Cost: 1}
}

func costing(q backends.Quota, cost int64) backends.Quota {
	q.Cost = cost
	return q
}

func scoped(q backends.Quota, scope string) backends.Quota {
	q.Scope = scope
	return q
}
