package ratelimiter_test

import (
	"context"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

func TestARequestDoesNotWaitBeyondItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, nil)
		hurry := func(c *gin.Context) {
			ctx, cancel := context.WithTimeout(c.Request.Context(), 1500*time.Millisecond)
			defer cancel()
			c.Request = c.Request.WithContext(ctx)
			c.Next()
		}
		engine.GET("/", hurry, limiter.RateLimit(1, time.Second, perSecond, ratelimiter.WithWait(time.Minute)), ok)
		crowd := newCrowd()
		for range 3 {
			crowd.send(engine, "/")
		}
		require.Equal(t, []string{"200 at 0s", "200 at 1s", "429 at 0s"}, crowd.result())
		require.Equal(t, "2", header(crowd.sent[2].response, "Retry-After"))
	})
}

// A function may return another limit for each request, for example by plan.
func TestAClientWithAHigherLimitIsNotRejectedBecauseOfThoseAhead(t *testing.T) {
	for _, algorithm := range algorithms {
		t.Run(algorithm.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				engine, limiter := application(t, nil)
				limit := func(c *gin.Context) int {
					limit, _ := strconv.Atoi(c.GetHeader("Limit"))
					return limit
				}
				engine.GET("/", limiter.RateLimit(limit, 10*time.Second, ratelimiter.WithAlgorithm(algorithm), ratelimiter.WithWait(21*time.Second)), ok)
				crowd := newCrowd()
				for _, limit := range []string{"1", "1", "9", "9"} {
					crowd.send(engine, "/", withHeader("Limit", limit))
				}
				for _, result := range crowd.result() {
					require.Contains(t, result, "200 at")
				}
			})
		})
	}
}

func TestResetWakesWaitingRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, nil)
		engine.GET("/", limiter.RateLimit(2, time.Hour, ratelimiter.WithAlgorithm(ratelimiter.FixedWindow), ratelimiter.WithWait(time.Hour),
			ratelimiter.WithLimit(9, time.Minute, ratelimiter.WithScope(ratelimiter.ByEveryone))), ok)
		crowd := newCrowd()
		for range 5 {
			crowd.send(engine, "/")
		}
		pass(time.Second)
		require.NoError(t, limiter.Reset(t.Context(), "GET /", "192.0.2.9"))
		synctest.Wait()
		require.Equal(t, 2, limiter.Stats().Waiting, "another scope was reset")
		require.NoError(t, limiter.Reset(t.Context(), "GET /", "192.0.2.1"))
		synctest.Wait()
		require.Zero(t, limiter.Stats().Waiting)
		require.Equal(t, []string{"200 at 0s", "200 at 0s", "200 at 1s", "200 at 1s", "429 at 0s"}, crowd.result())
	})
}
