package ratelimiter_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/internal/redistest"
	"github.com/stretchr/testify/require"
)

// Units charged for a client that leaves during the call go to the next one.
func TestAClientThatLeavesDuringTheCallIsChargedNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := newDistant(t, 50*time.Millisecond)
		engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_BACKEND": backend})
		outer := limiter.RateLimit(100, time.Hour, ratelimiter.WithKey(ratelimiter.Shared("outer")))
		engine.GET("/", outer, limiter.RateLimit(1, 10*time.Second, ratelimiter.WithAlgorithm(ratelimiter.FixedWindow), ratelimiter.WithWait(time.Minute)), ok)
		crowd := newCrowd()
		crowd.send(engine, "/")
		pass(time.Second)
		crowd.send(engine, "/")
		pass(time.Second)
		crowd.send(engine, "/")
		pass(time.Until(crowd.began.Add(10*time.Second + 70*time.Millisecond)))
		crowd.sent[1].leave()
		result := crowd.result()
		require.Contains(t, result[1], "499 at 10.")
		require.Contains(t, result[2], "200 at 10.", "in the same window")
		used, err := limiter.Status(t.Context(), "outer", "192.0.2.1")
		require.NoError(t, err)
		require.EqualValues(t, 98, used[0].Remaining, "including the earlier limit")
	})
}

func TestClientsThatCloseTheirConnectionsLeaveTheQueue(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.POST("/", limiter.RateLimit(1, time.Minute, perSecond, ratelimiter.WithWait(time.Hour)), ok)
	server := httptest.NewServer(engine)
	send := func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL, http.NoBody)
		require.NoError(t, err)
		response, err := server.Client().Do(request)
		if err == nil {
			err = response.Body.Close()
		}
		return err
	}
	require.NoError(t, send(t.Context()))
	ctx, leave := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { _ = send(ctx) }) // this client leaves
	}
	redistest.Eventually(t, "all wait", func(context.Context) bool { return limiter.Stats().Waiting == 20 })
	leave()
	all.Wait()
	redistest.Eventually(t, "nobody waits", func(context.Context) bool { return limiter.Stats().Waiting == 0 })
	server.Close() // waits for the requests, so it hangs if one is stuck
	require.Zero(t, limiter.Queues())
}

// A panic in a function of the application must not block other requests.
func TestAPanicDoesNotBlockTheQueue(t *testing.T) {
	for name, test := range map[string]struct {
		panics ratelimiter.Option
		want   []string
	}{
		"in the cost": {ratelimiter.WithCost(func(c *gin.Context) int {
			if c.GetHeader("Panic") != "" {
				panic("cost")
			}
			return 1
		}), []string{"200 at 0s", "200 at 1s", "500 at 0s", "200 at 2s", "200 at 3s"}},
		"over the limit": {
			ratelimiter.WithOverLimit(func(*gin.Context) { panic("over the limit") }),
			[]string{"200 at 0s", "200 at 1s", "200 at 2s", "200 at 3s", "500 at 0s"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				engine, limiter := application(t, nil)
				engine.Use(gin.CustomRecoveryWithWriter(nil, func(c *gin.Context, _ any) { c.AbortWithStatus(http.StatusInternalServerError) }))
				engine.GET("/", limiter.RateLimit(1, time.Second, perSecond, test.panics, ratelimiter.WithWait(3*time.Second)), ok)
				crowd := newCrowd()
				crowd.send(engine, "/")
				crowd.send(engine, "/")
				crowd.send(engine, "/", withHeader("Panic", "yes"))
				crowd.send(engine, "/")
				crowd.send(engine, "/")
				require.Equal(t, test.want, crowd.result())
				require.Zero(t, limiter.Queues())
				require.Zero(t, limiter.Stats().Waiting)
			})
		})
	}
}
