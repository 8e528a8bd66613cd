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
		c := newCrowd(time.Hour, bucket(1, time.Minute))
		for range 3 {
			c.come(1)
		}
		pass(time.Second)
		c.Close()
		pass(time.Second)
		c.come(1)
		require.Equal(t, []string{"passed at 0s", "closed at 1s", "closed at 1s", "closed at 2s"}, c.results(t))
		require.Equal(t, time.Second, c.visits[1].waited)
	})
}

func TestAnErrorOfTheBackendEndsTheWaitOfTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(time.Hour, bucket(1, time.Second))
		for range 3 {
			c.come(1)
		}
		c.locked(func() { c.broken = errors.New("out of order") })
		pass(time.Second)
		require.Equal(t, "failed", c.visits[1].outcome)
		require.Equal(t, []string{"passed at 0s", "failed at 1s", "failed at 1s"}, c.results(t))
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
		c := newCrowd(time.Minute, bucket(1, time.Second))
		c.come(1)
		c.all.Go(func() {
			defer func() { require.Equal(t, "ask", recover()) }()
			_, _, _ = c.Wait(t.Context(), Request{Quotas: []backends.Quota{c.limits[0].quota(1)}, Longest: time.Minute}, func(context.Context) (Answer, error) {
				if c.Waiting() > 0 {
					panic("ask")
				}
				return Answer{RetryAfter: time.Second}, nil
			})
		})
		synctest.Wait()
		c.come(1)
		require.Equal(t, []string{"passed at 0s", "passed at 1s"}, c.results(t))
	})
}

func TestFreedUnitsLetTheFirstAskAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(time.Hour, fixed(2, time.Hour))
		for range 6 {
			c.come(1)
		}
		pass(time.Second)
		c.forget()
		c.Free("key", "somebody else")
		c.Free("other", "scope")
		synctest.Wait()
		require.Equal(t, 2, c.Waiting())
		c.Free("key", "scope")
		synctest.Wait()
		require.Zero(t, c.Waiting())
		require.Equal(t, []string{"passed at 0s", "passed at 0s", "passed at 1s", "passed at 1s", "rejected at 0s", "rejected at 0s"}, c.results(t))
		c.Free("key", "scope") // nobody waits
	})
}

// The answer of a backend may be older than the refund that makes it untrue.
func TestUnitsThatAreFreedWhileTheFirstAsksAreNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(time.Hour, fixed(1, 40*time.Minute))
		c.come(1)
		c.setAway(50 * time.Millisecond)
		c.come(1)
		pass(time.Second)
		c.Free("key", "scope") // nothing has changed, but it asks
		pass(20 * time.Millisecond)
		c.forget()
		c.Free("key", "scope")
		require.Equal(t, []string{"passed at 0s", "passed at 1.1s"}, c.results(t))
	})
}
