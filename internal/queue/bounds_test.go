package queue

import (
	"testing"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
)

func TestTheLoadOfAQueueIsThatOfItsRequests(t *testing.T) {
	var queues Queues
	quotas := func(cost int64) []backends.Quota {
		return []backends.Quota{{Key: "key", Scope: "scope", Limit: 10, Per: time.Minute, Cost: cost}}
	}
	var waiters []*waiter
	now := time.Now()
	for i := range 3 {
		w := &waiter{quotas: quotas(int64(i + 1)), arrived: now, deadline: now.Add(time.Hour), wake: make(chan struct{}, 1)}
		queues.join(w, turn{})
		waiters = append(waiters, w)
	}
	q := waiters[0].queue
	require.EqualValues(t, 3, q.loads[0].requests)
	require.EqualValues(t, 1+2+3, q.loads[0].units)
	queues.remove(waiters[1])
	require.EqualValues(t, 2, q.loads[0].requests)
	require.EqualValues(t, 1+3, q.loads[0].units)
}

func TestPaceUpNeverRoundsDown(t *testing.T) {
	require.Equal(t, time.Microsecond, paceUp(2000, 2000, time.Microsecond))
	require.Equal(t, 2*time.Microsecond, paceUp(2001, 2000, time.Microsecond), "1000.5 ns")
}

// Even if one request takes the whole limit, two periods pass more than the limit.
func TestTheEstimateOfASlidingWindowCountsOnHalfTheLimitInEachPeriod(t *testing.T) {
	l := load{requests: 4, units: 39, largest: 10}
	cost, later := l.probeCost(&backends.Quota{Algorithm: backends.SlidingWindow, Limit: 10, Per: time.Second, Cost: 1})
	require.EqualValues(t, 10, cost)
	require.Equal(t, 9*time.Second, later)
}

func TestRoundingsAddUpInAFullBucketWhosePaceIsNotWholeMicroseconds(t *testing.T) {
	l := load{requests: 2, units: 2000, largest: 1000}
	q := backends.Quota{Algorithm: backends.TokenBucket, Limit: 1000, Per: 1500 * time.Microsecond, Cost: 1000}
	_, later := l.probeCost(&q)
	require.Equal(t, 3002*time.Microsecond, later)
	q.Per = 2 * time.Millisecond
	_, later = l.probeCost(&q)
	require.Equal(t, 4*time.Millisecond, later)
}

func TestTheWaitsOfThreeLimitsAddUp(t *testing.T) {
	quota := backends.Quota{Algorithm: backends.TokenBucket, Limit: 10, Per: time.Minute, Cost: 1}
	e := &Estimate{quotas: []backends.Quota{quota, quota, quota}, ahead: make([]load, 3), delay: make([]time.Duration, 3)}
	verdicts := make([]backends.Verdict, 3)
	for i := range verdicts {
		verdicts[i].RetryAfter = time.Duration(i+1) * time.Second
	}
	e.Correct(verdicts, nil)
	require.Equal(t, 6*time.Second, verdicts[2].RetryAfter)
}
