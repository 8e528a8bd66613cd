package backends

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// between runs a function before the n-th command of a client.
type between struct {
	n   int
	run func()
}

func (b *between) DialHook(next redis.DialHook) redis.DialHook { return next }
func (b *between) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
func (b *between) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if b.n--; b.n == 0 {
			b.run()
		}
		return next(ctx, cmd)
	}
}

// A peek on the limit of a charge may be denied by the time the charge is refunded. It must
// not prevent the refund.
func TestARefundDoesNotDependOnAPeekInTheSameTake(t *testing.T) {
	server := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { _ = client.Close() })
	other, err := NewRedis(map[string]any{"addr": server.Addr()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, other.Close()) })

	charge := Quota{Key: "first", Limit: 5, Per: time.Hour, Cost: 1}
	peek := Quota{Key: "first", Limit: 5, Per: 24 * time.Hour}
	forced := peek
	forced.Cost, forced.Forced = 9, true
	none := Quota{Key: "second", Limit: 0, Per: time.Hour, Cost: 1}

	require.NoError(t, takeScript.Load(t.Context(), client).Err())
	client.AddHook(&between{n: 2, run: func() {
		require.NoError(t, other.Take(t.Context(), []Quota{forced}, make([]Verdict, 1)))
	}})
	spread := &redisBackend{client: client, oneKeyPerCall: true}
	verdicts := make([]Verdict, 3)
	require.NoError(t, spread.Take(t.Context(), []Quota{charge, peek, none}, verdicts))
	require.False(t, verdicts[2].Allowed)
	require.EqualValues(t, 5, verdicts[0].Remaining)
	charge.Cost = 0
	require.NoError(t, other.Take(t.Context(), []Quota{charge}, verdicts))
	require.EqualValues(t, 5, verdicts[0].Remaining, "it was refunded")
}

// spreadQuota draws a limit on one of four keys and scopes, or a ban on one of them.
func spreadQuota(t *rapid.T) Quota {
	q := Quota{
		Key: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "key"), Scope: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "scope"),
		Algorithm: Algorithm(rapid.IntRange(0, int(algorithmCount)-1).Draw(t, "algorithm")),
		Limit:     rapid.Int64Range(0, 6).Draw(t, "limit"),
		Per:       rapid.SampledFrom([]time.Duration{time.Second, time.Minute}).Draw(t, "per"),
		Cost:      rapid.Int64Range(0, 3).Draw(t, "cost"),
		Shadow:    rapid.IntRange(0, 4).Draw(t, "shadow") == 0,
	}
	if rapid.IntRange(0, 3).Draw(t, "banning") == 0 {
		return Quota{Key: "a", Scope: "x", Limit: 2, Per: time.Minute, Ban: time.Second, Cost: min(1, q.Cost)}
	}
	return q
}

func TestATakeOnSeveralNodesHasTheVerdictsOfATakeInMemory(t *testing.T) {
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC).UnixMicro()
	rapid.Check(t, func(rt *rapid.T) {
		cluster := NewFakeCluster(t, func() time.Time { return time.UnixMicro(now) })
		memory := NewMemoryOnClock(func() int64 { return now })
		for range rapid.IntRange(1, 20).Draw(rt, "takes") {
			now += rapid.Int64Range(0, 2_000_000).Draw(rt, "step")
			quotas := rapid.SliceOfN(rapid.Custom(spreadQuota), 1, 6).Draw(rt, "quotas")
			ours, theirs := make([]Verdict, len(quotas)), make([]Verdict, len(quotas))
			require.NoError(rt, memory.Take(t.Context(), quotas, ours))
			require.NoError(rt, cluster.Take(t.Context(), quotas, theirs))
			require.Equal(rt, describe(quotas, ours), describe(quotas, theirs))
		}
	})
}

// hourlyOn returns hourly limits of two units on some keys, and a last one of none.
func hourlyOn(keys ...string) (quotas []Quota) {
	for _, key := range keys {
		quotas = append(quotas, Quota{Key: key, Limit: 2, Per: time.Hour, Cost: 1})
	}
	return append(quotas, Quota{Key: "none", Limit: 0, Per: time.Hour, Cost: 1})
}

// remaining returns the units of a key that the server has left.
func (p *fakeRedis) remaining(t *testing.T, key string) int64 {
	return p.truth(t, Quota{Key: key, Limit: 2, Per: time.Hour})[0].Remaining
}

func TestTheChargesOnOtherNodesAreRefundedWhenANodeFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newFakeRedis()
		backend := p.cluster(t)
		p.lost = "lost"
		peek := Quota{Key: "peek", Limit: 2, Per: time.Hour}
		err := backend.Take(t.Context(), append([]Quota{peek}, hourlyOn("first", "second", "lost", "third")...), make([]Verdict, 6))
		require.ErrorIs(t, err, errLost)
		for _, key := range []string{"first", "second", "third"} {
			require.EqualValues(t, 2, p.remaining(t, key), key)
		}

		before := p.trips.Load()
		require.ErrorIs(t, backend.Take(t.Context(), append([]Quota{peek}, hourlyOn("lost")...), make([]Verdict, 3)), errLost)
		require.EqualValues(t, 2, p.trips.Load()-before, "a peek needs no refund")

		require.NoError(t, backend.Take(t.Context(), hourlyOn("first")[:1], make([]Verdict, 1)))
		quotas, verdicts := append(hourlyOn("first"), hourlyOn("lost")...), make([]Verdict, 4)
		require.ErrorIs(t, backend.Take(t.Context(), quotas, verdicts), errLost, "after the limit of none has denied")
		require.EqualValues(t, 1, p.remaining(t, "first"), "it is refunded only once")
	})
}

func TestARefundThatFailsIsReportedAndTheOthersAreMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newFakeRedis()
		backend := p.cluster(t)
		quotas, trips := hourlyOn("first", "lost", "third"), int64(0)
		p.now = func() time.Time { // the node fails between the denial and the refund
			if trips++; trips == 4 {
				p.lost = "lost"
			}
			return time.Now()
		}
		require.ErrorIs(t, backend.Take(t.Context(), quotas, make([]Verdict, 4)), errLost)
		p.now = time.Now
		require.EqualValues(t, 1, p.remaining(t, "lost"))
		require.EqualValues(t, 2, p.remaining(t, "first"))
		require.EqualValues(t, 2, p.remaining(t, "third"))
	})
}

func TestARefundContinuesAfterTheDeadlineOfItsRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newFakeRedis()
		backend := p.cluster(t)
		p.latencyThere = 40 * time.Millisecond
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond) // in the middle of the refund
		defer cancel()
		start := time.Now()
		err := backend.Take(ctx, hourlyOn("first"), make([]Verdict, 2))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "has not refunded the charges yet")
		require.Equal(t, 100*time.Millisecond, time.Since(start))
		elapse(time.Second)
		require.EqualValues(t, 2, p.remaining(t, "first"))
	})
}
