package queue

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
)

// shop allows one request in each turn, to whoever calls first.
type shop struct {
	mu    sync.Mutex
	turn  time.Duration
	next  time.Time
	calls int
}

func (s *shop) take(context.Context) (Answer, error) {
	<-time.After(100 * time.Microsecond) // the round trip
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	wait := time.Until(s.next)
	if wait > 0 {
		return Answer{RetryAfter: wait}, nil
	}
	s.next = time.Now().Add(s.turn)
	return Answer{Allowed: true, Verdicts: []backends.Verdict{{Allowed: true}}}, nil
}

// compete lets requests in several processes wait for one limit, and returns after how long
// the last has passed.
func (s *shop) compete(t *testing.T, processes, each int) time.Duration {
	began := time.Now()
	var all sync.WaitGroup
	for range processes {
		queues := &Queues{}
		for range each {
			all.Go(func() {
				quotas := []backends.Quota{{Algorithm: backends.TokenBucket, Limit: int64(time.Second / s.turn), Per: time.Second, Cost: 1}}
				passed := false
				_, rejected, err := queues.Wait(t.Context(), Request{Quotas: quotas, Longest: time.Minute}, func(ctx context.Context) (Answer, error) {
					answer, err := s.take(ctx)
					passed = answer.Allowed
					return answer, err
				})
				if err != nil || rejected != nil || !passed {
					t.Errorf("a request that has time did not pass: %v, %v", rejected, err)
				}
			})
		}
	}
	all.Wait()
	return time.Since(began)
}

func TestManyProcessesShareTheCallsForATurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shop{turn: 10 * time.Millisecond}
		const processes, each = 100, 4
		took := s.compete(t, processes, each)
		t.Logf("%d calls for each request that passed, %v in all", s.calls/(processes*each), took)
		require.Less(t, s.calls, 40*processes*each, "each process at each turn would be about 100")
		require.Less(t, took, 8*time.Second, "400 turns take 4 s; hardly one is lost")
	})
}

func TestAProcessWithoutCompetitionMissesNoTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shop{turn: 10 * time.Millisecond}
		const requests = 100
		took := s.compete(t, 1, requests)
		const turn = 10*time.Millisecond + 100*time.Microsecond // and the round trip
		require.LessOrEqual(t, took, requests*turn)
	})
}

func TestWhenAQueueThatHasLostATurnCallsNext(t *testing.T) {
	const turn = 10 * time.Millisecond
	quota := backends.Quota{Algorithm: backends.TokenBucket, Limit: 100, Per: time.Second, Cost: 1}
	tests := map[string]struct {
		interval time.Duration // for a request to pass
		waiting  time.Duration // since the last one passed
		left     time.Duration // from the turn to the deadline
		change   func(*waiter)
		latest   time.Duration
	}{
		"in one of √100 turns, as its requests pass every 100": {interval: 100 * turn, left: time.Hour, latest: 9 * turn},
		"in one of √400, as none has passed for 400":           {interval: 100 * turn, waiting: 400 * turn, left: time.Hour, latest: 19 * turn},
		"at its turn, with few others":                         {interval: 16*turn - 1, left: time.Hour},
		"in one of √16 turns, with more":                       {interval: 16 * turn, left: time.Hour, latest: 3 * turn},
		"before its deadline":                                  {interval: 100 * turn, left: 2*turn + 1, latest: 2 * turn},
		"at its turn, if that is its deadline":                 {interval: 100 * turn},
		"later, if it costs more": {interval: 100 * turn, left: time.Hour, latest: 16 * turn,
			change: func(w *waiter) { w.quotas[0].Cost = 4 }}, // one of five turns of four units
		"in a sliding window": {interval: 100 * turn, left: time.Hour, latest: 9 * turn,
			change: func(w *waiter) { w.quotas[0].Algorithm = backends.SlidingWindow }},
		"at its turn, if all units of a window come back at once": {interval: 100 * turn, left: time.Hour,
			change: func(w *waiter) { w.quotas[0].Algorithm = backends.FixedWindow }},
		"at its turn, if nobody knows how fast units come back": {interval: 100 * turn, left: time.Hour,
			change: func(w *waiter) { w.open = true }},
		"at its turn, if the limit is 0": {interval: 100 * turn, left: time.Hour,
			change: func(w *waiter) { w.quotas[0].Limit = 0 }},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &waiter{quotas: []backends.Quota{quota}}
				if test.change != nil {
					test.change(w)
				}
				next := time.Now().Add(time.Minute)
				w.deadline = next.Add(test.left)
				c := contention{interval: test.interval, since: time.Now().Add(-test.waiting)}
				seen := map[time.Duration]bool{}
				for range 2000 {
					seen[c.after(w, turnAt(next))] = true
				}
				step := turn * time.Duration(max(1, w.quotas[0].Cost))
				require.Len(t, seen, int(test.latest/step)+1)
				require.Contains(t, seen, time.Duration(0))
				require.Contains(t, seen, test.latest.Truncate(step))
			})
		})
	}
}

func turnAt(at time.Time) turn { return turn{at: at} } // turn is a time in the test

func TestTheTimeBetweenRequestsThatPassIsAveraged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := contention{since: time.Now()}
		<-time.After(16 * time.Second)
		c.recordPass()
		require.Equal(t, 16*time.Second, c.interval)
		<-time.After(32 * time.Second)
		c.recordPass()
		require.Equal(t, 17*time.Second, c.interval)
	})
}
