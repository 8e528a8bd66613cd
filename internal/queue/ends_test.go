package queue

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
)

func TestCloseEndsAllWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(time.Hour, bucket(1, time.Minute))
		for range 3 {
			h.send(1)
		}
		advance(time.Second)
		h.Close()
		advance(time.Second)
		h.send(1)
		require.Equal(t, []string{"passed at 0s", "closed at 1s", "closed at 1s", "closed at 2s"}, h.results(t))
		require.Equal(t, time.Second, h.visits[1].waited)
	})
}

func TestAnErrorOfTheBackendEndsTheWaitOfTheFirstRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(time.Hour, bucket(1, time.Second))
		for range 3 {
			h.send(1)
		}
		h.locked(func() { h.broken = errors.New("failing") })
		advance(time.Second)
		require.Equal(t, "failed", h.visits[1].outcome)
		require.Equal(t, []string{"passed at 0s", "failed at 1s", "failed at 1s"}, h.results(t))
	})
}

func TestOnlyTheFirstCallEndsWithTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, leave := context.WithCancel(t.Context())
		var queues Queues
		calls := 0
		_, _, err := queues.Wait(ctx, Request{Quotas: make([]backends.Quota, 1), Longest: time.Minute}, func(callCtx context.Context) (Answer, error) {
			calls++
			if calls == 1 {
				require.NotNil(t, callCtx.Done())
				return Answer{RetryAfter: time.Second}, nil
			}
			leave()
			require.NoError(t, callCtx.Err())
			return Answer{}, errors.New("even if the request has ended")
		})
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, 2, calls)
	})
}

func TestABackendWithoutRetryAfterIsNotCalledInABusyLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var queues Queues
		calls := 0
		waited, rejected, err := queues.Wait(t.Context(), Request{Quotas: make([]backends.Quota, 1), Longest: time.Minute}, func(context.Context) (Answer, error) {
			calls++
			return Answer{Allowed: calls > 10}, nil
		})
		require.NoError(t, err)
		require.Nil(t, rejected)
		require.Equal(t, 10*time.Millisecond, waited)
	})
}

func TestAPanicBlocksNoOtherRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(time.Minute, bucket(1, time.Second))
		h.send(1)
		h.all.Go(func() {
			defer func() { require.Equal(t, "ask", recover()) }()
			_, _, _ = h.Wait(t.Context(), Request{Quotas: []backends.Quota{h.limits[0].quota(1)}, Longest: time.Minute}, func(context.Context) (Answer, error) {
				if h.Waiting() > 0 {
					panic("ask")
				}
				return Answer{RetryAfter: time.Second}, nil
			})
		})
		synctest.Wait()
		h.send(1)
		require.Equal(t, []string{"passed at 0s", "passed at 1s"}, h.results(t))
	})
}

func TestFreedUnitsWakeTheFirstAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(time.Hour, fixed(2, time.Hour))
		for range 6 {
			h.send(1)
		}
		advance(time.Second)
		h.resetAll()
		h.Free("key", "another client")
		h.Free("other", "scope")
		synctest.Wait()
		require.Equal(t, 2, h.Waiting())
		h.Free("key", "scope")
		synctest.Wait()
		require.Zero(t, h.Waiting())
		require.Equal(t, []string{"passed at 0s", "passed at 0s", "passed at 1s", "passed at 1s", "rejected at 0s", "rejected at 0s"}, h.results(t))
		h.Free("key", "scope") // no request is waiting
	})
}

// An answer of the backend may be older than a refund that makes it wrong.
func TestUnitsFreedDuringACallAreNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(time.Hour, fixed(1, 40*time.Minute))
		h.send(1)
		h.setLatency(50 * time.Millisecond)
		h.send(1)
		advance(time.Second)
		h.Free("key", "scope") // nothing was freed, but the first request calls the backend
		advance(20 * time.Millisecond)
		h.resetAll()
		h.Free("key", "scope")
		require.Equal(t, []string{"passed at 0s", "passed at 1.1s"}, h.results(t))
	})
}

// A request is not in the queue yet when its first call is answered.
func TestUnitsFreedBeforeARequestJoinsAreNotLost(t *testing.T) {
	for name, free := range map[string]func(*Queues){
		"a refund": func(qs *Queues) { qs.Free("key", "scope") },
		"a reset":  func(qs *Queues) { qs.FreeAll() },
	} {
		for _, open := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				var qs Queues
				calls := 0
				request := Request{Quotas: []backends.Quota{fixed(1, time.Hour).quota(1)}, Longest: time.Hour, Open: open}
				waited, rejected, err := qs.Wait(t.Context(), request, func(context.Context) (Answer, error) {
					if calls++; calls == 1 {
						free(&qs)
						return Answer{RetryAfter: time.Hour}, nil
					}
					return Answer{Allowed: true}, nil
				})
				require.NoError(t, err)
				require.Nil(t, rejected)
				require.Zero(t, waited, name)
			})
		}
	}
}

// The later of two concurrent calls may be answered first. The remaining units known from
// the earlier one are outdated then.
func TestAnOutdatedAnswerLetsNoRequestOvertake(t *testing.T) {
	var queues Queues
	var waiters []*waiter
	for i := range 5 {
		w := &waiter{quotas: []backends.Quota{fixed(4, time.Second).quota(1)}, wake: make(chan struct{}, 1), arrived: time.Unix(int64(i), 0)}
		queues.join(w, turn{})
		waiters = append(waiters, w)
	}
	querying := func() (who []bool) {
		for _, w := range waiters {
			who = append(who, w.querying)
		}
		return who
	}
	room := func(remaining int64) []backends.Verdict {
		return []backends.Verdict{{Allowed: true, Remaining: remaining}}
	}
	require.Equal(t, []bool{true, false, false, false, false}, querying())
	queues.leave(waiters[0], room(3))
	require.Equal(t, []bool{true, true, true, true}, querying()[:4])
	require.False(t, waiters[4].querying)
	queues.leave(waiters[3], room(1))
	queues.leave(waiters[2], room(2)) // one unit is left, and the second request is already calling for it
	require.False(t, waiters[4].querying)
	queues.leave(waiters[1], room(0))
	require.True(t, waiters[4].querying, "it is first now")
}

// Its answer may be better than the estimate.
func TestARequestThatIsCallingTheBackendIsNotRejectedMeanwhile(t *testing.T) {
	var queues Queues
	var waiters []*waiter
	for range 3 {
		now := time.Now()
		w := &waiter{quotas: []backends.Quota{bucket(3, 30*time.Second).quota(1)}, wake: make(chan struct{}, 1), arrived: now, deadline: now.Add(15 * time.Second)}
		queues.join(w, turn{})
		waiters = append(waiters, w)
	}
	queues.leave(waiters[0], []backends.Verdict{{Allowed: true, Remaining: 2}}) // the others call now
	queues.postpone(waiters[1], turn{at: time.Now().Add(10 * time.Second)})
	require.Equal(t, 2, queues.Waiting())
	require.Nil(t, waiters[2].rejected)
	queues.postpone(waiters[2], turn{at: time.Now().Add(10 * time.Second)})
	queues.postpone(waiters[1], turn{at: time.Now().Add(10 * time.Second)})
	require.Equal(t, 1, queues.Waiting())
	require.NotNil(t, waiters[2].rejected, "it has an answer, and the request before it takes the next unit")
}
