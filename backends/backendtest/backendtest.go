// Package backendtest holds the tests that every backend of the rate limiter
// passes, for those who write a backend of their own:
//
//	func TestMine(t *testing.T) {
//		backendtest.Run(t, func(t *testing.T) backends.Backend { return mine.New() })
//	}
//
// Time in these tests is virtual. Run puts each test into a bubble of
// testing/synctest, in which the time package's clock stands still until it is
// told to move: right for every backend that takes the time from there and does
// no network I/O. A backend on another clock, such as a server's, is tested with
// RunWithClock.
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

// Clock moves the clock that a backend goes by.
type Clock interface {
	// Advance moves it forward, or back when d is negative.
	Advance(d time.Duration)
}

// Run tests backends that go by the clock of the time package. Each test opens
// one of its own, and closes it.
func Run(t *testing.T, open func(t *testing.T) backends.Backend) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if c.backward {
				t.Skip("the clock of the time package never runs back")
			}
			c.test(&subject{T: t, fresh: func(test func(s *subject)) { inBubble(t, open, test) }})
		})
	}
}

// inBubble runs a test on a backend of its own in a bubble. A panic, by which
// rapid ends a run, is passed on.
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

// RunWithClock tests backends that go by a clock of their own. Where open returns
// a nil Clock, because nobody can move it, the tests that need time to pass are
// skipped.
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

// bubble is the clock of testing/synctest, which moves while everybody waits.
type bubble struct{}

func (bubble) Advance(d time.Duration) { <-time.After(d) }

// testCase is one test. Those that are timed need a clock, those that are
// backward one that can be moved back.
type testCase struct {
	name            string
	timed, backward bool
	test            func(s *subject)
}

// single makes a case that needs no more than a fresh backend.
func single(name string, test func(s *subject)) testCase {
	return testCase{name: name, test: func(s *subject) { s.fresh(test) }}
}

// each makes a case of every algorithm.
func each(name string, test func(s *subject, algorithm backends.Algorithm)) (list []testCase) {
	for _, algorithm := range algorithms {
		list = append(list, single(fmt.Sprintf("%s/%s", name, algorithm), func(s *subject) { test(s, algorithm) }))
	}
	return list
}

// law makes a case of every algorithm from a property that holds for all
// histories, each of which has a scope of its own.
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

// subject is the backend that a test is about.
type subject struct {
	*testing.T
	backend backends.Backend
	clock   Clock
	fresh   func(test func(s *subject)) // runs a test where nothing has happened yet
	worst   *float64                    // the most that a window has admitted, as a share of its bound
}

func (s *subject) close() { require.NoError(s, s.backend.Close()) }

// take charges quotas and returns what the backend says.
func (s *subject) take(quotas ...backends.Quota) []backends.Verdict {
	s.Helper()
	verdicts := make([]backends.Verdict, len(quotas))
	require.NoError(s, s.backend.Take(s.Context(), quotas, verdicts))
	for i := range verdicts {
		verdicts[i].Fallback = false // who has decided changes nothing in what is decided
	}
	return verdicts
}

// takeOne charges one quota.
func (s *subject) takeOne(q backends.Quota) backends.Verdict {
	s.Helper()
	return s.take(q)[0]
}

// daily is a quota for one unit that no test outlives by accident.
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
