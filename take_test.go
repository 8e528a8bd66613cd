package ratelimiter_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
)

func TestTakeUsesTheCounterOfTheRateLimitWithItsKeyScopeAndPeriod(t *testing.T) {
	everyBackend(t, func(t *testing.T, config ratelimiter.Config) {
		for _, algorithm := range algorithms {
			config["RATELIMITER_ALGORITHM"] = algorithm
			config["RATELIMITER_KEY_PREFIX"] = algorithm.String()
			engine, limiter := application(t, config)
			engine.GET("/users/:id", limiter.RateLimit(5, time.Hour), limiter.RateLimit(50, time.Hour), ok)
			engine.GET("/mail", limiter.RateLimit(5, time.Hour, ratelimiter.WithKey(ratelimiter.Shared("mail"))), ok)
			take := func(key, scope string) ratelimiter.Info {
				t.Helper()
				info, err := limiter.Take(t.Context(), ratelimiter.Limit{Limit: 5, Per: time.Hour}, key, scope, 1)
				require.NoError(t, err)
				return info
			}
			for path, key := range map[string]string{"/users/7": "GET /users/:id", "/mail": "mail"} {
				require.Equal(t, 200, get(engine, path).Code)
				require.EqualValues(t, 3, take(key, "192.0.2.1").Remaining, "the request was charged one unit")
				require.EqualValues(t, 2, take(key, "192.0.2.1").Remaining)
				require.Equal(t, []int{200, 200, 429}, statuses(engine, path, 3))
				info := take(key, "192.0.2.1")
				require.True(t, info.Exceeded)
				require.Positive(t, info.RetryAfter)
				require.Equal(t, []any{"per-hour", key, "192.0.2.1", int64(5), time.Hour}, []any{info.Name, info.Key, info.Scope, info.Limit, info.Per})
				require.EqualValues(t, 4, take(key, "192.0.2.2").Remaining, "another scope has its own counter")
				require.NoError(t, limiter.Reset(t.Context(), key, "192.0.2.1"))
				require.EqualValues(t, 4, take(key, "192.0.2.1").Remaining)
			}
		}
	})
}

func TestTakeAcceptsTheSameKeysAndScopesAsReset(t *testing.T) {
	engine, limiter := application(t, nil)
	long := string(make([]byte, 300))
	engine.GET("/:key", limiter.RateLimit(5, time.Hour, ratelimiter.WithKey(ratelimiter.ByParam("key")), ratelimiter.WithScope(func(*gin.Context) string { return long })), ok)
	require.Equal(t, 200, get(engine, "/a").Code)
	for i, scope := range []string{long, ratelimiter.Join(long)} {
		info, err := limiter.Take(t.Context(), ratelimiter.Limit{Limit: 5, Per: time.Hour}, "a", scope, 1)
		require.NoError(t, err)
		require.EqualValues(t, 3-i, info.Remaining)
		require.Equal(t, ratelimiter.Join(long), info.Scope)
	}
}

func TestTakeReturnsTheExactTimeToWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, limiter := application(t, ratelimiter.Config{"RATELIMITER_ALGORITHM": "token-bucket"})
		take := func() ratelimiter.Info {
			info, err := limiter.Take(t.Context(), ratelimiter.Limit{Limit: 2, Per: time.Minute}, "mail", "ann", 1)
			require.NoError(t, err)
			return info
		}
		require.False(t, take().Exceeded)
		require.False(t, take().Exceeded)
		info := take()
		require.True(t, info.Exceeded)
		require.Equal(t, 30*time.Second, info.RetryAfter)
		require.True(t, info.Reset.Equal(time.Now().Add(time.Minute)))
		pass(info.RetryAfter - time.Microsecond)
		require.True(t, take().Exceeded)
		pass(time.Microsecond)
		require.False(t, take().Exceeded)
	})
}

func TestTakePeeksRefundsAndIgnoresUnlimited(t *testing.T) {
	everyBackend(t, func(t *testing.T, config ratelimiter.Config) {
		_, limiter := application(t, config)
		take := func(limit int64, cost int) ratelimiter.Info {
			t.Helper()
			info, err := limiter.Take(t.Context(), ratelimiter.Limit{Limit: limit, Per: time.Hour}, "jobs", "ann", cost)
			require.NoError(t, err)
			return info
		}
		require.EqualValues(t, 3, take(10, 7).Remaining)
		for range 2 {
			info := take(10, 0)
			require.EqualValues(t, 3, info.Remaining, "a cost of 0 charges nothing")
			require.False(t, info.Exceeded)
		}
		require.True(t, take(10, 4).Exceeded, "all units or none")
		require.EqualValues(t, 0, take(10, 3).Remaining)
		info := take(10, 0)
		require.True(t, info.Exceeded, "nothing remains")
		require.Zero(t, info.RetryAfter)
		require.EqualValues(t, 2, take(10, -2).Remaining)
		require.EqualValues(t, 10, take(10, -100).Remaining, "never more than the limit")
		require.Negative(t, take(10, 11).RetryAfter, "waiting does not help")
		info = take(ratelimiter.Unlimited, 1000)
		require.Equal(t, []any{int64(-1), int64(-1), false}, []any{info.Limit, info.Remaining, info.Exceeded})
		require.EqualValues(t, 10, take(10, 0).Remaining)
	})
}

func TestARefundWakesAWaitingRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, nil)
		engine.GET("/", limiter.RateLimit(1, time.Hour, ratelimiter.WithWait(time.Hour), ratelimiter.WithAlgorithm(ratelimiter.SlidingWindow)), ok)
		hour := ratelimiter.Limit{Limit: 1, Per: time.Hour}
		_, err := limiter.Take(t.Context(), hour, "GET /", "192.0.2.1", 1)
		require.NoError(t, err)
		began := time.Now()
		answered := make(chan int)
		go func() { answered <- get(engine, "/").Code }()
		synctest.Wait()
		pass(time.Second)
		_, err = limiter.Take(t.Context(), hour, "GET /", "192.0.2.1", -1)
		require.NoError(t, err)
		require.Equal(t, 200, <-answered)
		require.Equal(t, time.Second, time.Since(began))
	})
}

func TestTakeRejectsInvalidArguments(t *testing.T) {
	_, limiter := application(t, nil)
	for says, test := range map[string]struct {
		limit      ratelimiter.Limit
		key, scope string
		cost       int64
	}{
		"the limit is over the maximum of 10000000000000":                              {ratelimiter.Limit{Limit: backends.MaxLimit + 1, Per: time.Hour}, "a", "b", 1},
		"the period must be positive":                                                  {ratelimiter.Limit{Limit: 1}, "a", "b", 1},
		"use 200*time.Second if you meant seconds":                                     {ratelimiter.Limit{Limit: 1, Per: 200}, "a", "b", 1},
		"the period is longer than":                                                    {ratelimiter.Limit{Limit: 1, Per: backends.MaxPer + 1}, "a", "b", 1},
		`the key "" and the scope "b" must not be empty`:                               {ratelimiter.Limit{Limit: 1, Per: time.Hour}, "", "b", 1},
		`the key "a" and the scope "" must not be empty`:                               {ratelimiter.Limit{Limit: 1, Per: time.Hour}, "a", "", 1},
		"the cost 10000000000001 is out of range":                                      {ratelimiter.Limit{Limit: 1, Per: time.Hour}, "a", "b", backends.MaxLimit + 1},
		"the cost -10000000000001 is out of range; it must be from -10000000000000 to": {ratelimiter.Limit{Limit: 1, Per: time.Hour}, "a", "b", -backends.MaxLimit - 1},
	} {
		_, err := limiter.Take(t.Context(), test.limit, test.key, test.scope, int(test.cost))
		require.ErrorContains(t, err, says)
	}
}

func TestTakeDependsOnTheStateOfTheLimiter(t *testing.T) {
	one := ratelimiter.Limit{Limit: 1, Per: time.Hour}
	var none ratelimiter.RateLimiter
	_, err := none.Take(t.Context(), one, "a", "b", 1)
	require.ErrorIs(t, err, ratelimiter.ErrNotInitialised)

	_, disabled := application(t, ratelimiter.Config{"RATELIMITER_ENABLED": false})
	for range 3 {
		info, err := disabled.Take(t.Context(), one, "a", "b", 1)
		require.NoError(t, err)
		require.False(t, info.Exceeded)
	}

	for _, policy := range []string{"fallback", "allow", "deny"} {
		_, closed := application(t, ratelimiter.Config{"RATELIMITER_BACKEND": newTexts(), "RATELIMITER_ON_ERROR": policy})
		require.NoError(t, closed.Close())
		for cost := -1; cost <= 1; cost++ {
			_, err = closed.Take(t.Context(), one, "a", "b", cost)
			require.ErrorIs(t, err, backends.ErrClosed)
		}
	}
}

func TestOnErrorAppliesToTakeToo(t *testing.T) {
	outOfOrder := errors.New("out of order")
	two := ratelimiter.Limit{Limit: 2, Per: time.Hour}
	for policy, want := range map[string]string{
		"fallback": "[false <nil>] [false <nil>] [true <nil>]",
		"allow":    "[false <nil>] [false <nil>] [false <nil>]",
		"deny":     "[false E] [false E] [false E]",
	} {
		_, limiter := application(t, ratelimiter.Config{"RATELIMITER_BACKEND": broken{outOfOrder}, "RATELIMITER_ON_ERROR": policy})
		said := ""
		for range 3 {
			info, err := limiter.Take(t.Context(), two, "a", "b", 1)
			if err != nil {
				require.ErrorIs(t, err, outOfOrder)
				require.ErrorContains(t, err, "could not decide on a")
				err = errors.New("E")
			}
			said += fmt.Sprintf("[%v %v] ", info.Exceeded, err)
		}
		require.Equal(t, want+" ", said, policy)
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := limiter.Take(cancelled, two, "a", "b", 1)
		require.ErrorIs(t, err, context.Canceled, policy)
	}
}

func TestTakeTakesNoLongerThanTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, limiter := application(t, ratelimiter.Config{"RATELIMITER_BACKEND": broken{}, "RATELIMITER_TIMEOUT": "70ms", "RATELIMITER_ON_ERROR": "deny"})
		for cost := -1; cost <= 1; cost++ {
			start := time.Now()
			_, err := limiter.Take(t.Context(), ratelimiter.Limit{Limit: 1, Per: time.Hour}, "a", "b", cost)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Equal(t, 70*time.Millisecond, time.Since(start))
		}
	})
}

func TestObserversReceiveTheChargesOfTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no minute ends
		observer := &notebook{}
		_, limiter := application(t, ratelimiter.Config{"RATELIMITER_OBSERVER": observer})
		for _, cost := range []int{2, 2, 0, -1} {
			_, err := limiter.Take(t.Context(), ratelimiter.Limit{Limit: 3, Per: time.Minute}, "mail", "ann", cost)
			require.NoError(t, err)
		}
		first := observer.events[0]
		require.Equal(t, []any{"", "mail", "ann", int64(2)}, []any{first.Route, first.Key, first.Scope, first.Cost})
		require.Equal(t, []string{"per-minute allowed", "per-minute rejected"}, observer.read())

		_, failing := application(t, ratelimiter.Config{"RATELIMITER_OBSERVER": observer, "RATELIMITER_BACKEND": broken{errors.New("out of order")}, "RATELIMITER_ON_ERROR": "deny"})
		_, err := failing.Take(t.Context(), ratelimiter.Limit{Limit: 3, Per: time.Minute}, "mail", "ann", 1)
		require.Error(t, err)
		require.Equal(t, []string{"per-minute backend_error"}, observer.read())
	})
}

func TestAKeyWithASpaceIsNotARoute(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.GET("/:key", limiter.RateLimit(5, time.Hour, ratelimiter.WithKey(ratelimiter.ByParam("key"))), ok)
	require.Equal(t, 200, get(engine, "/two%20words").Code)
	info, err := limiter.Take(t.Context(), ratelimiter.Limit{Limit: 5, Per: time.Hour}, "two words", "192.0.2.1", 1)
	require.NoError(t, err)
	require.EqualValues(t, 3, info.Remaining)
}

func TestTakeOfALimitOfZeroIsNeverAllowed(t *testing.T) {
	_, limiter := application(t, nil)
	info, err := limiter.Take(t.Context(), ratelimiter.Limit{Limit: 0, Per: time.Hour}, "key", "scope", 1)
	require.NoError(t, err)
	require.True(t, info.Exceeded)
	require.Negative(t, info.RetryAfter)
}
