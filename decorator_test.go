package ratelimiter_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
)

func TestRateLimitWorksOnARouteAGroupAndTheEngine(t *testing.T) {
	t.Run("on a group each route has its own counter", func(t *testing.T) {
		engine, limiter := application(t, nil)
		group := engine.Group("/api", limiter.RateLimit(1, time.Hour))
		group.GET("/a", ok)
		group.GET("/b/:id", ok)
		engine.GET("/free", ok)
		require.Equal(t, []int{200, 429}, statuses(engine, "/api/a", 2))
		require.Equal(t, 200, get(engine, "/api/b/1").Code)
		require.Equal(t, 429, get(engine, "/api/b/2").Code, "the route is the key, not the path")
		require.Equal(t, []int{200, 200}, statuses(engine, "/free", 2))
	})
	t.Run("on the engine it applies to unmatched requests too", func(t *testing.T) {
		engine, limiter := application(t, nil)
		engine.Use(limiter.RateLimit(1, time.Hour))
		engine.GET("/", ok)
		require.Equal(t, []int{200, 429}, statuses(engine, "/", 2))
		require.Equal(t, 404, get(engine, "/nowhere").Code)
		require.Equal(t, 429, get(engine, "/elsewhere").Code, "all unmatched requests share one key")
	})
}

func TestALimitOfZeroRejectsEverythingAndANegativeLimitNothing(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.GET("/none", limiter.RateLimit(0, time.Minute), ok)
	engine.GET("/all", limiter.RateLimit(ratelimiter.Unlimited, time.Minute), func(c *gin.Context) {
		_, found := ratelimiter.FromContext(c)
		require.False(t, found)
	})
	response := get(engine, "/none")
	require.Equal(t, 429, response.Code)
	require.Empty(t, response.Header().Values("Retry-After"), "waiting does not help")
	require.Contains(t, response.Body.String(), "No requests are allowed here at present.")
	require.Equal(t, []int{200, 200, 200}, statuses(engine, "/all", 3))
	require.Empty(t, header(get(engine, "/all"), "X-RateLimit-Limit"))
}

func TestKeysAndScopesAreFunctionsOfTheRequest(t *testing.T) {
	engine, limiter := application(t, nil)
	shared := ratelimiter.WithKey(func(*gin.Context) string { return "uploads" })
	byUser := ratelimiter.WithScope(func(c *gin.Context) string { return c.GetHeader("X-User") })
	engine.GET("/a", limiter.RateLimit(2, time.Hour, shared, byUser), ok)
	engine.GET("/b", limiter.RateLimit(2, time.Hour, shared, byUser), ok)
	ann, bob := withHeader("X-User", "ann"), withHeader("X-User", "bob")
	require.Equal(t, 200, get(engine, "/a", ann).Code)
	require.Equal(t, 200, get(engine, "/b", ann).Code)
	require.Equal(t, 429, get(engine, "/a", ann).Code)
	require.Equal(t, 200, get(engine, "/a", bob).Code)
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/a", 3), "an empty scope is the client address")
	require.Equal(t, []int{200}, statuses(engine, "/a", 1, from("192.0.2.77:1")))
}

func TestAnEmptyKeyMeansTheRoute(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.GET("/", limiter.RateLimit(1, time.Hour, ratelimiter.WithKey(func(*gin.Context) string { return "" })), func(c *gin.Context) {
		info, _ := ratelimiter.FromContext(c)
		c.String(http.StatusOK, info.Key)
	})
	require.Equal(t, "GET /", get(engine, "/").Body.String())
}

func TestWithOverLimitAnswersARequestOverTheLimit(t *testing.T) {
	t.Run("a handler replaces the problem document", func(t *testing.T) {
		engine, limiter := application(t, nil)
		reached := 0
		engine.GET("/", limiter.RateLimit(1, time.Hour, ratelimiter.WithOverLimit(func(c *gin.Context) {
			info, found := ratelimiter.FromContext(c)
			require.True(t, found)
			require.True(t, info.Exceeded)
			_, _ = c.Writer.WriteString("slow down")
		})), func(*gin.Context) { reached++ })
		get(engine, "/")
		response := get(engine, "/")
		require.Equal(t, 429, response.Code, "unless the handler sets another status")
		require.Equal(t, "slow down", response.Body.String())
		require.NotEmpty(t, header(response, "Retry-After"))
		require.Equal(t, 1, reached)
	})
	t.Run("its status is used", func(t *testing.T) {
		engine, limiter := application(t, nil)
		engine.GET("/", limiter.RateLimit(0, time.Hour, ratelimiter.WithOverLimit(func(c *gin.Context) {
			c.Redirect(http.StatusFound, "/login")
		})), ok)
		require.Equal(t, 302, get(engine, "/").Code)
	})
	t.Run("nil records without rejecting", func(t *testing.T) {
		engine, limiter := application(t, nil)
		var exceeded []bool
		engine.GET("/", limiter.RateLimit(1, time.Hour, ratelimiter.WithOverLimit(nil)), func(c *gin.Context) {
			info, found := ratelimiter.FromContext(c)
			require.True(t, found)
			exceeded = append(exceeded, info.Exceeded)
		})
		require.Equal(t, []int{200, 200, 200}, statuses(engine, "/", 3))
		require.Equal(t, []bool{false, true, true}, exceeded)
	})
}

func TestAHandlerReadsTheDecision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, nil)
		var info ratelimiter.Info
		engine.GET("/users/:id", limiter.RateLimit(5, time.Hour, ratelimiter.WithName("reads"), ratelimiter.WithAlgorithm(ratelimiter.FixedWindow)), func(c *gin.Context) {
			info, _ = ratelimiter.FromContext(c)
		})
		pass(10 * time.Minute) // the virtual clock starts at a full hour
		start := time.Now()
		get(engine, "/users/7")
		require.Equal(t, ratelimiter.Info{
			Name: "reads", Key: "GET /users/:id", Scope: "192.0.2.1",
			Limit: 5, Remaining: 4, Per: time.Hour, Reset: info.Reset,
		}, info)
		require.True(t, info.Reset.Equal(start.Add(50*time.Minute)), "%v", info.Reset)
	})
}

// A client that waits as long as Retry-After says must be allowed with every algorithm,
// and X-RateLimit-Reset must be when the full limit is available.
func TestRetryAfterAndResetAreExact(t *testing.T) {
	for _, algorithm := range []ratelimiter.Algorithm{
		ratelimiter.SlidingWindow, ratelimiter.FixedWindow, ratelimiter.SlidingLog, ratelimiter.TokenBucket,
	} {
		t.Run(algorithm.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				engine, limiter := application(t, nil)
				engine.GET("/", limiter.RateLimit(7, 100*time.Second, ratelimiter.WithAlgorithm(algorithm)), ok)
				pass(33*time.Second + 123456*time.Microsecond)
				for range 20 {
					response := get(engine, "/")
					for response.Code == 200 {
						response = get(engine, "/")
					}
					wait, err := strconv.Atoi(header(response, "Retry-After"))
					require.NoError(t, err)
					pass(time.Duration(wait-1) * time.Second)
					require.Equal(t, 429, get(engine, "/").Code, "rejected a second before that")
					pass(time.Second)
					require.Equal(t, 200, get(engine, "/").Code)
				}
				reset, err := strconv.ParseInt(header(get(engine, "/"), "X-RateLimit-Reset"), 10, 64)
				require.NoError(t, err)
				pass(time.Until(time.Unix(reset, 0)))
				require.Equal(t, "6", header(get(engine, "/"), "X-RateLimit-Remaining"))
			})
		})
	}
}

func TestLimitsOnARouteAreChargedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, nil)
		engine.GET("/", limiter.RateLimit(2, time.Second, ratelimiter.WithLimit(3, time.Hour)), ok)
		pass(10 * time.Second)
		response := get(engine, "/")
		require.Equal(t, `"per-second";q=2;w=1, "per-hour";q=3;w=3600`, header(response, "RateLimit-Policy"))
		require.Equal(t, "2", header(response, "X-RateLimit-Limit"), "the limit that is closest to rejecting")
		require.Equal(t, []int{200, 429, 429}, statuses(engine, "/", 3))
		pass(2 * time.Second)
		response = get(engine, "/")
		require.Equal(t, 200, response.Code, "a request that one limit rejected is not charged to the other")
		require.Equal(t, "3", header(response, "X-RateLimit-Limit"))
		require.Equal(t, "0", header(response, "X-RateLimit-Remaining"))
		require.Equal(t, `"per-second";r=1;t=1, "per-hour";r=0;t=5988`, header(response, "RateLimit"))
		require.Equal(t, 429, get(engine, "/").Code)
	})
}

func TestHeadersOfSeveralMiddlewaresShowTheStrictestAndListAll(t *testing.T) {
	for _, order := range []string{"strict first", "strict last"} {
		t.Run(order, func(t *testing.T) {
			engine, limiter := application(t, nil)
			strict := limiter.RateLimit(2, time.Hour, ratelimiter.WithName("strict"))
			lax := limiter.RateLimit(9, time.Minute, ratelimiter.WithName("lax"))
			first, second := strict, lax
			if order == "strict last" {
				first, second = lax, strict
			}
			var info ratelimiter.Info
			engine.Group("/", first).GET("/", second, func(c *gin.Context) { info, _ = ratelimiter.FromContext(c) })
			response := get(engine, "/")
			require.Equal(t, "2", header(response, "X-RateLimit-Limit"))
			require.Equal(t, "1", header(response, "X-RateLimit-Remaining"))
			require.Contains(t, header(response, "RateLimit-Policy"), `"strict";q=2;w=3600`)
			require.Contains(t, header(response, "RateLimit-Policy"), `"lax";q=9;w=60`)
			require.Equal(t, "strict", info.Name)
		})
	}
}

func TestInvalidArgumentsPanicAtRegistration(t *testing.T) {
	var limiter ratelimiter.RateLimiter
	var noLimit func(*gin.Context) int
	var noLimitOfKey func(c *gin.Context, key, scope string) int
	for name, test := range map[string]struct {
		register func()
		says     string
	}{
		"seconds as a bare number": {func() { limiter.RateLimit(300, 200) }, "200*time.Second"},
		"no period":                {func() { limiter.RateLimit(1, 0) }, "time.Minute"},
		"a negative period":        {func() { limiter.RateLimit(1, -time.Second) }, "must be positive"},
		"too long a period":        {func() { limiter.RateLimit(1, 367*24*time.Hour) }, "366 days"},
		"too high a limit":         {func() { limiter.RateLimit(1<<60, time.Second) }, "ratelimiter.Unlimited"},
		"a limit as text":          {func() { limiter.RateLimit("5", time.Second) }, "is of type string; pass an int"},
		"a limit as float":         {func() { limiter.RateLimit(5.0, time.Second) }, "is of type float64; pass an int"},
		"no limit":                 {func() { limiter.RateLimit(nil, time.Second) }, "pass an int"},
		"a nil function":           {func() { limiter.RateLimit(noLimit, time.Second) }, "nil function"},
		"another nil function":     {func() { limiter.RateLimit(noLimitOfKey, time.Second) }, "nil function"},
		"a nil option":             {func() { limiter.RateLimit(1, time.Second, nil) }, "nil Option"},
		"a nil key":                {func() { limiter.RateLimit(1, time.Second, ratelimiter.WithKey(nil)) }, "WithKey"},
		"a nil scope":              {func() { limiter.RateLimit(1, time.Second, ratelimiter.WithScope(nil)) }, "WithScope"},
		"an unknown algorithm":     {func() { limiter.RateLimit(1, time.Second, ratelimiter.WithAlgorithm(9)) }, "sliding-log"},
		"a name with quotes":       {func() { limiter.RateLimit(1, time.Second, ratelimiter.WithName(`"`)) }, "WithName"},
		"a negative burst":         {func() { limiter.RateLimit(1, time.Second, ratelimiter.WithBurst(-1)) }, "WithBurst"},
		"a burst without a bucket": {func() {
			limiter.RateLimit(1, time.Second, ratelimiter.WithBurst(2), ratelimiter.WithAlgorithm(ratelimiter.FixedWindow))
		}, "WithAlgorithm(ratelimiter.TokenBucket)"},
		"one period twice": {func() { limiter.RateLimit(1, time.Second, ratelimiter.WithLimit(2, time.Second)) }, "already"},
		"a short second":   {func() { limiter.RateLimit(1, time.Second, ratelimiter.WithLimit(2, 60)) }, "60*time.Second"},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				said := fmt.Sprint(recover())
				require.Contains(t, said, "ratelimiter: ")
				require.Contains(t, said, test.says)
			}()
			test.register()
		})
	}
}

// broken is a backend that always fails.
type broken struct{ err error }

func (b broken) Take(ctx context.Context, _ []backends.Quota, _ []backends.Verdict) error {
	if b.err != nil {
		return b.err
	}
	<-ctx.Done()
	return ctx.Err()
}
func (broken) Reset(context.Context, string, string) error { return nil }
func (broken) Close() error                                { return nil }

func TestOnErrorDecidesWhenTheBackendFails(t *testing.T) {
	for policy, want := range map[string][]int{
		"fallback": {200, 429},
		"allow":    {200, 200},
		"deny":     {503, 503},
	} {
		t.Run(policy, func(t *testing.T) {
			engine, limiter := application(t, ratelimiter.Config{
				"RATELIMITER_BACKEND": broken{errors.New("out of order")}, "RATELIMITER_ON_ERROR": policy,
			})
			engine.GET("/", limiter.RateLimit(1, time.Hour), ok)
			require.Equal(t, want, statuses(engine, "/", 2))
			if policy == "deny" {
				response := get(engine, "/")
				require.Equal(t, "1", header(response, "Retry-After"))
				require.Equal(t, "application/problem+json", header(response, "Content-Type"))
				require.NotContains(t, response.Body.String(), "out of order", "the reason is not in the response")
			}
		})
	}
}

func TestADecisionTakesNoLongerThanTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_BACKEND": broken{}, "RATELIMITER_TIMEOUT": "70ms"})
		engine.GET("/", limiter.RateLimit(1, time.Hour), ok)
		start := time.Now()
		require.Equal(t, 200, get(engine, "/").Code)
		require.Equal(t, 70*time.Millisecond, time.Since(start))
	})
}

func TestACancelledRequestIsNotAllowed(t *testing.T) {
	engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_BACKEND": broken{}, "RATELIMITER_ON_ERROR": "allow"})
	engine.GET("/", limiter.RateLimit(1, time.Hour), ok)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	require.Equal(t, 499, get(engine, "/", func(r *http.Request) { *r = *r.WithContext(cancelled) }).Code)
}

// pass advances the virtual clock of synctest.
func pass(d time.Duration) { <-time.After(d) }
