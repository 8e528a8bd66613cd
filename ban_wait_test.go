package ratelimiter_test

import (
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

func TestAWaitingRequestIsNotARejectionAndARejectionCountsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, nil)
		engine.GET("/", limiter.RateLimit(1, time.Second, ratelimiter.WithAlgorithm(ratelimiter.TokenBucket),
			ratelimiter.WithWait(1500*time.Millisecond), ratelimiter.WithBan(2, time.Hour, time.Minute)), ok)
		began := time.Now()
		require.Equal(t, []int{200, 200, 200, 200}, statuses(engine, "/", 4), "each request waits for its turn")
		require.Equal(t, 3*time.Second, time.Since(began))
		var group sync.WaitGroup
		var answers [3]*httptest.ResponseRecorder
		for i := range answers {
			group.Go(func() { answers[i] = get(engine, "/") })
			synctest.Wait()
		}
		group.Wait()
		require.Equal(t, []int{429, 429, 429}, []int{answers[0].Code, answers[1].Code, answers[2].Code}, "the ban applies to the waiting request too")
		require.Equal(t, "2", header(answers[1], "Retry-After"), "two seconds, after the waiting request")
		require.Equal(t, "60", header(answers[2], "Retry-After"), "the second rejection bans")
		began = time.Now()
		require.Equal(t, 429, get(engine, "/").Code)
		require.Zero(t, time.Since(began), "a banned client does not wait, even if it could wait for longer than the ban")
		pass(time.Minute - time.Second)
		require.Equal(t, 200, get(engine, "/").Code)
	})
}

func TestARequestDoesNotWaitForTheEndOfABan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, nil)
		engine.GET("/", limiter.RateLimit(1, time.Hour, ratelimiter.WithWait(time.Minute), ratelimiter.WithBan(1, time.Hour, time.Second)), ok)
		require.Equal(t, []int{200, 429}, statuses(engine, "/", 2))
		began := time.Now()
		require.Equal(t, 429, get(engine, "/").Code)
		require.Zero(t, time.Since(began))
	})
}

// In both cases Retry-After is about the limit that all clients share.
func TestRequestsDoNotWaitForABanNextToASharedLimit(t *testing.T) {
	one := func(*gin.Context) int { return 1 }
	everyone := ratelimiter.WithLimit(1, 10*time.Minute, ratelimiter.WithScope(ratelimiter.ByEveryone), ratelimiter.WithCost(one))
	t.Run("counted", func(t *testing.T) {
		engine, limiter := application(t, nil)
		engine.GET("/", limiter.RateLimit(1, time.Hour, everyone, ratelimiter.WithWait(time.Second), ratelimiter.WithBan(2, time.Hour, 5*time.Hour)), ok)
		require.Equal(t, []int{200, 429, 429}, statuses(engine, "/", 3))
		require.Equal(t, "18000", header(get(engine, "/"), "Retry-After"))
	})
	t.Run("counted once for several limits", func(t *testing.T) {
		engine, limiter := application(t, nil)
		engine.GET("/", limiter.RateLimit(1, time.Hour, ratelimiter.WithLimit(1, ratelimiter.Day), ratelimiter.WithWait(time.Second), ratelimiter.WithBan(2, time.Hour, 5*time.Hour)), ok)
		require.Equal(t, []int{200, 429}, statuses(engine, "/", 2))
		infos, err := limiter.Status(t.Context(), "GET /", "192.0.2.1")
		require.NoError(t, err)
		require.False(t, infos[0].Banned)
		require.Equal(t, "18000", header(get(engine, "/"), "Retry-After"), "with the second")
	})
	t.Run("not waited for", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			engine, limiter := application(t, nil)
			engine.GET("/", limiter.RateLimit(10, time.Minute, byHeader, everyone, ratelimiter.WithWait(time.Hour), ratelimiter.WithBan(1, time.Hour, time.Second)), ok)
			require.Equal(t, 200, get(engine, "/", ofCost(1)).Code)
			require.Equal(t, 429, get(engine, "/", ofCost(11)).Code, "which bans")
			began := time.Now()
			require.Equal(t, 429, get(engine, "/", ofCost(1)).Code)
			require.Zero(t, time.Since(began))
		})
	})
}
