package ratelimiter_test

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
)

func TestProcessesShareALimitOnRequestsInProgress(t *testing.T) {
	inShared(t, 2, func(t *testing.T, w *cluster) {
		a, b := w.process(), w.process()
		require.Equal(t, []int{200, 200, 429, 429}, []int{w.enter(a), w.enter(b), w.enter(a), w.enter(b)})
		require.Zero(t, info(t, a.limiter, "jobs").Remaining)
		w.hall.letOut(1)
		require.EqualValues(t, 1, info(t, b.limiter, "jobs").Remaining)
		require.Equal(t, []int{200, 429, 429}, []int{w.enter(b), w.enter(b), w.enter(a)})
	})
}

func TestASlotIsRenewedWhileItsRequestIsInProgress(t *testing.T) {
	inShared(t, 2, func(t *testing.T, w *cluster) {
		a, b := w.process(), w.process()
		w.enter(a)
		w.enter(b)
		for range 100 {
			pass(7 * time.Second)
			require.Equal(t, 429, w.enter(a))
			require.Equal(t, 429, w.enter(b))
		}
		w.hall.letOut(2)
		require.Equal(t, []int{200, 200, 429}, []int{w.enter(b), w.enter(b), w.enter(a)}, "both slots are free")
		w.hall.letOut(2)
		require.Empty(t, w.redis.Keys())
	})
}

func TestAShortRequestTakesTwoCallsAndNoRenewal(t *testing.T) {
	inShared(t, 5, func(t *testing.T, w *cluster) {
		p := w.process()
		for range 10 {
			w.enter(p)
			w.hall.letOut(1)
		}
		pass(time.Hour)
		require.EqualValues(t, 20, p.link.calls.Load())
		for range 5 {
			w.enter(p)
		}
		require.EqualValues(t, 25, p.link.calls.Load())
		require.Equal(t, 429, w.enter(p))
		require.EqualValues(t, 25, p.link.calls.Load(), "the process knows that it holds all slots")
		pass(time.Minute + time.Millisecond)
		require.EqualValues(t, 31, p.link.calls.Load(), "one call renews all slots, three times in each lease")
	})
}

// Limits above 128 merge cells of the log.
func TestSlotsBeyondTheCellsOfALogAreCounted(t *testing.T) {
	const limit = 400
	inShared(t, limit, func(t *testing.T, w *cluster) {
		a, b := w.process(), w.process()
		for i := range limit {
			if pass(7 * time.Millisecond); i%2 == 0 {
				require.Equal(t, 200, w.enter(a))
			} else {
				require.Equal(t, 200, w.enter(b))
			}
		}
		for range 20 {
			require.Equal(t, []int{429, 429}, []int{w.enter(a), w.enter(b)})
			pass(3 * time.Second)
		}
		w.hall.letOut(limit)
		require.EqualValues(t, limit, info(t, a.limiter, "jobs").Remaining)
		require.Empty(t, w.redis.Keys())
	})
}

func TestSlotsOfADeadProcessAreFreeAfterOneLease(t *testing.T) {
	inShared(t, 3, func(t *testing.T, w *cluster) {
		a, b := w.process(), w.process()
		require.Equal(t, []int{200, 200, 200}, []int{w.enter(a), w.enter(a), w.enter(b)})
		pass(11 * time.Second) // they were renewed one second ago
		a.link.down.Store(true)
		pass(8900 * time.Millisecond)
		require.Equal(t, 429, w.enter(b))
		pass(100 * time.Millisecond)
		require.Equal(t, []int{200, 200, 429}, []int{w.enter(b), w.enter(b), w.enter(b)})
	}, ratelimiter.WithLease(10*time.Second))
}

func TestAProcessKeepsItsSlotsThroughAnOutage(t *testing.T) {
	inShared(t, 2, func(t *testing.T, w *cluster) {
		a, b := w.process(), w.process()
		require.Equal(t, []int{200, 200}, []int{w.enter(a), w.enter(a)})
		a.link.down.Store(true)
		pass(25 * time.Second) // less than a lease
		require.Equal(t, 429, w.enter(b))
		a.link.down.Store(false)
		pass(2 * time.Second)
		for range 5 {
			pass(10 * time.Second)
			require.Equal(t, 429, w.enter(b))
		}
		a.link.down.Store(true)
		pass(time.Minute) // more than a lease, so others are allowed
		require.Equal(t, 200, w.enter(b))
		a.link.down.Store(false)
		pass(2 * time.Second)
		w.hall.letOut(1) // of three
		require.Equal(t, 429, w.enter(b), "three requests were in progress, and two still are")
	})
}

func TestAProcessCountsAllItsRequestsDuringAnOutage(t *testing.T) {
	inShared(t, 3, func(t *testing.T, w *cluster) {
		a, b := w.process(), w.process()
		require.Equal(t, []int{200, 200}, []int{w.enter(a), w.enter(a)})
		a.link.down.Store(true)
		require.Equal(t, []int{200, 429}, []int{w.enter(a), w.enter(a)}, "including those from before the outage")
		require.Equal(t, []int{200, 429}, []int{w.enter(b), w.enter(b)}, "Redis knows of two")
		w.hall.letOut(1) // of a
		require.Equal(t, []int{200, 429}, []int{w.enter(a), w.enter(a)})
		a.link.down.Store(false)
		pass(2 * time.Second)
		require.Equal(t, []int{429, 429}, []int{w.enter(a), w.enter(b)}, "Redis knows of all four again")
		w.hall.letOut(3)
		pass(30 * time.Second)
		require.EqualValues(t, 2, info(t, b.limiter, "jobs").Remaining)
	})
}

func TestASlotFreedDuringAnOutageIsFreeAfterIt(t *testing.T) {
	inShared(t, 9, func(t *testing.T, w *cluster) {
		a, b := w.process(), w.process()
		for range 9 {
			w.enter(a)
		}
		a.link.down.Store(true)
		w.hall.letOut(5) // these calls fail, although Redis may have run them
		require.True(t, a.limiter.Health().Open)
		w.hall.letOut(4) // these make no call
		a.link.down.Store(false)
		pass(3 * time.Second)
		require.EqualValues(t, 4, info(t, b.limiter, "jobs").Remaining)
		pass(28 * time.Second)
		require.EqualValues(t, 9, info(t, b.limiter, "jobs").Remaining, "the other slots are free after a lease")
	})
}

func TestOnErrorAppliesToConcurrentDuringAnOutage(t *testing.T) {
	for policy, want := range map[string]int{"allow": 200, "deny": 503} {
		t.Run(policy, func(t *testing.T) {
			inShared(t, 1, func(t *testing.T, w *cluster) {
				p := w.process(ratelimiter.Config{"RATELIMITER_ON_ERROR": policy})
				p.link.down.Store(true)
				require.Equal(t, want, w.enter(p))
				p.link.down.Store(false)
				pass(time.Minute)
				require.Equal(t, 200, w.enter(p), "no slot is held")
				require.Equal(t, 429, w.enter(p))
			})
		})
	}
}

func TestFallbackShareAppliesToConcurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t, 4)
		engine, limiter := gin.New(), &ratelimiter.RateLimiter{}
		nowhere := clientOf(func(context.Context, string, string) (net.Conn, error) { return nil, errLost })
		require.NoError(t, limiter.InitApp(engine, ratelimiter.Config{
			"RATELIMITER_BACKEND":         "redis",
			"RATELIMITER_BACKEND_OPTIONS": map[string]any{"fallback_share": 0.5, "client": nowhere},
		}))
		engine.GET("/", w.rule(limiter), w.hall.handle)
		p := &process{Engine: engine}
		require.Equal(t, []int{200, 200, 429}, []int{w.enter(p), w.enter(p), w.enter(p)})
		w.hall.letOut(2)
		require.NoError(t, limiter.Close())
		require.NoError(t, nowhere.Close())
		pass(time.Minute) // the go-redis client reconnects
	})
}

func TestProcessesShareAShadowConcurrent(t *testing.T) {
	inShared(t, 2, func(t *testing.T, w *cluster) {
		a, b := w.process(), w.process()
		require.Equal(t, []int{200, 200, 200, 200}, []int{w.enter(a), w.enter(b), w.enter(a), w.enter(b)})
		for range 4 {
			pass(12 * time.Second)
			require.Zero(t, info(t, a.limiter, "jobs").Remaining)
		}
		w.hall.letOut(4) // two of them had a slot
		require.EqualValues(t, 2, info(t, a.limiter, "jobs").Remaining)
	}, ratelimiter.WithShadow())
}

func TestLeasesThatRedisLostAreRenewed(t *testing.T) {
	inShared(t, 3, func(t *testing.T, w *cluster) {
		a, b := w.process(), w.process()
		require.Equal(t, []int{200, 200}, []int{w.enter(a), w.enter(a)})
		w.redis.FlushAll()
		pass(10 * time.Second)
		require.Equal(t, []int{200, 429, 429}, []int{w.enter(b), w.enter(b), w.enter(a)}, "a third of a lease later")
		w.redis.FlushAll()
		w.hall.letOut(1) // of a, with the receipt of a lost lease
		require.Equal(t, 200, w.enter(a))
		pass(time.Millisecond)
		require.EqualValues(t, 1, info(t, b.limiter, "jobs").Remaining, "the next request of a renews its earlier slots; b renews its slot later")
		pass(10 * time.Second)
		require.Zero(t, info(t, b.limiter, "jobs").Remaining)
	})
}

func TestASlotWithALostLeaseDoesNotFreeAnother(t *testing.T) {
	inShared(t, 2, func(t *testing.T, w *cluster) {
		a, b := w.process(), w.process()
		w.enter(a)
		pass(time.Second)
		w.redis.FlushAll()
		require.Equal(t, []int{200, 200}, []int{w.enter(b), w.enter(b)})
		w.hall.letOut(1) // of a
		require.Equal(t, []int{429, 429}, []int{w.enter(a), w.enter(b)})
	})
}

func TestALostReplyCountsForAtMostOneLease(t *testing.T) {
	inShared(t, 2, func(t *testing.T, w *cluster) {
		a, b := w.process(ratelimiter.Config{"RATELIMITER_ON_ERROR": "deny"}), w.process()
		a.link.lose.Store(true)
		require.Equal(t, 503, w.enter(a))
		require.EqualValues(t, 1, info(t, b.limiter, "jobs").Remaining)
		pass(30 * time.Second)
		require.EqualValues(t, 2, info(t, b.limiter, "jobs").Remaining)

		require.Equal(t, 200, w.enter(a))
		a.link.lose.Store(true)
		pass(12 * time.Second) // a renewal whose reply is lost, and another one
		require.Zero(t, info(t, b.limiter, "jobs").Remaining, "counted twice")
		pass(30 * time.Second)
		require.EqualValues(t, 1, info(t, b.limiter, "jobs").Remaining)
		a.link.lose.Store(true)
		w.hall.letOut(1)
		require.EqualValues(t, 2, info(t, b.limiter, "jobs").Remaining)
	})
}

func TestAClientThatLeavesDuringTheCallLeavesNoSlotBehind(t *testing.T) {
	inShared(t, 1, func(t *testing.T, w *cluster) {
		a, b := w.process(), w.process()
		a.link.delay = 50 * time.Millisecond
		w.enter(a)
		w.crowd.sent[0].leave()
		pass(time.Second)
		require.Equal(t, 200, w.enter(b))
	})
}

func TestConcurrentSurvivesAChangeOfTheRedisClock(t *testing.T) {
	inShared(t, 2, func(t *testing.T, w *cluster) {
		a, b := w.process(), w.process()
		require.Equal(t, []int{200, 200}, []int{w.enter(a), w.enter(b)})
		for _, step := range []time.Duration{-time.Hour, -time.Second, time.Second} {
			w.redis.SetTime(time.Now().Add(step))
			require.Equal(t, []int{429, 429}, []int{w.enter(a), w.enter(b)}, "by %v", step)
			pass(11 * time.Second)
			w.redis.SetTime(time.Now().Add(step))
			require.Equal(t, []int{429, 429}, []int{w.enter(a), w.enter(b)}, "by %v", step)
		}
		w.redis.SetTime(time.Now().Add(24 * time.Hour)) // all leases are over
		pass(11 * time.Second)
		require.Equal(t, []int{429, 429}, []int{w.enter(a), w.enter(b)})
		w.hall.letOut(2)
		require.Equal(t, []int{200, 200, 429}, []int{w.enter(a), w.enter(b), w.enter(b)})
	})
}

func TestAWaitingRequestGetsASlotThatAnotherProcessFrees(t *testing.T) {
	inShared(t, 1, func(t *testing.T, w *cluster) {
		a, b := w.process(), w.process()
		w.enter(a)
		for range 3 {
			w.enter(b)
		}
		pass(5 * time.Second)
		require.Less(t, b.link.calls.Load(), int64(15), "the first in the queue polls at growing intervals")
		require.Equal(t, 3, b.limiter.Stats().Waiting)
		w.hall.letOut(1)
		pass(time.Second)
		require.Equal(t, 2, b.limiter.Stats().Waiting)
		w.hall.letOut(1)
		require.Equal(t, 1, b.limiter.Stats().Waiting, "slots that this process frees are noticed at once")
		w.hall.letOut(2)
	}, ratelimiter.WithWait(time.Minute))
}

func TestRequestsInProgressKeepTheirSlotsAfterClose(t *testing.T) {
	inShared(t, 2, func(t *testing.T, w *cluster) {
		a, b := w.process(), w.process()
		w.enter(a)
		w.enter(b)
		require.NoError(t, a.limiter.Close())
		require.Equal(t, 503, w.enter(a))
		for range 10 {
			pass(7 * time.Second)
			require.Equal(t, 429, w.enter(b))
		}
		w.hall.letOut(1)
		require.Equal(t, []int{200, 429}, []int{w.enter(b), w.enter(b)}, "and free them")
		calls := a.link.calls.Load()
		pass(time.Hour)
		require.Equal(t, calls, a.link.calls.Load(), "nothing is renewed after that")
	})
}

func TestABackendWithoutReceiptsCannotCountRequestsInProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_BACKEND": unreceipted{newDistant(t, 0)}, "RATELIMITER_ON_ERROR": "deny"})
		var reported string
		engine.GET("/", func(c *gin.Context) {
			c.Next()
			reported = c.Errors.String()
		}, limiter.Concurrent(5), ok)
		require.Equal(t, 503, get(engine, "/").Code)
		require.Contains(t, reported, "the backend returns no receipts for the sliding log")
	})
}

type unreceipted struct{ backends.Backend }

func (u unreceipted) Take(ctx context.Context, quotas []backends.Quota, verdicts []backends.Verdict) error {
	err := u.Backend.Take(ctx, quotas, verdicts)
	for i := range verdicts {
		verdicts[i].Receipt = 0
	}
	return err
}
