package queue

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
)

func TestAnOpenRequestAlwaysWaitsUntilItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var qs Queues
		began, calls := time.Now(), []time.Duration(nil)
		open := Request{Quotas: []backends.Quota{{Key: "k", Limit: 1, Per: time.Hour, Cost: 1}}, Longest: 10 * time.Second, Open: true}
		waited, rejected, err := qs.Wait(t.Context(), open, func(context.Context) (Answer, error) {
			calls = append(calls, time.Since(began))
			return Answer{RetryAfter: 6 * time.Second}, nil
		})
		require.NoError(t, err)
		require.Nil(t, rejected, "the last call is at the deadline")
		require.Equal(t, 10*time.Second, waited)
		require.Equal(t, []time.Duration{0, 6 * time.Second, 10 * time.Second}, calls)
		require.Zero(t, qs.Len())
	})
}

func TestOpenRequestsPassInOrderWhenUnitsAreFreed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var qs Queues
		began := time.Now()
		var free atomic.Int64
		var mu sync.Mutex
		var passed []string
		open := Request{Quotas: []backends.Quota{{Key: "k", Limit: 1, Per: time.Hour, Cost: 1}}, Longest: 10 * time.Second, Open: true}
		enter := func(name string) {
			waited, rejected, err := qs.Wait(t.Context(), open, func(context.Context) (Answer, error) {
				if free.Load() > 0 {
					free.Add(-1)
					return Answer{Allowed: true, Verdicts: make([]backends.Verdict, 1)}, nil
				}
				return Answer{RetryAfter: time.Hour}, nil
			})
			require.NoError(t, err)
			if rejected != nil {
				name += " rejected"
			}
			mu.Lock()
			defer mu.Unlock()
			passed = append(passed, name+" at "+time.Since(began).String()+" after "+waited.String())
		}
		for _, name := range []string{"a", "b", "c"} {
			go enter(name)
			<-time.After(time.Second)
		}
		require.False(t, qs.IsEmpty(open.Quotas))
		for range 2 {
			free.Add(1)
			qs.Free("k", "")
			<-time.After(time.Second)
		}
		<-time.After(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		require.Equal(t, []string{"a at 3s after 3s", "b at 4s after 3s", "c at 12s after 10s"}, passed)
		require.True(t, qs.IsEmpty(open.Quotas))
	})
}
