package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
)

// crowd is requests that come to the same limits, and what becomes of them.
type crowd struct {
	Queues
	mu     sync.Mutex
	limits limits
	away   time.Duration // on the way back from the backend
	broken error
	asked  int // how often the backend was

	longest, grace time.Duration
	began          time.Time
	all            sync.WaitGroup
	visits         []*visit
}

// visit is a request and what became of it.
type visit struct {
	cost     int64
	leave    context.CancelFunc
	outcome  string
	at       time.Duration // when that was, since the crowd began
	waited   time.Duration
	rejected *Estimate
}

// newCrowd is a crowd at limits of which nothing is used.
func newCrowd(longest time.Duration, limits ...*model) *crowd {
	return &crowd{limits: limits, longest: longest, grace: 100 * time.Millisecond, began: time.Now()}
}

func bucket(limit int64, per time.Duration) *model {
	return &model{algorithm: backends.TokenBucket, limit: limit, per: per.Microseconds()}
}

func fixed(limit int64, per time.Duration) *model {
	return &model{algorithm: backends.FixedWindow, limit: limit, per: per.Microseconds()}
}

// come sends a request, and returns when it waits, asks or is answered.
func (c *crowd) come(cost int64) *visit {
	ctx, leave := context.WithCancel(context.Background())
	return c.comeWith(ctx, leave, "scope", cost)
}

func (c *crowd) comeWith(ctx context.Context, leave context.CancelFunc, scope string, cost int64) *visit {
	v := &visit{cost: cost, leave: leave}
	c.visits = append(c.visits, v)
	c.all.Go(func() {
		defer leave()
		v.outcome, v.waited, v.rejected = c.wait(ctx, scope, cost)
		v.at = time.Since(c.began)
	})
	synctest.Wait()
	return v
}

func (c *crowd) wait(ctx context.Context, scope string, cost int64) (outcome string, waited time.Duration, rejected *Estimate) {
	var quotas []backends.Quota
	for _, m := range c.limits {
		q := m.quota(cost)
		q.Scope = scope
		quotas = append(quotas, q)
	}
	allowed := false
	waited, rejected, err := c.Wait(ctx, Request{Quotas: quotas, Longest: c.longest, Grace: c.grace}, func(asking context.Context) (Answer, error) {
		answer, err := c.take(asking, cost)
		if err == nil && ctx.Err() != nil {
			c.refund(answer, cost)
			return Answer{}, ctx.Err()
		}
		allowed = answer.Allowed
		return answer, err
	})
	switch {
	case errors.Is(err, backends.ErrClosed):
		return "closed", waited, rejected
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "ended", waited, rejected
	case err != nil:
		return "failed", waited, rejected
	case rejected != nil:
		return "rejected", waited, rejected
	case allowed:
		return "passed", waited, rejected
	}
	return "denied", waited, rejected
}

// take charges all limits or none, and answers after a while.
func (c *crowd) take(ctx context.Context, cost int64) (answer Answer, err error) {
	var away time.Duration
	c.locked(func() {
		answer, err = c.decide(cost)
		away = c.away
	})
	select {
	case <-time.After(away):
	case <-ctx.Done():
		return Answer{}, ctx.Err()
	}
	return answer, err
}

func (c *crowd) decide(cost int64) (answer Answer, err error) {
	c.asked++
	now := time.Now().UnixMicro()
	answer.Allowed = true
	for i, m := range c.limits {
		v := m.verdict(now, cost)
		if !v.Allowed && (answer.Allowed || v.RetryAfter < 0 || v.RetryAfter > answer.RetryAfter && answer.RetryAfter >= 0) {
			answer = Answer{RetryAfter: v.RetryAfter, Limit: i}
		}
	}
	for _, m := range c.limits {
		if answer.Allowed && c.broken == nil {
			m.charge(now, cost)
		}
		answer.Verdicts = append(answer.Verdicts, backends.Verdict{Remaining: m.remaining(now)})
	}
	return answer, c.broken
}

// refund gives back what was charged last.
func (c *crowd) refund(answer Answer, cost int64) {
	if answer.Allowed {
		c.locked(func() {
			for _, m := range c.limits {
				m.charge(time.Now().UnixMicro(), -cost)
			}
		})
		c.Free("key", "scope")
	}
}

// locked runs a function while no request is asking, as one that looks at the backend
// or changes it.
func (c *crowd) locked(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

// forget lets the backend forget all that was charged.
func (c *crowd) forget() {
	c.locked(func() {
		for _, m := range c.limits {
			m.events = nil
		}
	})
}

// setAway changes how long the way back from the backend takes.
func (c *crowd) setAway(away time.Duration) { c.locked(func() { c.away = away }) }

// results waits for all requests and lists what became of them: "passed at 1s".
func (c *crowd) results(t *testing.T) (list []string) {
	c.all.Wait()
	for _, v := range c.visits {
		list = append(list, fmt.Sprintf("%s at %v", v.outcome, v.at))
	}
	require.Zero(t, c.Waiting())
	require.Zero(t, c.Len())
	return list
}

// pass lets virtual time pass.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestRequestsPassWhenTheirTurnComes(t *testing.T) {
	for algorithm, want := range map[backends.Algorithm][]string{
		backends.FixedWindow:   {"passed at 0s", "passed at 0s", "passed at 10s", "passed at 10s", "passed at 20s", "passed at 20s"},
		backends.SlidingLog:    {"passed at 0s", "passed at 0s", "passed at 10s", "passed at 10s", "passed at 20s", "passed at 20s"},
		backends.TokenBucket:   {"passed at 0s", "passed at 0s", "passed at 5s", "passed at 10s", "passed at 15s", "passed at 20s"},
		backends.SlidingWindow: {"passed at 0s", "passed at 0s", "passed at 10s", "passed at 15s", "passed at 20s", "passed at 25s"},
	} {
		t.Run(algorithm.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCrowd(40*time.Second, &model{algorithm: algorithm, limit: 2, per: 10_000_000})
				for range want {
					c.come(1)
				}
				require.Equal(t, want, c.results(t))
				for _, v := range c.visits {
					require.Equal(t, v.at, v.waited)
				}
			})
		})
	}
}

func TestARequestThatNeedNotWaitAllocatesNothing(t *testing.T) {
	var queues Queues
	quotas := make([]backends.Quota, 2)
	ask := func(context.Context) (Answer, error) { return Answer{Allowed: true}, nil }
	require.Zero(t, testing.AllocsPerRun(100, func() {
		_, _, _ = queues.Wait(t.Context(), Request{Quotas: quotas, Longest: time.Hour}, ask)
	}))
}

func TestARequestThatCannotHaveItsTurnInTimeIsRejectedAtOnce(t *testing.T) {
	for name, test := range map[string]struct {
		longest time.Duration
		limits  []*model
		costs   []int64
		want    []string
	}{
		"the turn is too far away":          {29 * time.Second, []*model{bucket(2, time.Minute)}, []int64{2, 1}, []string{"passed at 0s", "denied at 0s"}},
		"the turn is too far behind others": {59 * time.Second, []*model{bucket(2, time.Minute)}, []int64{2, 1, 1}, []string{"passed at 0s", "passed at 30s", "rejected at 0s"}},
		"more than the limit":               {time.Minute, []*model{bucket(2, time.Minute)}, []int64{3}, []string{"denied at 0s"}},
		"more than the limit behind others": {time.Hour, []*model{bucket(2, time.Minute)}, []int64{2, 1, 3}, []string{"passed at 0s", "passed at 30s", "rejected at 0s"}},
		"nothing costs nothing":             {time.Hour, []*model{bucket(2, time.Minute)}, []int64{2, 1, 0, 1}, []string{"passed at 0s", "passed at 30s", "passed at 30s", "passed at 1m0s"}},
		"the first learns that its turn is too far away": {
			10 * time.Minute, []*model{bucket(2, time.Minute), bucket(3, time.Hour)}, []int64{2, 1, 1}, []string{"passed at 0s", "passed at 30s", "denied at 30s"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCrowd(test.longest, test.limits...)
				for _, cost := range test.costs {
					c.come(cost)
				}
				require.Equal(t, test.want, c.results(t))
			})
		})
	}
}

func TestARejectedRequestIsToldWhenItsTurnWouldBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(10*time.Second, bucket(1, time.Second))
		for range 11 {
			c.come(1)
		}
		rejected := c.come(1).rejected
		require.NotNil(t, rejected)
		c.locked(func() { require.Equal(t, 2, c.asked, "by the first two alone") })
		quotas := rejected.Quotas(0)
		require.Len(t, quotas, 2)
		require.EqualValues(t, 1, quotas[1].Cost)
		require.Zero(t, quotas[1].Limit)
		require.Equal(t, "key", quotas[1].Key)
		verdicts := []backends.Verdict{{}, {RetryAfter: -1}}
		c.locked(func() { verdicts[0] = c.limits[0].verdict(time.Now().UnixMicro(), quotas[0].Cost) })
		rejected.Correct(verdicts, nil)
		require.Equal(t, 11*time.Second, verdicts[0].RetryAfter)
		require.False(t, verdicts[0].Allowed)
		c.results(t)
	})
}

func TestOneThatLeavesFreesItsPlace(t *testing.T) {
	for name, test := range map[string]struct {
		leaves int
		want   []string
	}{
		"the first":   {1, []string{"passed at 0s", "ended at 500ms", "passed at 1s", "passed at 2s", "passed at 3s"}},
		"one between": {2, []string{"passed at 0s", "passed at 1s", "ended at 500ms", "passed at 2s", "passed at 3s"}},
		"the last":    {4, []string{"passed at 0s", "passed at 1s", "passed at 2s", "passed at 3s", "ended at 500ms"}},
		"nobody":      {0, []string{"passed at 0s", "passed at 1s", "passed at 2s", "passed at 3s", "passed at 4s"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCrowd(4*time.Second, bucket(1, time.Second))
				for range 5 {
					c.come(1)
				}
				require.Equal(t, 4, c.Waiting())
				pass(500 * time.Millisecond)
				c.visits[test.leaves].leave()
				require.Equal(t, test.want, c.results(t))
			})
		})
	}
}

// What is charged for a request that ends meanwhile goes to the next.
func TestOneThatLeavesWhileTheBackendIsAskedIsChargedNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(time.Minute, fixed(1, 10*time.Second))
		c.away = 50 * time.Millisecond
		for range 3 {
			c.come(1)
			pass(time.Second)
		}
		pass(time.Until(c.began.Add(10*time.Second + 70*time.Millisecond)))
		c.visits[1].leave()
		require.Equal(t, []string{"passed at 50ms", "ended at 10.1s", "passed at 10.15s"}, c.results(t))
	})
}

func TestNobodyOvertakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(time.Minute, bucket(10, 10*time.Second))
		c.come(10)
		c.come(5)
		pass(3 * time.Second)
		c.come(1) // there are three units now
		pass(2 * time.Second)
		c.come(1) // at the moment when the second passes
		require.Equal(t, []string{"passed at 0s", "passed at 5s", "passed at 6s", "passed at 7s"}, c.results(t))
	})
}

// Answers of the backend overtake each other: what counts is who came first.
func TestTheOrderIsThatOfArrival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(time.Minute, bucket(1, time.Second))
		c.limits[0].charge(time.Now().UnixMicro(), 1)
		c.away = 300 * time.Millisecond
		c.come(1)
		pass(100 * time.Millisecond)
		c.setAway(10 * time.Millisecond)
		c.come(1)
		pass(50 * time.Millisecond)
		require.Equal(t, 1, c.Waiting(), "the first has no answer yet")
		require.Equal(t, []string{"passed at 1.31s", "passed at 2.32s"}, c.results(t))
	})
}

func TestTheDeadlineOfTheContextShortensTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(time.Minute, bucket(1, time.Second))
		for range 3 {
			ctx, leave := context.WithTimeout(context.Background(), 1500*time.Millisecond)
			c.comeWith(ctx, leave, "scope", 1)
		}
		require.Equal(t, []string{"passed at 0s", "passed at 1s", "rejected at 0s"}, c.results(t))
	})
}

// All who wait for a window pass at its beginning, also those whose time is up just then.
func TestATurnAtTheLastMomentIsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(10*time.Second, fixed(4, 10*time.Second))
		for range 9 {
			c.come(1)
		}
		require.Equal(t, append(
			slices.Repeat([]string{"passed at 0s"}, 4), append(slices.Repeat([]string{"passed at 10s"}, 4), "rejected at 0s")...,
		), c.results(t))
	})
}

// Others may have taken what was there, so the grace ends too.
func TestTheGraceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(10*time.Second, fixed(2, 10*time.Second))
		for range 4 {
			c.come(1)
		}
		pass(9 * time.Second)
		c.setAway(time.Second)
		require.Equal(t, []string{"passed at 0s", "passed at 0s", "passed at 11s", "rejected at 10.1s"}, c.results(t))
	})
}

func TestAQueueIsNotSlowedDownByTheWayToTheBackend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(time.Minute, fixed(100, 10*time.Second))
		c.away = 50 * time.Millisecond
		for range 200 {
			c.come(1)
		}
		c.results(t)
		require.Equal(t, 10*time.Second+150*time.Millisecond, time.Since(c.began))
	})
}

func TestQueuesAreApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(time.Minute, bucket(1, time.Second))
		for i, scope := range []string{"ann", "ann", "bob", "bob", "ann"} {
			ctx, leave := context.WithCancel(context.Background())
			c.comeWith(ctx, leave, scope, 1)
			require.Equal(t, []int{0, 1, 2, 2, 2}[i], c.Len())
		}
		c.results(t)
	})
	of := func(change func(q *backends.Quota)) uint64 {
		q := bucket(1, time.Second).quota(1)
		change(&q)
		return idOf([]backends.Quota{q})
	}
	same := of(func(*backends.Quota) {})
	require.Equal(t, same, of(func(q *backends.Quota) { q.Cost, q.Limit, q.Burst = 7, 8, 9 }))
	for _, change := range []func(*backends.Quota){
		func(q *backends.Quota) { q.Key = "other" }, func(q *backends.Quota) { q.Scope = "other" },
		func(q *backends.Quota) { q.Per++ }, func(q *backends.Quota) { q.Algorithm++ }, func(q *backends.Quota) { q.Shadow = true },
	} {
		require.NotEqual(t, same, of(change))
	}
}

func TestOnlySoManyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(time.Hour, fixed(1, time.Hour))
		c.limits[0].charge(time.Now().UnixMicro(), 1)
		c.limits[0].limit = 1000
		c.limits[0].charge(time.Now().UnixMicro(), 999)
		for who := range 11 {
			var rejected int
			for range 1001 {
				c.all.Go(func() {
					if outcome, _, _ := c.wait(context.Background(), fmt.Sprint(who), 1); outcome == "rejected" {
						c.locked(func() { rejected++ })
					}
				})
			}
			synctest.Wait()
			require.Equal(t, min(1000*(who+1), 10_000), c.Waiting())
			want := 1
			if who == 10 {
				want = 1001
			}
			c.locked(func() { require.Equal(t, want, rejected) })
		}
		c.Close()
		c.results(t)
	})
}
