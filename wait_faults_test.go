package ratelimiter_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// distant is a backend with latency, or one that fails.
type distant struct {
	backends.Backend
	away    time.Duration
	broken  atomic.Bool
	asked   atomic.Int64
	charges atomic.Int64
}

func newDistant(t *testing.T, away time.Duration) *distant {
	memory, err := backends.NewMemory(nil)
	require.NoError(t, err)
	return &distant{Backend: memory, away: away}
}

func (d *distant) Take(ctx context.Context, quotas []backends.Quota, verdicts []backends.Verdict) error {
	d.asked.Add(1)
	if d.broken.Load() {
		return errors.New("out of order")
	}
	err := d.Backend.Take(context.WithoutCancel(ctx), quotas, verdicts)
	if err == nil && verdicts[0].Allowed && quotas[0].Cost > 0 {
		d.charges.Add(1)
	}
	pass(d.away)
	return err
}

func TestCloseReleasesWaitingRequests(t *testing.T) {
	for name, backend := range map[string]func() backends.Backend{
		"own backend": func() backends.Backend { return nil },
		"passed in":   func() backends.Backend { return newDistant(t, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				observer := &notebook{}
				config := ratelimiter.Config{"RATELIMITER_OBSERVER": observer}
				if backend := backend(); backend != nil {
					config["RATELIMITER_BACKEND"] = backend
				}
				engine, limiter := application(t, config)
				engine.GET("/", limiter.RateLimit(1, time.Minute, ratelimiter.WithWait(time.Hour)), ok)
				crowd := newCrowd()
				for range 4 {
					crowd.send(engine, "/")
				}
				pass(time.Second)
				require.NoError(t, limiter.Close())
				require.Equal(t, []string{"200 at 0s", "503 at 1s", "503 at 1s", "503 at 1s"}, crowd.result())
				require.Equal(t, []string{"per-minute allowed"}, observer.read())
				require.Zero(t, limiter.Queues())
			})
		})
	}
}

func TestOnErrorAppliesToWaitingRequests(t *testing.T) {
	for policy, want := range map[string][]string{
		"deny":     {"200 at 0s", "503 at 1s", "503 at 1s"},
		"allow":    {"200 at 0s", "200 at 1s", "200 at 1s"},
		"fallback": {"200 at 0s", "200 at 1s", "200 at 2s"}, // the fallback memory is empty
	} {
		t.Run(policy, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				backend, observer := newDistant(t, 0), &notebook{}
				engine, limiter := application(t, ratelimiter.Config{
					"RATELIMITER_BACKEND": backend, "RATELIMITER_ON_ERROR": policy, "RATELIMITER_OBSERVER": observer,
				})
				engine.GET("/", limiter.RateLimit(1, time.Second, perSecond, ratelimiter.WithWait(time.Hour)), ok)
				crowd := newCrowd()
				for range 3 {
					crowd.send(engine, "/")
				}
				backend.broken.Store(true)
				require.Equal(t, want, crowd.result())
				outcome := "per-second backend_error"
				if policy == "fallback" {
					outcome = "per-second allowed"
				}
				require.Equal(t, []string{"per-second allowed", outcome, outcome}, observer.read())
				require.Zero(t, limiter.Queues())
			})
		})
	}
}

func TestTheTimeoutBoundsEachCallAndNotTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		observer := &notebook{}
		engine, limiter := application(t, ratelimiter.Config{
			"RATELIMITER_BACKEND": newDistant(t, 50*time.Millisecond), "RATELIMITER_ON_ERROR": "deny", "RATELIMITER_OBSERVER": observer,
		})
		engine.GET("/", limiter.RateLimit(1, time.Second, ratelimiter.WithLimit(9, time.Hour), perSecond, ratelimiter.WithWait(time.Minute)), func(c *gin.Context) {
			info, known := ratelimiter.FromContext(c)
			require.True(t, known)
			require.False(t, info.Exceeded)
		})
		get(engine, "/")
		observer.read()
		response := get(engine, "/")
		require.Equal(t, 200, response.Code)
		require.Equal(t, "0", header(response, "X-RateLimit-Remaining"))
		require.Empty(t, header(response, "Retry-After"))
		require.Len(t, observer.events, 2, "from both limits, once")
		for _, event := range observer.events {
			require.Equal(t, ratelimiter.Allowed, event.Outcome)
			require.Equal(t, 100*time.Millisecond, event.BackendLatency, "two calls")
			require.Equal(t, 950*time.Millisecond, event.QueueTime)
		}
	})
}

func TestTwoProcessesShareTheLimitButNotTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := newDistant(t, 0)
		var engines []*gin.Engine
		var limiters []*ratelimiter.RateLimiter
		for range 2 {
			engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_BACKEND": backend})
			engine.GET("/", limiter.RateLimit(1, time.Second, perSecond, ratelimiter.WithWait(9*time.Second)), ok)
			engines, limiters = append(engines, engine), append(limiters, limiter)
		}
		crowds := []*crowd{newCrowd(), newCrowd()}
		for range 9 {
			for i := range engines {
				crowds[i].send(engines[i], "/")
			}
		}
		passed, rejected, late := map[time.Duration]int{}, 0, 0
		for i := range engines {
			crowds[i].all.Wait()
			for _, v := range crowds[i].sent {
				if v.response.Code == 200 {
					passed[v.at]++
				} else {
					rejected++
				}
				if v.response.Code == 429 && v.at == 9*time.Second {
					late++
				}
			}
			require.Zero(t, limiters[i].Queues())
		}
		require.Equal(t, 8, rejected)
		require.Equal(t, 1, late, "the others were rejected at once")
		for i := range 10 {
			require.Equal(t, 1, passed[time.Duration(i)*time.Second], "at second %d", i)
		}
	})
}

// A queue moves as fast as its limit allows, whatever the latency of the backend.
func TestBackendLatencyDoesNotSlowDownTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := newDistant(t, 50*time.Millisecond)
		engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_BACKEND": backend})
		engine.GET("/", limiter.RateLimit(100, 10*time.Second, ratelimiter.WithAlgorithm(ratelimiter.FixedWindow), ratelimiter.WithWait(time.Minute)), ok)
		crowd := newCrowd()
		for range 100 {
			crowd.send(engine, "/")
		}
		pass(time.Second)
		for range 100 {
			crowd.send(engine, "/")
		}
		crowd.all.Wait()
		require.Less(t, time.Since(crowd.began), 10*time.Second+200*time.Millisecond)
		require.EqualValues(t, 200, backend.charges.Load())
	})
}

func TestWithWaitCombinesWithOtherOptions(t *testing.T) {
	wait := ratelimiter.WithWait(time.Minute)
	for name, test := range map[string]struct {
		middlewares func(limiter *ratelimiter.RateLimiter) []gin.HandlerFunc
		charge      int
		want        []string
		remaining   map[string]int64
	}{
		"a request that does not count is refunded after waiting": {
			func(limiter *ratelimiter.RateLimiter) []gin.HandlerFunc {
				second := ratelimiter.WithCountIf(func(c *gin.Context) bool { return c.GetHeader("Cost") != "2" })
				return []gin.HandlerFunc{limiter.RateLimit(2, 10*time.Second, perSecond, byHeader, second, wait)}
			}, -1, []string{"200 at 0s", "200 at 0s", "200 at 5s", "200 at 5s"}, map[string]int64{"per-10s": 0},
		},
		"SetCost corrects the charge after waiting": {
			func(limiter *ratelimiter.RateLimiter) []gin.HandlerFunc {
				return []gin.HandlerFunc{limiter.RateLimit(2, 10*time.Second, ratelimiter.WithAlgorithm(ratelimiter.SlidingLog), ratelimiter.WithCost(2), wait)}
			}, 1, []string{"200 at 0s", "200 at 10s", "200 at 20s", "200 at 30s"}, map[string]int64{"per-10s": 1},
		},
		"an additional shadow causes no wait and counts each request once": {
			func(limiter *ratelimiter.RateLimiter) []gin.HandlerFunc {
				return []gin.HandlerFunc{limiter.RateLimit(1, 10*time.Second, perSecond, wait,
					ratelimiter.WithLimit(9, time.Hour, ratelimiter.WithShadow()), ratelimiter.WithLimit(0, time.Minute, ratelimiter.WithShadow()))}
			}, -1, []string{"200 at 0s", "200 at 10s", "200 at 20s", "200 at 30s"}, map[string]int64{"per-10s": 0, "shadow-per-hour": 5, "shadow-per-minute": 0},
		},
		"two middlewares with the same counter have separate queues": {
			func(limiter *ratelimiter.RateLimiter) []gin.HandlerFunc {
				one := func() gin.HandlerFunc { return limiter.RateLimit(1, 10*time.Second, perSecond, wait) }
				return []gin.HandlerFunc{one(), one()}
			}, -1, []string{"200 at 0s", "200 at 10s", "200 at 20s", "200 at 30s"}, map[string]int64{"per-10s": 0, "per-10s-2": 0},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				engine, limiter := application(t, nil)
				var mu sync.Mutex
				remaining := map[string]int64{}
				engine.GET("/", append(test.middlewares(limiter), func(c *gin.Context) {
					if test.charge >= 0 {
						require.NoError(t, ratelimiter.SetCost(c, test.charge))
					}
					infos, err := limiter.Peek(c)
					require.NoError(t, err)
					mu.Lock()
					defer mu.Unlock()
					for _, info := range infos {
						remaining[info.Name] = info.Remaining
					}
				})...)
				crowd := newCrowd()
				for _, cost := range []int{2, 1, 2, 2} {
					crowd.send(engine, "/", ofCost(cost))
				}
				require.Equal(t, test.want, crowd.result())
				require.Equal(t, test.remaining, remaining)
			})
		})
	}
}

func TestARequestRejectedByALaterLimitAfterWaitingIsRefunded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, nil)
		group := engine.Group("/", limiter.RateLimit(10, time.Hour, ratelimiter.WithKey(ratelimiter.Shared("outer"))))
		group.GET("/", limiter.RateLimit(1, 10*time.Second, perSecond, ratelimiter.WithWait(15*time.Second)), ok)
		crowd := newCrowd()
		crowd.send(engine, "/")
		crowd.send(engine, "/").leave()
		synctest.Wait()
		crowd.send(engine, "/")
		crowd.send(engine, "/")
		require.Equal(t, []string{"200 at 0s", "499 at 0s", "200 at 10s", "429 at 0s"}, crowd.result())
		used, err := limiter.Status(t.Context(), "outer", "192.0.2.1")
		require.NoError(t, err)
		require.EqualValues(t, 8, used[0].Remaining)
	})
}

func TestWithWaitCausesNoAllocationIfNoWaitIsNeeded(t *testing.T) {
	measure := func(options ...ratelimiter.Option) float64 {
		w := &nowhere{http.Header{}}
		c, engine := gin.CreateTestContext(w)
		limiter, err := ratelimiter.New(engine, nil)
		require.NoError(t, err)
		engine.GET("/users/:id", limiter.RateLimit(1<<40, time.Minute, append(options, ratelimiter.WithLimit(1<<40, time.Hour))...), func(*gin.Context) {})
		c.Request = httptest.NewRequest(http.MethodGet, "/users/7", nil)
		return testing.AllocsPerRun(1000, func() {
			clear(w.header)
			engine.HandleContext(c)
		})
	}
	require.Equal(t, measure(), measure(ratelimiter.WithWait(time.Second)))
}

func TestTheQueueUsesTheClockOfRedis(t *testing.T) {
	server := miniredis.RunT(t)
	engine, limiter := application(t, ratelimiter.Config{
		"RATELIMITER_BACKEND": "redis", "RATELIMITER_BACKEND_OPTIONS": map[string]any{"addr": server.Addr()}, "RATELIMITER_TIMEOUT": "1m",
	})
	engine.GET("/", limiter.RateLimit(1, 20*time.Millisecond, perSecond, ratelimiter.WithWait(time.Minute)), ok)
	began := time.Now()
	var all sync.WaitGroup
	var passed atomic.Int64
	for range 6 {
		all.Go(func() {
			if get(engine, "/").Code == 200 {
				passed.Add(1)
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 6, passed.Load())
	require.GreaterOrEqual(t, time.Since(began), 100*time.Millisecond)
	require.Zero(t, limiter.Queues())
}

// givingBack counts the units that Redis is asked to refund, as a negative number.
type givingBack struct{ units atomic.Int64 }

func (g *givingBack) DialHook(next redis.DialHook) redis.DialHook { return next }
func (g *givingBack) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
func (g *givingBack) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, command redis.Cmder) error {
		for _, word := range command.Args() {
			if units, ok := word.(int64); ok && units < 0 {
				g.units.Add(units)
			}
		}
		return next(ctx, command)
	}
}

// If keys are on several nodes, the charge on the first is refunded when another denies
// the request. Other requests may be rejected in the meantime.
func TestARejectedRequestIsNotChargedEvenBriefly(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	t.Cleanup(func() { _ = client.Close() })
	var givingBack givingBack
	client.AddHook(&givingBack)
	engine, limiter := application(t, ratelimiter.Config{
		"RATELIMITER_BACKEND": "redis", "RATELIMITER_TIMEOUT": "1m",
		"RATELIMITER_BACKEND_OPTIONS": map[string]any{"client": struct{ redis.UniversalClient }{client}},
	})
	engine.GET("/", limiter.RateLimit(100, time.Hour, ratelimiter.WithWait(time.Hour), ratelimiter.WithAlgorithm(ratelimiter.TokenBucket),
		ratelimiter.WithLimit(1, 40*time.Minute, ratelimiter.WithKey(ratelimiter.Shared("all")))), ok)
	require.Equal(t, 200, get(engine, "/").Code)
	var all sync.WaitGroup
	all.Go(func() { get(engine, "/") })
	redistest.Eventually(t, "one waits", func(context.Context) bool { return limiter.Stats().Waiting == 1 })
	before := givingBack.units.Load()
	require.Equal(t, 429, get(engine, "/").Code)
	require.Equal(t, before, givingBack.units.Load())
	require.NoError(t, limiter.Close())
	all.Wait()
}
