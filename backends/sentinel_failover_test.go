package backends_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// A master dies while many callers charge one limit. Replication is asynchronous, so the
// replica may not know the last units granted by the master. The limit may be admitted
// twice in total, but no more.
func TestDecisionsFailInTimeAndRecoverWhenAMasterDiesUnderLoad(t *testing.T) {
	const limit, timeout, slack = 30_000, 500 * time.Millisecond, 2 * time.Second
	addrs, name, master := redistest.Sentinel(t)
	sentinel := redis.NewSentinelClient(&redis.Options{Addr: addrs[0]})
	t.Cleanup(func() { _ = sentinel.Close() })
	handed := redis.NewFailoverClient(&redis.FailoverOptions{SentinelAddrs: addrs, MasterName: name}) // it ignores context deadlines
	t.Cleanup(func() { _ = handed.Close() })
	takers := []backends.Backend{
		open(t, map[string]any{"addrs": addrs, "master_name": name, "local_denials": false}),
		open(t, map[string]any{"client": handed, "local_denials": false}),
	}
	l := underLoad(t, takers, 4, timeout, hourly("hot", limit))
	l.goesOn(t, limit/3)
	master.Kill()
	killed, before := time.Now(), l.granted.Load()
	redistest.Eventually(t, "the Sentinels have promoted the replica", func(ctx context.Context) bool {
		addr, err := sentinel.GetMasterAddrByName(ctx, name).Result()
		return err == nil && net.JoinHostPort(addr[0], addr[1]) != master.Addr
	})
	promoted := time.Since(killed)
	recovery := l.recovered(t, time.Second, killed)
	redistest.Eventually(t, "the limit denies again", func(context.Context) bool { return l.denied.Load() > 100 })
	l.end()
	t.Logf("%s; %d units over the limit; time to recover %v, of which the Sentinels took %v",
		l.describe(), l.granted.Load()-limit, recovery.Round(time.Millisecond), promoted.Round(time.Millisecond))
	l.nobodyWaited(t, slack)
	require.Less(t, before, int64(limit), "the limit was not used up yet")
	require.Positive(t, l.failed.Load())
	require.LessOrEqual(t, l.granted.Load(), int64(2*limit))
	for _, backend := range takers {
		require.False(t, take(t, backend, hourly("hot", limit))[0].Allowed)
	}
}
