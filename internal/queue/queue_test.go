package queue

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
)

func TestRequestsPassWhenTheirTurnComes(t *testing.T) {
	for algorithm, want := range map[backends.Algorithm][]string{
		backends.FixedWindow:   {"passed at 0s", "passed at 0s", "passed at 10s", "passed at 10s", "passed at 20s", "passed at 20s"},
		backends.SlidingLog:    {"passed at 0s", "passed at 0s", "passed at 10s", "passed at 10s", "passed at 20s", "passed at 20s"},
		backends.TokenBucket:   {"passed at 0s", "passed at 0s", "passed at 5s", "passed at 10s", "passed at 15s", "passed at 20s"},
		backends.SlidingWindow: {"passed at 0s", "passed at 0s", "passed at 10s", "passed at 15s", "passed at 20s", "passed at 25s"},
	} {
		t.Run(algorithm.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(40*time.Second, &model{algorithm: algorithm, limit: 2, per: 10_000_000})
				for range want {
					h.send(1)
				}
				require.Equal(t, want, h.results(t))
				for _, v := range h.visits {
					require.Equal(t, v.at, v.waited)
				}
			})
		})
	}
}

func TestARequestThatNeedNotWaitDoesNotAllocate(t *testing.T) {
	var queues Queues
	quotas := make([]backends.Quota, 2)
	query := func(context.Context) (Answer, error) { return Answer{Allowed: true}, nil }
	require.Zero(t, testing.AllocsPerRun(100, func() {
		_, _, _ = queues.Wait(t.Context(), Request{Quotas: quotas, Longest: time.Hour}, query)
	}))
}

func TestARequestWhoseTurnIsTooLateIsRejectedAtOnce(t *testing.T) {
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
		"a cost of 0":                       {time.Hour, []*model{bucket(2, time.Minute)}, []int64{2, 1, 0, 1}, []string{"passed at 0s", "passed at 30s", "passed at 0s", "passed at 1m0s"}},
		"the turn of the first turns out to be too far away": {
			10 * time.Minute, []*model{bucket(2, time.Minute), bucket(3, time.Hour)}, []int64{2, 1, 1}, []string{"passed at 0s", "passed at 30s", "denied at 30s"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(test.longest, test.limits...)
				for _, cost := range test.costs {
					h.send(cost)
				}
				require.Equal(t, test.want, h.results(t))
			})
		})
	}
}

func TestTheEstimateOfARejectedRequestIsTheTimeOfItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(10*time.Second, bucket(1, time.Second))
		for range 11 {
			h.send(1)
		}
		rejected := h.send(1).rejected
		require.NotNil(t, rejected)
		h.locked(func() { require.Equal(t, 2, h.calls, "only by the first two") })
		quotas := rejected.Quotas(0)
		require.Len(t, quotas, 2)
		require.EqualValues(t, 1, quotas[1].Cost)
		require.Zero(t, quotas[1].Limit)
		require.Equal(t, "key", quotas[1].Key)
		verdicts := []backends.Verdict{{}, {RetryAfter: -1}}
		h.locked(func() { verdicts[0] = h.limits[0].verdict(time.Now().UnixMicro(), quotas[0].Cost) })
		rejected.Correct(verdicts, nil)
		require.Equal(t, 11*time.Second, verdicts[0].RetryAfter)
		require.False(t, verdicts[0].Allowed)
		h.results(t)
	})
}

func TestARequestThatLeavesFreesItsPlace(t *testing.T) {
	for name, test := range map[string]struct {
		leaves int
		want   []string
	}{
		"the first":      {1, []string{"passed at 0s", "ended at 500ms", "passed at 1s", "passed at 2s", "passed at 3s"}},
		"one in between": {2, []string{"passed at 0s", "passed at 1s", "ended at 500ms", "passed at 2s", "passed at 3s"}},
		"the last":       {4, []string{"passed at 0s", "passed at 1s", "passed at 2s", "passed at 3s", "ended at 500ms"}},
		"none of them":   {0, []string{"passed at 0s", "passed at 1s", "passed at 2s", "passed at 3s", "passed at 4s"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(4*time.Second, bucket(1, time.Second))
				for range 5 {
					h.send(1)
				}
				require.Equal(t, 4, h.Waiting())
				advance(500 * time.Millisecond)
				h.visits[test.leaves].leave()
				require.Equal(t, test.want, h.results(t))
			})
		})
	}
}

// A unit charged for a request that ends in the meantime goes to the next one.
func TestARequestThatLeavesDuringACallIsNotCharged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(time.Minute, fixed(1, 10*time.Second))
		h.latency = 50 * time.Millisecond
		for range 3 {
			h.send(1)
			advance(time.Second)
		}
		advance(time.Until(h.began.Add(10*time.Second + 70*time.Millisecond)))
		h.visits[1].leave()
		require.Equal(t, []string{"passed at 50ms", "ended at 10.1s", "passed at 10.15s"}, h.results(t))
	})
}

func TestNoRequestOvertakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(time.Minute, bucket(10, 10*time.Second))
		h.send(10)
		h.send(5)
		advance(3 * time.Second)
		h.send(1) // three units are available now
		advance(2 * time.Second)
		h.send(1) // when the second passes
		require.Equal(t, []string{"passed at 0s", "passed at 5s", "passed at 6s", "passed at 7s"}, h.results(t))
	})
}

// Answers of the backend may overtake each other; what counts is the order of arrival.
func TestRequestsPassInOrderOfArrival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(time.Minute, bucket(1, time.Second))
		h.limits[0].charge(time.Now().UnixMicro(), 1)
		h.latency = 300 * time.Millisecond
		h.send(1)
		advance(100 * time.Millisecond)
		h.setLatency(10 * time.Millisecond)
		h.send(1)
		advance(50 * time.Millisecond)
		require.Equal(t, 1, h.Waiting(), "the first has no answer yet")
		require.Equal(t, []string{"passed at 1.31s", "passed at 2.32s"}, h.results(t))
	})
}

func TestTheFirstToArriveIsNotMeasuredByTheTurnOfALaterRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(70*time.Second, bucket(10, 100*time.Second))
		h.limits[0].charge(time.Now().UnixMicro(), 10)
		h.latency = 300 * time.Millisecond
		ctx, leave := context.WithTimeout(context.Background(), 20*time.Second)
		h.sendWith(ctx, leave, "scope", 1)
		advance(100 * time.Millisecond)
		h.setLatency(0)
		h.send(5) // has to wait for 50s
		require.Equal(t, []string{"passed at 10.3s", "passed at 1m0s"}, h.results(t))
	})
}

// Other processes share the limits, but not the queue.
func TestRequestsAreRejectedAsSoonAsAnotherProcessMakesThemTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(35*time.Second, bucket(2, 20*time.Second))
		h.send(2)
		for range 3 { // until 10s, 20s and 30s
			h.send(1)
		}
		advance(5 * time.Second)
		h.locked(func() { h.limits[0].charge(time.Now().UnixMicro(), 2) })
		require.Equal(t, []string{"passed at 0s", "passed at 30s", "rejected at 10s", "rejected at 10s"}, h.results(t))
	})
}

func TestAJoiningRequestIsNotMeasuredByTheTurnOfARequestThatHasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(12*time.Second, bucket(10, 10*time.Second))
		h.send(10)
		h.send(10) // its turn is at 10s
		h.send(1)
		advance(time.Second)
		h.setLatency(50 * time.Millisecond)
		h.visits[1].leave()
		synctest.Wait()
		ctx, leave := context.WithTimeout(context.Background(), 5*time.Second)
		h.sendWith(ctx, leave, "scope", 1)
		require.Equal(t, []string{"passed at 0s", "ended at 1s", "passed at 1.05s", "passed at 2.1s"}, h.results(t))
	})
}

func TestAJoiningRequestIsMeasuredByThoseThatStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(4*time.Second, bucket(1, time.Second))
		for range 5 {
			h.send(1)
		}
		advance(500 * time.Millisecond)
		h.visits[2].leave()
		synctest.Wait()
		h.send(1)
		h.send(1)
		require.Equal(t, []string{
			"passed at 0s", "passed at 1s", "ended at 500ms", "passed at 2s", "passed at 3s", "passed at 4s", "rejected at 500ms",
		}, h.results(t))
	})
}

func TestTheDeadlineOfTheContextShortensTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(time.Minute, bucket(1, time.Second))
		for range 3 {
			ctx, leave := context.WithTimeout(context.Background(), 1500*time.Millisecond)
			h.sendWith(ctx, leave, "scope", 1)
		}
		require.Equal(t, []string{"passed at 0s", "passed at 1s", "rejected at 0s"}, h.results(t))
	})
}

// All requests that wait for a window pass at its beginning, including those whose deadline
// is at that moment.
func TestATurnAtTheDeadlineIsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(10*time.Second, fixed(4, 10*time.Second))
		for range 9 {
			h.send(1)
		}
		require.Equal(t, append(
			slices.Repeat([]string{"passed at 0s"}, 4), append(slices.Repeat([]string{"passed at 10s"}, 4), "rejected at 0s")...,
		), h.results(t))
	})
}

// Others may have taken the units, so the grace period ends, too.
func TestTheGracePeriodEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(10*time.Second, fixed(2, 10*time.Second))
		for range 4 {
			h.send(1)
		}
		advance(9 * time.Second)
		h.setLatency(time.Second)
		require.Equal(t, []string{"passed at 0s", "passed at 0s", "passed at 11s", "rejected at 10.1s"}, h.results(t))
	})
}

func TestTheLatencyOfTheBackendDoesNotSlowAQueueDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(time.Minute, fixed(100, 10*time.Second))
		h.latency = 50 * time.Millisecond
		for range 200 {
			h.send(1)
		}
		h.results(t)
		require.Equal(t, 10*time.Second+150*time.Millisecond, time.Since(h.began))
	})
}

func TestQueuesAreIndependent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(time.Minute, bucket(1, time.Second))
		for i, scope := range []string{"ann", "ann", "bob", "bob", "ann"} {
			ctx, leave := context.WithCancel(context.Background())
			h.sendWith(ctx, leave, scope, 1)
			require.Equal(t, []int{0, 1, 2, 2, 2}[i], h.Len())
		}
		h.results(t)
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

func TestTheNumberOfWaitingRequestsIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(time.Hour, fixed(5000, time.Hour)) // all could pass in time
		h.limits[0].charge(time.Now().UnixMicro(), 5000)
		for who := range 11 {
			var rejected int
			for range 1001 {
				h.all.Go(func() {
					if outcome, _, _ := h.wait(context.Background(), fmt.Sprint(who), 1); outcome == "rejected" {
						h.locked(func() { rejected++ })
					}
				})
			}
			synctest.Wait()
			require.Equal(t, min(1000*(who+1), 10_000), h.Waiting())
			want := 1
			if who == 10 {
				want = 1001
			}
			h.locked(func() { require.Equal(t, want, rejected) })
		}
		h.Close()
		h.results(t)
	})
}
