package ratelimiter_test

import (
	"context"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/internal/redistest"
	"github.com/stretchr/testify/require"
)

// The clock of Redis is set wrong by hours, and right again.

// steppedRedis is an application on a Redis whose clock a test sets, as offsets from noon.
type steppedRedis struct {
	*gin.Engine
	limiter *ratelimiter.RateLimiter
	set     func(offset time.Duration)
}

func newSteppedRedis(t *testing.T) *steppedRedis {
	server, noon := miniredis.RunT(t), time.Date(2026, 2, 3, 12, 0, 0, 0, time.UTC)
	engine, limiter := application(t, ratelimiter.Config{
		"RATELIMITER_BACKEND":         "redis",
		"RATELIMITER_BACKEND_OPTIONS": map[string]any{"addr": server.Addr(), "local_denials": false},
		"RATELIMITER_TIMEOUT":         time.Minute,
	})
	s := &steppedRedis{engine, limiter, func(offset time.Duration) { server.SetTime(noon.Add(offset)) }}
	s.set(0)
	return s
}

func TestABanEndsOnTheClockOfRedisHoweverItIsSet(t *testing.T) {
	const step, almost = 5 * time.Hour, time.Hour - time.Second
	type moment struct {
		clock  time.Duration
		status int
	}
	for name, history := range map[string][]moment{
		"no step":                            {{almost, 429}, {almost + 2*time.Second, 200}},
		"back, and never right again":        {{-step, 429}, {0, 429}, {almost, 429}, {almost + 2*time.Second, 200}},
		"back, and right again":              {{-step, 429}, {10*time.Minute - step, 429}, {almost, 429}, {almost + 2*time.Second, 200}},
		"forward, as if the time had passed": {{step, 200}},
		"back, further and right again":      {{-step, 429}, {-3 * step, 429}, {almost, 429}, {almost + 2*time.Second, 200}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSteppedRedis(t)
			s.GET("/", s.limiter.RateLimit(2, time.Second, ratelimiter.WithBan(2, time.Hour, time.Hour)), ok)
			require.Equal(t, []int{200, 200, 429, 429}, statuses(s, "/", 4))
			for _, m := range history {
				s.set(m.clock)
				require.Equal(t, m.status, get(s, "/").Code, "at %v", m.clock)
			}
		})
	}
	t.Run("a ban on a clock that is ahead", func(t *testing.T) {
		s := newSteppedRedis(t)
		s.GET("/", s.limiter.RateLimit(2, time.Second, ratelimiter.WithBan(2, time.Hour, time.Hour)), ok)
		s.set(step)
		require.Equal(t, []int{200, 200, 429, 429}, statuses(s, "/", 4))
		s.set(0)
		require.Equal(t, 429, get(s, "/").Code)
		s.set(step + almost + 2*time.Second)
		require.Equal(t, 200, get(s, "/").Code)
	})
}

func TestAStepOfTheRedisClockHoldsNoRequestLongerThanItsWait(t *testing.T) {
	for step, want := range map[time.Duration]int{-5 * time.Hour: 429, 5 * time.Hour: 200} {
		s := newSteppedRedis(t)
		s.GET("/", s.limiter.RateLimit(1, 100*time.Millisecond, perSecond, ratelimiter.WithWait(time.Minute)), ok)
		require.Equal(t, 200, get(s, "/").Code)
		status := make(chan int)
		go func() { status <- get(s, "/").Code }()
		redistest.Eventually(t, "the request waits", func(context.Context) bool { return s.limiter.Stats().Waiting == 1 })
		s.set(step)
		require.Equal(t, want, <-status, "%v", step)
		require.Zero(t, s.limiter.Queues())
	}
}

func TestARedisClockThatWasBackForHoursLocksNobodyOut(t *testing.T) {
	for _, algorithm := range algorithms {
		s := newSteppedRedis(t)
		s.GET("/", s.limiter.RateLimit(2, time.Minute, ratelimiter.WithAlgorithm(algorithm), ratelimiter.WithScope(ratelimiter.ByHeader("X-User"))), ok)
		before, during := withHeader("X-User", "before"), withHeader("X-User", "during")
		require.Equal(t, []int{200, 200, 429}, statuses(s, "/", 3, before))
		s.set(-5 * time.Hour)
		require.Equal(t, []int{429, 429}, statuses(s, "/", 2, before), "no unit comes back")
		require.Equal(t, []int{200, 200, 429}, statuses(s, "/", 3, during))
		s.set(2 * time.Minute)
		require.Equal(t, []int{200, 200, 429}, statuses(s, "/", 3, before), "%v: as soon as the clock is right", algorithm)
		require.Equal(t, []int{200, 200, 429}, statuses(s, "/", 3, during), "%v", algorithm)
	}
}
