package backends_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// servers are the servers that every behaviour test runs on.
var servers = map[string]func(t *testing.T) (addr string){
	"miniredis": func(t *testing.T) string { return miniredis.RunT(t).Addr() },
	"redis":     func(t *testing.T) string { return redistest.Single(t).Addr },
}

func onEach(t *testing.T, test func(t *testing.T, addr string)) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) { test(t, start(t)) })
	}
}

func open(t *testing.T, options map[string]any) backends.Backend {
	t.Helper()
	backend, err := backends.NewRedis(options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, backend.Close()) })
	return backend
}

func at(addr string) map[string]any { return map[string]any{"addr": addr} }

// hourly returns a quota whose period is longer than any test.
func hourly(key string, limit int64) backends.Quota {
	return backends.Quota{Key: key, Scope: "somebody", Limit: limit, Per: time.Hour, Cost: 1}
}

// take charges quotas and returns the verdicts.
func take(t *testing.T, backend backends.Backend, quotas ...backends.Quota) []backends.Verdict {
	t.Helper()
	verdicts := make([]backends.Verdict, len(quotas))
	require.NoError(t, backend.Take(t.Context(), quotas, verdicts))
	return verdicts
}

// spend requests single units from many goroutines, each times per goroutine, and counts
// the granted ones.
func spend(t *testing.T, takers []backends.Backend, each int, quota backends.Quota) int64 {
	var granted atomic.Int64
	var group sync.WaitGroup
	for _, backend := range takers {
		for range 8 {
			group.Go(func() {
				for range each {
					verdicts := make([]backends.Verdict, 1)
					if err := backend.Take(t.Context(), []backends.Quota{quota}, verdicts); err != nil {
						t.Error(err)
						return
					}
					if verdicts[0].Allowed {
						granted.Add(1)
					}
				}
			})
		}
	}
	group.Wait()
	return granted.Load()
}

func TestProcessesShareALimitExactly(t *testing.T) {
	onEach(t, func(t *testing.T, addr string) {
		takers := []backends.Backend{open(t, at(addr)), open(t, at(addr)), open(t, at(addr))}
		require.EqualValues(t, 100, spend(t, takers, 20, hourly("shared", 100)))
	})
}

func TestADeniedTakeChangesNothing(t *testing.T) {
	onEach(t, func(t *testing.T, addr string) {
		backend, client := open(t, at(addr)), redis.NewClient(&redis.Options{Addr: addr})
		t.Cleanup(func() { _ = client.Close() })
		wide := hourly("wide", 10)
		require.True(t, take(t, backend, wide)[0].Allowed)
		require.True(t, take(t, backend, hourly("narrow", 1))[0].Allowed)
		snapshot := func() map[string]string {
			values := map[string]string{}
			for _, key := range client.Keys(t.Context(), "*").Val() {
				values[key] = client.Get(t.Context(), key).Val()
			}
			return values
		}
		before := snapshot()
		require.Len(t, before, 2)
		verdicts := take(t, backend, wide, hourly("narrow", 1), hourly("new", 1))
		require.Equal(t, []bool{true, false, true}, []bool{verdicts[0].Allowed, verdicts[1].Allowed, verdicts[2].Allowed})
		require.EqualValues(t, 9, verdicts[0].Remaining, "the units before")
		require.EqualValues(t, 1, verdicts[2].Remaining)
		require.Equal(t, before, snapshot())
	})
}

func TestPeriodsThatBeginWithTheSameDigitsHaveCountersOfTheirOwn(t *testing.T) {
	onEach(t, func(t *testing.T, addr string) {
		backend := open(t, at(addr))
		for _, per := range []time.Duration{1000 * time.Hour, 100 * time.Hour, 10000 * time.Hour / 2, 500 * time.Hour} {
			quota := hourly("k", 5)
			quota.Per = per
			for want := int64(4); want >= 3; want-- {
				require.Equal(t, want, take(t, backend, quota)[0].Remaining, per)
			}
		}
	})
}

func TestTheNodesOfAClusterAreFound(t *testing.T) {
	backend := open(t, map[string]any{"addr": miniredis.RunT(t).Addr(), "cluster": true})
	require.EqualValues(t, 1, take(t, backend, hourly("a", 2))[0].Remaining)
	require.True(t, take(t, backend, hourly("b", 1))[0].Allowed)
	verdicts := take(t, backend, hourly("a", 2), hourly("b", 1))
	require.Equal(t, []bool{true, false}, []bool{verdicts[0].Allowed, verdicts[1].Allowed})
	require.EqualValues(t, 0, take(t, backend, hourly("a", 2))[0].Remaining, "it was refunded")
}

func TestEveryKeyExpires(t *testing.T) {
	onEach(t, func(t *testing.T, addr string) {
		backend, client := open(t, at(addr)), redis.NewClient(&redis.Options{Addr: addr})
		t.Cleanup(func() { _ = client.Close() })
		for _, algorithm := range []backends.Algorithm{backends.SlidingWindow, backends.FixedWindow, backends.SlidingLog, backends.TokenBucket} {
			quota := hourly(algorithm.String(), 4)
			quota.Algorithm = algorithm
			reset := take(t, backend, quota)[0].ResetAfter
			left := client.PTTL(t.Context(), client.Keys(t.Context(), algorithm.String()+"*").Val()[0]).Val()
			require.InDelta(t, reset, left, float64(5*time.Second), algorithm.String())
			require.Positive(t, left)
		}
	})
}

func TestTheScriptIsSentAgainWhenTheServerHasLostIt(t *testing.T) {
	onEach(t, func(t *testing.T, addr string) {
		backend, client := open(t, at(addr)), redis.NewClient(&redis.Options{Addr: addr})
		t.Cleanup(func() { _ = client.Close() })
		require.True(t, take(t, backend, hourly("k", 2))[0].Allowed)
		require.NoError(t, client.ScriptFlush(t.Context()).Err())
		require.EqualValues(t, 0, take(t, backend, hourly("k", 2))[0].Remaining)
		require.False(t, take(t, backend, hourly("k", 2))[0].Allowed)
	})
}

// counting counts the commands that a client sends.
type counting struct{ commands atomic.Int64 }

func (c *counting) DialHook(next redis.DialHook) redis.DialHook { return next }
func (c *counting) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.commands.Add(1)
		return next(ctx, cmd)
	}
}
func (c *counting) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func TestADecisionIsOneRoundTripForAnyNumberOfLimits(t *testing.T) {
	onEach(t, func(t *testing.T, addr string) {
		client := redis.NewClient(&redis.Options{Addr: addr})
		t.Cleanup(func() { _ = client.Close() })
		backend := open(t, map[string]any{"client": client})
		take(t, backend, hourly("warm", 1), hourly("warmer", 1)) // from here on the server knows the script
		hook := &counting{}
		client.AddHook(hook)
		quotas := []backends.Quota{hourly("a", 9), hourly("b", 9), hourly("c", 9)}
		for range 5 {
			quota := hourly("a", 9)
			quota.Per += time.Duration(len(quotas)) * time.Hour
			quotas = append(quotas, quota)
		}
		take(t, backend, quotas...)
		require.EqualValues(t, 1, hook.commands.Load())
	})
}

func TestResetClearsAllLimitsOfAKeyAndScope(t *testing.T) {
	onEach(t, func(t *testing.T, addr string) {
		backend := open(t, at(addr))
		daily := hourly("k", 1)
		daily.Per = 24 * time.Hour
		require.True(t, take(t, backend, hourly("k", 1), daily)[0].Allowed)
		require.NoError(t, backend.Reset(t.Context(), "k", "nobody"))
		require.False(t, take(t, backend, daily)[0].Allowed)
		require.NoError(t, backend.Reset(t.Context(), "k", "somebody"))
		require.True(t, take(t, backend, hourly("k", 1), daily)[0].Allowed)
	})
}

func TestCloseClosesOnlyWhatTheBackendOpened(t *testing.T) {
	onEach(t, func(t *testing.T, addr string) {
		client := redis.NewClient(&redis.Options{Addr: addr})
		t.Cleanup(func() { _ = client.Close() })
		for _, options := range []map[string]any{at(addr), {"client": client}} {
			backend, err := backends.NewRedis(options)
			require.NoError(t, err)
			require.NoError(t, backend.Close())
			require.NoError(t, backend.Close())
			require.ErrorIs(t, backend.Take(t.Context(), nil, nil), backends.ErrClosed)
			require.ErrorIs(t, backend.Reset(t.Context(), "k", "s"), backends.ErrClosed)
		}
		require.NoError(t, client.Ping(t.Context()).Err())
	})
}

func TestPairsOfKeyAndScopeNeverCollide(t *testing.T) {
	onEach(t, func(t *testing.T, addr string) {
		backend := open(t, at(addr))
		for _, pair := range [][2]string{{"a", "b:1"}, {"a:b", "1"}, {"", "a:b:1"}, {"a:1:x", "y"}, {"a", "x:5:y"}, {"a:b:1", ""}, {"\x00\xff{", "}\r\n"}} {
			quota := hourly(pair[0], 1)
			quota.Scope = pair[1]
			require.True(t, take(t, backend, quota)[0].Allowed, "%q", pair)
			require.False(t, take(t, backend, quota)[0].Allowed, "%q", pair)
		}
	})
}

func TestAnEndedContextIsAnErrorWithoutACall(t *testing.T) {
	onEach(t, func(t *testing.T, addr string) {
		backend := open(t, at(addr))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		quotas := []backends.Quota{hourly("k", 1)}
		require.ErrorIs(t, backend.Take(ctx, quotas, make([]backends.Verdict, 1)), context.Canceled)
		require.ErrorIs(t, backend.Reset(ctx, "k", "somebody"), context.Canceled)
		require.True(t, take(t, backend, quotas...)[0].Allowed)
	})
}

func TestAStalledServerDelaysNoCallerPastTheDeadline(t *testing.T) {
	server := redistest.Single(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr}) // it ignores context deadlines
	t.Cleanup(func() { _ = client.Close() })
	for name, options := range map[string]map[string]any{"own client": at(server.Addr), "passed in": {"client": client}} {
		backend := open(t, options)
		take(t, backend, hourly(name, 9))
		server.Pause()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		start := time.Now()
		err := backend.Take(ctx, []backends.Quota{hourly(name, 9)}, make([]backends.Verdict, 1))
		require.ErrorIs(t, err, context.DeadlineExceeded, name)
		require.Less(t, time.Since(start), 2*time.Second, name)
		cancel()
		server.Continue()
	}
}

func TestADecisionWithALostAnswerIsNotMadeTwice(t *testing.T) {
	onEach(t, func(t *testing.T, addr string) {
		proxy := redistest.NewProxy(t, addr)
		client := redis.NewClient(&redis.Options{Addr: proxy.Addr, MaxRetries: 3})
		t.Cleanup(func() { _ = client.Close() })
		for name, options := range map[string]map[string]any{"own": at(proxy.Addr), "passed in": {"client": client}} {
			backend := open(t, options)
			require.EqualValues(t, 8, take(t, backend, hourly(name, 9))[0].Remaining)
			proxy.Cut(true)
			require.Error(t, backend.Take(t.Context(), []backends.Quota{hourly(name, 9)}, make([]backends.Verdict, 1)))
			proxy.Cut(false)
			require.EqualValues(t, 6, take(t, backend, hourly(name, 9))[0].Remaining, "the lost decision was charged once")
		}
	})
}

func TestARedisThatStartsLaterIsUsed(t *testing.T) {
	server := redistest.Single(t)
	server.Kill()
	backend := open(t, at(server.Addr))
	quotas := []backends.Quota{hourly("k", 1)}
	require.Error(t, backend.Take(t.Context(), quotas, make([]backends.Verdict, 1)))
	server.Start()
	require.True(t, take(t, backend, quotas...)[0].Allowed)
}

func TestAnInvalidQuotaNeverReachesTheServer(t *testing.T) {
	backend := open(t, at(miniredis.RunT(t).Addr()))
	for name, change := range map[string]func(*backends.Quota){
		"algorithm": func(q *backends.Quota) { q.Algorithm = 9 },
		"limit":     func(q *backends.Quota) { q.Limit = -1 },
		"period":    func(q *backends.Quota) { q.Per = time.Microsecond },
		"burst":     func(q *backends.Quota) { q.Burst = backends.MaxLimit + 1 },
		"cost":      func(q *backends.Quota) { q.Cost = -backends.MaxLimit - 1 },
	} {
		quota := hourly("k", 1)
		change(&quota)
		err := backend.Take(t.Context(), []backends.Quota{quota}, make([]backends.Verdict, 1))
		require.ErrorIs(t, err, backends.ErrInvalidQuota)
		require.ErrorContains(t, err, name)
	}
	require.ErrorIs(t, backend.Take(t.Context(), []backends.Quota{hourly("k", 1)}, nil), backends.ErrInvalidQuota)
	require.NoError(t, backend.Take(t.Context(), nil, nil))
}
