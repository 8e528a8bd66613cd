package scale_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/internal/queue"
	"github.com/stretchr/testify/require"
)

// crowd is what became of requests that wait for one limit in many processes.
type crowd struct {
	mu      sync.Mutex
	trips   int
	passed  []time.Duration // after how long
	rejects int
}

// wait lets each process have some requests that come at once, and wait for a limit that all
// share. A queue is in the order of arrival; between processes the backend decides.
func wait(t *testing.T, processes, each int, quota backends.Quota, longest time.Duration) *crowd {
	backend, err := backends.NewMemory(nil)
	require.NoError(t, err)
	const roundTrip = 500 * time.Microsecond
	c := &crowd{}
	began := time.Now()
	var all sync.WaitGroup
	for range processes {
		queues := &queue.Queues{}
		for range each {
			all.Go(func() {
				quotas := []backends.Quota{quota}
				allowed := false
				_, _, err := queues.Wait(t.Context(), queue.Request{Quotas: quotas, Longest: longest}, func(ctx context.Context) (queue.Answer, error) {
					<-time.After(roundTrip) // virtual
					verdicts := make([]backends.Verdict, 1)
					err := backend.Take(ctx, quotas, verdicts)
					c.mu.Lock()
					c.trips++
					c.mu.Unlock()
					allowed = verdicts[0].Allowed
					return queue.Answer{Allowed: allowed, RetryAfter: verdicts[0].RetryAfter, Verdicts: verdicts}, err
				})
				c.mu.Lock()
				defer c.mu.Unlock()
				switch {
				case err != nil:
					t.Errorf("a request failed: %v", err)
				case allowed:
					c.passed = append(c.passed, time.Since(began))
				default:
					c.rejects++
				}
			})
		}
	}
	all.Wait()
	require.NoError(t, backend.Close())
	slices.Sort(c.passed)
	return c
}

// Two thousand requests wait for 200 places a second, in one process or in many.
func TestRequestsThatWaitInManyProcesses(t *testing.T) {
	for _, processes := range []int{1, 10, 100, 1000} {
		for name, algorithm := range map[string]backends.Algorithm{"token bucket": backends.TokenBucket, "sliding window": backends.SlidingWindow} {
			synctest.Test(t, func(t *testing.T) {
				quota := backends.Quota{Key: "k", Scope: "s", Algorithm: algorithm, Limit: 200, Per: time.Second, Cost: 1}
				if algorithm == backends.TokenBucket {
					quota.Burst = 1
				}
				c := wait(t, processes, 2000/processes, quota, 2*time.Second)
				last := c.passed[len(c.passed)-1]
				t.Logf("%4d processes, %s: %5d passed in %v, %5d rejected, %.1f trips for one that passed",
					processes, name, len(c.passed), last.Round(time.Millisecond), c.rejects, float64(c.trips)/float64(len(c.passed)))
				require.LessOrEqual(t, c.trips, 2000+len(c.passed)*(5+min(processes, 16)+processes/4), "one trip of each request, and far fewer for each unit than one of each process")
				require.LessOrEqual(t, last, 2200*time.Millisecond)
				require.LessOrEqual(t, len(c.passed), 600, "the bound of a rolling window, and what is regained meanwhile")
				require.Greater(t, len(c.passed), 300)
			})
		}
	}
}
