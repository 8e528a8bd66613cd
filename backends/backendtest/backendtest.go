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
			synctest.Test(t, func(t *testing.T) {
				c.run(&subject{T: t, backend: open(t), clock: bubble{}})
			})
		})
	}
}

// RunWithClock tests backends that go by a clock of their own. Where open returns
// a nil Clock, because nobody can move it, the tests that need time to pass are
// skipped.
func RunWithClock(t *testing.T, open func(t *testing.T) (backends.Backend, Clock)) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			backend, clock := open(t)
			if clock == nil && c.timed {
				require.NoError(t, backend.Close())
				t.Skip("needs a clock that can be moved")
			}
			c.run(&subject{T: t, backend: backend, clock: clock})
		})
	}
}

// bubble is the clock of testing/synctest, which moves while everybody waits.
type bubble struct{}

func (bubble) Advance(d time.Duration) { <-time.After(d) }

// testCase is one test. Those that are timed need a clock.
type testCase struct {
	name  string
	timed bool
	test  func(s *subject)
}

func (c *testCase) run(s *subject) {
	defer func() { require.NoError(s, s.backend.Close()) }()
	c.test(s)
}

// each makes a case of every algorithm.
func each(name string, timed bool, test func(s *subject, algorithm backends.Algorithm)) (list []testCase) {
	for _, algorithm := range algorithms {
		list = append(list, testCase{fmt.Sprintf("%s/%s", name, algorithm), timed, func(s *subject) { test(s, algorithm) }})
	}
	return list
}

var algorithms = []backends.Algorithm{backends.SlidingWindow, backends.FixedWindow, backends.SlidingLog, backends.TokenBucket}

// subject is the backend that a test is about.
type subject struct {
	*testing.T
	backend backends.Backend
	clock   Clock
}

// take charges quotas and returns what the backend says.
func (s *subject) take(quotas ...backends.Quota) []backends.Verdict {
	s.Helper()
	verdicts := make([]backends.Verdict, len(quotas))
	require.NoError(s, s.backend.Take(s.Context(), quotas, verdicts))
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
