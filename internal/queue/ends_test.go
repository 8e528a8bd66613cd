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

func TestCloseEndsTheWaitOfAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(time.Hour, bucket(1, time.Minute))
		for range 3 {
			h.send(1)
		}
		pass(time.Second)
		h.Close()
		pass(time.Second)
		h.send(1)
		require.Equal(t, []string{"passed at 0s", "closed at 1s", "closed at 1s", "closed at 2s"}, h.results(t))
		require.Equal(t, time.Second, h.visits[1].waited)
	})
}

func TestAnErrorOfTheBackendEndsTheWaitOfTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(time.Hour, bucket(1, time.Second))
		for range 3 {
			h.send(1)
		}
		h.locked(func() { h.broken = errors.New("out of order") })
		pass(time.Second)
		require.Equal(t, "failed", h.visits[1].outcome)
		require.Equal(t, []string{"passed at 0s", "failed at 1s", "failed at 1s"}, h.results(t))
	})
}

func TestOnlyTheFirstQuestionEndsWithTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, leave := context.WithCancel(t.Context())
		var queues Queues
		questions := 0
		_, _, err := queues.Wait(ctx, Request{Quotas: make([]backends.Quota, 1), Longest: time.Minute}, func(asking context.Context) (Answer, error) {
			questions++
			if questions == 1 {
				require.NotNil(t, asking.Done())
				return Answer{RetryAfter: time.Second}, nil
			}
			leave()
			require.NoError(t, asking.Err())
			return Answer{}, errors.New("whatever happened then")
		})
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, 2, questions)
	})
}

func TestABackendThatDoesNotKnowWhenIsNotAskedWithoutABreak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var queues Queues
		questions := 0
		waited, rejected, err := queues.Wait(t.Context(), Request{Quotas: make([]backends.Quota, 1), Longest: time.Minute}, func(context.Context) (Answer, error) {
			questions++
			return Answer{Allowed: questions > 10}, nil
		})
		require.NoError(t, err)
		require.Nil(t, rejected)
		require.Equal(t, 10*time.Millisecond, waited)
	})
}

func TestAPanicHoldsUpNobody(t *testing.T) {
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

func TestFreedUnitsLetTheFirstAskAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(time.Hour, fixed(2, time.Hour))
		for range 6 {
			h.send(1)
		}
		pass(time.Second)
		h.forget()
		h.Free("key", "somebody else")
		h.Free("other", "scope")
		synctest.Wait()
		require.Equal(t, 2, h.Waiting())
		h.Free("key", "scope")
		synctest.Wait()
		require.Zero(t, h.Waiting())
		require.Equal(t, []string{"passed at 0s", "passed at 0s", "passed at 1s", "passed at 1s", "rejected at 0s", "rejected at 0s"}, h.results(t))
		h.Free("key", "scope") // nobody waits
	})
}

// The answer of a backend may be older than the refund that makes it untrue.
func TestUnitsThatAreFreedWhileTheFirstAsksAreNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(time.Hour, fixed(1, 40*time.Minute))
		h.send(1)
		h.setAway(50 * time.Millisecond)
		h.send(1)
		pass(time.Second)
		h.Free("key", "scope") // nothing has changed, but it asks
		pass(20 * time.Millisecond)
		h.forget()
		h.Free("key", "scope")
		require.Equal(t, []string{"passed at 0s", "passed at 1.1s"}, h.results(t))
	})
}

// The later of two who ask together may be answered first, and what the other knows of
// the room is too much then.
func TestAnOldAnswerLetsNobodyOvertake(t *testing.T) {
	var queues Queues
	var waiters []*waiter
	for i := range 5 {
		w := &waiter{quotas: []backends.Quota{fixed(4, time.Second).quota(1)}, wake: make(chan struct{}, 1), arrived: time.Unix(int64(i), 0)}
		queues.join(w, turn{})
		waiters = append(waiters, w)
	}
	asking := func() (who []bool) {
		for _, w := range waiters {
			who = append(who, w.querying)
		}
		return who
	}
	room := func(remaining int64) []backends.Verdict {
		return []backends.Verdict{{Allowed: true, Remaining: remaining}}
	}
	require.Equal(t, []bool{true, false, false, false, false}, asking())
	queues.leave(waiters[0], room(3))
	require.Equal(t, []bool{true, true, true, true}, asking()[:4])
	require.False(t, waiters[4].querying)
	queues.leave(waiters[3], room(1))
	queues.leave(waiters[2], room(2)) // one unit is left, and the second request asks for it
	require.False(t, waiters[4].querying)
	queues.leave(waiters[1], room(0))
	require.True(t, waiters[4].querying, "it is the first")
}
