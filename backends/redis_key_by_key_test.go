package backends

import (
	"context"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
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
