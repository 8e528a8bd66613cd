package queue

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
)

// contention is how much other processes compete with a queue for units. If each of a
// thousand processes called the backend whenever a unit comes back, a thousand calls would
// let one request pass. So a queue that has lost a turn chooses one of the next √n turns at
// random, where n is the number of turns in which it passes one request. As n is about the
// number of processes, √n of them call in a turn.
//
// The square root keeps this fair: a process that passes half as many requests as others
// calls less often than they do, but not half as often, so it catches up. Backoff by a
// factor for each lost turn does not: whoever has won once goes on winning.
type contention struct {
	since    time.Time     // when the last request passed, or the queue began
	interval time.Duration // average time for a request to pass; 0 before the first
}

// fewProcesses is a number of processes that may all call in a turn. That costs less than a
// turn in which none does.
const fewProcesses = 16

func (c *contention) recordPass() {
	elapsed := time.Since(c.since)
	c.since = time.Now()
	if c.interval == 0 {
		c.interval = elapsed
	}
	c.interval += (elapsed - c.interval) / 16
}

// after returns how long after its next turn a request calls the backend that has lost its
// turn: not at all if it competes with few, and not so long that its deadline passes.
func (c *contention) after(w *waiter, t turn) time.Duration {
	quota := &w.quotas[t.limit]
	if w.open || quota.Limit == 0 || !regainsOneByOne(quota) {
		return 0
	}
	spacing := max(time.Microsecond, pace(quota.Cost, quota.Limit, quota.Per))
	n := max(c.interval, time.Since(c.since)) / spacing
	if n < fewProcesses {
		return 0
	}
	turns := min(int64(math.Sqrt(float64(n))), 1+int64(w.deadline.Sub(t.at)/spacing))
	return spacing * time.Duration(rand.Int64N(turns))
}

// regainsOneByOne reports whether the units of a quota come back one by one, as opposed to
// all units of a window at once.
func regainsOneByOne(q *backends.Quota) bool {
	return q.Algorithm == backends.TokenBucket || q.Algorithm == backends.SlidingWindow
}
