package backends

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// deniable draws quotas of a few limits that are soon used up.
func deniable(t *rapid.T) *rapid.Generator[Quota] {
	limits := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Quota {
		return Quota{
			Key:       rapid.SampledFrom([]string{"a", "b"}).Draw(t, "key"),
			Algorithm: Algorithm(rapid.IntRange(0, int(algorithmCount)-1).Draw(t, "algorithm")),
			Per:       rapid.SampledFrom([]time.Duration{100 * time.Millisecond, 3 * time.Second, time.Minute}).Draw(t, "per"),
			Shadow:    rapid.IntRange(0, 5).Draw(t, "shadow") == 0,
		}
	}), 1, 3).Draw(t, "limits")
	return rapid.Custom(func(t *rapid.T) Quota {
		q := rapid.SampledFrom(limits).Draw(t, "of")
		q.Limit = rapid.SampledFrom([]int64{3, 3, 3, 3, 4, 1, 0, 300}).Draw(t, "limit")
		q.Cost = rapid.SampledFrom([]int64{1, 1, 1, 1, 2, 3, 5, 0, -1, 290}).Draw(t, "cost")
		q.Forced = rapid.IntRange(0, 15).Draw(t, "forced") == 0
		return q
	})
}

// step makes random changes before the next decision.
func (p *fakeRedis) step(t *rapid.T, mine, others *redisBackend, quota *rapid.Generator[Quota]) {
	if rapid.IntRange(0, 3).Draw(t, "wait until free") == 0 { // until something is free again
		elapse(p.truth(t, quota.Draw(t, "of"))[0].RetryAfter)
	}
	elapse(time.Duration(rapid.OneOf(
		rapid.Just(int64(0)), rapid.Int64Range(0, 3), rapid.Int64Range(0, 50_000), rapid.Int64Range(0, 3_000_000), rapid.Int64Range(0, 12_000_000),
	).Draw(t, "µs")) * time.Microsecond)
	switch rapid.IntRange(0, 19).Draw(t, "event") {
	case 0:
		require.NoError(t, mine.Reset(context.Background(), "a", ""))
	case 1, 2:
		if others == nil {
			return
		}
		q := quota.Draw(t, "others")
		q.Cost = max(q.Cost, -q.Cost) // refunds by other processes are not visible
		p.takeCounted(t, others, q)
	}
}

// A denial without a round trip is one that Redis would also make at that moment, and its
// RetryAfter is never too short, whatever the skew of the clock and the latency.
func TestACachedDenialMatchesRedisAndItsRetryAfterIsNeverTooShort(t *testing.T) {
	for name, alone := range map[string]bool{"one process": true, "two processes": false} {
		t.Run(name, func(t *testing.T) {
			local := 0
			synctest.Test(t, func(t *testing.T) {
				checkInBubble(t, func(rt *rapid.T) {
					p := newFakeRedis()
					skew := time.Duration(rapid.Int64Range(-3_600_000_000, 3_600_000_000).Draw(rt, "skew")) * time.Microsecond
					p.now = func() time.Time { return time.Now().Add(skew) }
					p.latencyThere = time.Duration(rapid.SampledFrom([]int64{0, 0, 700, 30_000}).Draw(rt, "there")) * time.Microsecond
					p.latencyBack = time.Duration(rapid.SampledFrom([]int64{0, 0, 300, 50_000}).Draw(rt, "back")) * time.Microsecond
					mine, others := p.backend(t), (*redisBackend)(nil)
					if !alone {
						others = p.backend(t)
					}
					quota := deniable(rt)
					for range rapid.IntRange(1, 60).Draw(rt, "decisions") {
						p.step(rt, mine, others, quota)
						quotas := rapid.SliceOfN(quota, 1, 2).Draw(rt, "quotas")
						truth := p.truth(rt, quotas...)
						trips, verdicts := p.takeCounted(rt, mine, quotas...)
						if trips == 0 {
							local++
							p.compare(rt, alone, quotas, verdicts, truth)
						}
					}
				})
			})
			t.Logf("%d denied from the cache", local)
			require.Positive(t, local)
		})
	}
}

func (p *fakeRedis) compare(t *rapid.T, alone bool, quotas []Quota, verdicts, truth []Verdict) {
	require.True(t, anyDenied(quotas, truth), "Redis would deny, too")
	require.True(t, anyDenied(quotas, verdicts))
	late := p.latencyThere + p.latencyBack + time.Microsecond // uncertainty about the server's clock
	for i := range quotas {
		said, is := verdicts[i], truth[i]
		switch {
		case !alone: // another process may have charged in between
		case is.RetryAfter < 0:
			require.Equal(t, is.RetryAfter, said.RetryAfter)
		default:
			require.GreaterOrEqual(t, said.RetryAfter, is.RetryAfter)
			require.LessOrEqual(t, said.RetryAfter, is.RetryAfter+late)
			require.LessOrEqual(t, said.Remaining, is.Remaining)
		}
	}
}

// attackers returns clients that call without a pause.
func attackers(backend Backend, clients, callers int, algorithm Algorithm, pause time.Duration, until time.Time) (granted, denied int64) {
	var allowed, rejected atomic.Int64
	var group sync.WaitGroup
	for client := range clients {
		quota := Quota{Key: "k", Scope: fmt.Sprint(client), Algorithm: algorithm, Limit: 10, Per: time.Second, Cost: 1}
		for range callers {
			group.Go(func() {
				verdicts := make([]Verdict, 1)
				for time.Now().Before(until) {
					elapse(pause)
					switch err := backend.Take(context.Background(), []Quota{quota}, verdicts); {
					case err != nil:
					case verdicts[0].Allowed:
						allowed.Add(1)
					default:
						rejected.Add(1)
					}
				}
			})
		}
	}
	group.Wait()
	return allowed.Load(), rejected.Load()
}

// When a few clients are denied nearly all the time, Redis gets only about one call per
// regained unit.
func TestUnderAttackRedisIsCalledAboutOncePerRegainedUnit(t *testing.T) {
	onFakeRedis(t, func(t *testing.T, p *fakeRedis, backend *redisBackend, algorithm Algorithm) {
		p.latencyThere, p.latencyBack = 100*time.Microsecond, 100*time.Microsecond
		granted, denied := attackers(backend, 4, 4, algorithm, time.Millisecond, time.Now().Add(3*time.Second))
		trips := p.trips.Load()
		t.Logf("%d granted, %d denied, %d trips: %.2f%% saved", granted, denied, trips, 100-100*float64(trips)/float64(granted+denied))
		require.Less(t, trips, 4*granted)
		require.Greater(t, granted, int64(4*10*2), "clients get their limit")
	})
}

// tripCounter counts the round trips of decisions to a server.
type tripCounter struct{ sent atomic.Int64 }

func (c *tripCounter) DialHook(next redis.DialHook) redis.DialHook { return next }
func (c *tripCounter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.count(cmd)
		return next(ctx, cmd)
	}
}
func (c *tripCounter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.count(cmds[0])
		return next(ctx, cmds)
	}
}

// count ignores the commands of a new connection.
func (c *tripCounter) count(cmd redis.Cmder) {
	if strings.HasPrefix(cmd.Name(), "eval") {
		c.sent.Add(1)
	}
}

func TestUnderAttackARealRedisGetsHardlyAnyCalls(t *testing.T) {
	client, hook := redis.NewClient(&redis.Options{Addr: redistest.Single(t).Addr, ContextTimeoutEnabled: true}), &tripCounter{}
	t.Cleanup(func() { _ = client.Close() })
	client.AddHook(hook)
	backend, err := NewRedis(map[string]any{"client": client})
	require.NoError(t, err)
	granted, denied := attackers(backend, 4, 4, SlidingWindow, 0, time.Now().Add(1500*time.Millisecond))
	sent := hook.sent.Load()
	t.Logf("%d granted, %d denied, %d trips: %.3f%% saved", granted, denied, sent, 100-100*float64(sent)/float64(granted+denied))
	require.Less(t, sent, (granted+denied)/10)
}
