package ratelimiter_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

func waiting(longest time.Duration) ratelimiter.Option { return ratelimiter.WithWait(longest) }

func TestRequestsWaitForASlotInTheOrderOfArrival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, nil)
		hall, crowd := newHall(), newCrowd()
		engine.GET("/", limiter.Concurrent(2, waiting(10*time.Second)), hall.handle)
		for range 6 {
			crowd.send(engine, "/")
			pass(time.Second)
		}
		require.Equal(t, 4, limiter.Stats().Waiting)
		for range 6 { // the third is allowed at 6s, the fourth at 7s and so on
			hall.letOut(1)
			pass(time.Second)
		}
		require.Equal(t, []string{"200 at 6s", "200 at 7s", "200 at 8s", "200 at 9s", "200 at 10s", "200 at 11s"}, crowd.result())
		require.Zero(t, limiter.Stats().Waiting)
	})
}

func TestARequestThatWaitsForASlotIsRejectedAfterItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, nil)
		hall, crowd := newHall(), newCrowd()
		engine.GET("/", limiter.Concurrent(1, waiting(3*time.Second)), hall.handle)
		engine.GET("/none", limiter.Concurrent(0, waiting(3*time.Second)), hall.handle)
		crowd.send(engine, "/")
		crowd.send(engine, "/")
		crowd.send(engine, "/none")
		pass(time.Second)
		crowd.send(engine, "/")
		pass(2500 * time.Millisecond)
		hall.letOut(2) // the first and the last
		require.Equal(t, []string{"200 at 3.5s", "429 at 3s", "429 at 0s", "200 at 3.5s"}, crowd.result())
		require.Equal(t, "1", header(crowd.sent[1].response, "Retry-After"))
	})
}

func TestAClientThatLeavesTheQueueForASlotIsChargedNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, nil)
		hall, crowd := newHall(), newCrowd()
		engine.GET("/", limiter.RateLimit(9, time.Hour), limiter.Concurrent(1, waiting(time.Minute)), hall.handle)
		for range 3 {
			crowd.send(engine, "/")
		}
		crowd.sent[1].leave()
		synctest.Wait()
		infos, err := limiter.Status(t.Context(), "GET /", "192.0.2.1")
		require.NoError(t, err)
		require.EqualValues(t, 7, infos[1].Remaining)
		pass(time.Second)
		hall.letOut(1)
		pass(time.Second)
		hall.letOut(1)
		require.Equal(t, []string{"200 at 1s", "499 at 0s", "200 at 2s"}, crowd.result())
	})
}

func TestNoRequestOvertakesTheQueueForASlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, nil)
		hall, crowd := newHall(), newCrowd()
		shared := ratelimiter.WithKey(ratelimiter.Shared("exports"))
		engine.GET("/patient", limiter.Concurrent(1, shared, waiting(time.Minute)), hall.handle)
		engine.GET("/rich", limiter.Concurrent(5, shared), hall.handle)
		crowd.send(engine, "/patient")
		crowd.send(engine, "/rich")
		require.EqualValues(t, 2, hall.inside.Load())
		crowd.send(engine, "/patient") // waits until both have ended
		require.Equal(t, 429, get(engine, "/rich").Code, "though its limit has room")
		hall.letOut(1)
		require.EqualValues(t, 1, hall.inside.Load())
		hall.letOut(2)
		require.Equal(t, []string{"200 at 0s", "200 at 0s", "200 at 0s"}, crowd.result())
	})
}

// Two limits may share their slots, for example that of a group and that of a route.
func TestARequestWithASlotPassesTheSecondLimitOnItWhileOthersWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, nil)
		crowd := newCrowd()
		shared := ratelimiter.WithKey(ratelimiter.Shared("exports"))
		between := func(*gin.Context) { <-time.After(time.Second) }
		engine.GET("/", limiter.Concurrent(1, shared, waiting(time.Minute)), between, limiter.Concurrent(1, shared), func(*gin.Context) {})
		for range 3 {
			crowd.send(engine, "/")
		}
		require.Equal(t, []string{"200 at 1s", "200 at 2s", "200 at 3s"}, crowd.result())
	})
}

func TestSlotsFreedTogetherAreTakenTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, nil)
		hall, crowd := newHall(), newCrowd()
		engine.GET("/", limiter.Concurrent(2, waiting(time.Minute)), hall.handle)
		for range 4 {
			crowd.send(engine, "/")
		}
		crowd.sent[0].leave()
		crowd.sent[1].leave()
		synctest.Wait()
		require.Zero(t, limiter.Stats().Waiting)
		hall.letOut(2)
		crowd.all.Wait()
	})
}

func TestTheNextInTheQueueMayFitWhereTheFirstDidNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, nil)
		hall, crowd := newHall(), newCrowd()
		shared := ratelimiter.WithKey(ratelimiter.Shared("exports"))
		engine.GET("/one", limiter.Concurrent(1, shared, waiting(time.Minute)), hall.handle)
		engine.GET("/five", limiter.Concurrent(5, shared, waiting(time.Minute)), hall.handle)
		for _, path := range []string{"/one", "/one", "/five"} {
			crowd.send(engine, path)
		}
		require.Equal(t, 2, limiter.Stats().Waiting)
		crowd.sent[1].leave()
		synctest.Wait()
		require.Zero(t, limiter.Stats().Waiting)
		hall.letOut(2)
		crowd.all.Wait()
	})
}

func TestCloseReleasesRequestsThatWaitForASlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, nil)
		hall, crowd := newHall(), newCrowd()
		engine.GET("/", limiter.Concurrent(1, waiting(time.Minute)), hall.handle)
		for range 3 {
			crowd.send(engine, "/")
		}
		pass(time.Second)
		require.NoError(t, limiter.Close())
		pass(time.Second)
		require.Equal(t, 503, get(engine, "/").Code)
		hall.letOut(1)
		require.Equal(t, []string{"200 at 2s", "503 at 1s", "503 at 1s"}, crowd.result())
	})
}

func TestTheQueueForSlotsIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, nil)
		hall, crowd := newHall(), newCrowd()
		engine.GET("/", limiter.Concurrent(1, waiting(time.Minute)), hall.handle)
		for range 1 + 1000 {
			crowd.send(engine, "/")
		}
		require.Equal(t, 1000, limiter.Stats().Waiting)
		require.Equal(t, 429, get(engine, "/").Code)
		hall.letOut(1001)
		crowd.all.Wait()
	})
}
