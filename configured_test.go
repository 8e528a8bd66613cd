package ratelimiter_test

import (
	"sync"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

func TestLimitsChangeWhileRunning(t *testing.T) {
	config := ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "2/hour", "RATELIMITER_KEY_PREFIX": "mine", "OTHER": 1}
	engine, limiter := application(t, config)
	engine.GET("/", ok)
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/", 3))
	require.NoError(t, limiter.Update(ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "4/hour"}))
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/", 3), "two were used before")
	config["RATELIMITER_APPLICATION_LIMITS"] = "1/day"
	config["RATELIMITER_DEFAULT_LIMITS"] = ""
	require.NoError(t, limiter.Update(config))
	require.Equal(t, []int{200, 429}, statuses(engine, "/", 2))

	for want, bad := range map[string]ratelimiter.Config{
		"RATELIMITER_DEFAULT_LIMITS":    {"RATELIMITER_DEFAULT_LIMITS": "many", "RATELIMITER_APPLICATION_LIMITS": "100/day"},
		"RATELIMITER_TIMEOUT cannot":    {"RATELIMITER_TIMEOUT": "1s", "RATELIMITER_APPLICATION_LIMITS": "100/day"},
		"RATELIMITER_KEY_PREFIX cannot": {"RATELIMITER_KEY_PREFIX": "yours", "RATELIMITER_APPLICATION_LIMITS": "100/day"},
	} {
		require.ErrorContains(t, limiter.Update(bad), want)
		require.Equal(t, 429, get(engine, "/").Code, "nothing has changed")
	}
	require.NoError(t, limiter.Update(ratelimiter.Config{"RATELIMITER_APPLICATION_LIMITS": ""}))
	require.Equal(t, []int{200, 200}, statuses(engine, "/", 2))
}

func TestUpdateReachesAnEngineThatHadNoLimits(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.GET("/", ok)
	require.Equal(t, []int{200, 200}, statuses(engine, "/", 2))
	require.NoError(t, limiter.Update(ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "1/hour"}))
	require.Equal(t, []int{200, 429}, statuses(engine, "/", 2))

	late := gin.New()
	late.GET("/", ok)
	limiter, err := ratelimiter.New(late, nil)
	require.NoError(t, err)
	require.ErrorContains(t, limiter.Update(ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "1/hour"}), "had 1 routes")
	var none ratelimiter.RateLimiter
	require.ErrorIs(t, none.Update(nil), ratelimiter.ErrNotInitialised)
}

func TestLimitsThatChangeUnderLoadAdmitWhatOneOfThemAllows(t *testing.T) {
	engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "100/day"})
	admitted := make(chan struct{}, 1000)
	engine.GET("/", func(*gin.Context) { admitted <- struct{}{} })
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for n := range 200 {
				get(engine, "/")
				if i == 0 {
					limit := map[bool]string{true: "100/day", false: "100/day; 1000/hour"}[n%2 == 0]
					if err := limiter.Update(ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": limit}); err != nil {
						panic(err)
					}
				}
			}
		})
	}
	all.Wait()
	require.Len(t, admitted, 100)
}
