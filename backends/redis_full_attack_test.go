package backends_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// Scopes that clients make up fill the memory of Redis.

// fullRedis is a Redis with room for a few thousand counters.
type fullRedis struct {
	backends.Backend
	admin     *redis.Client
	algorithm backends.Algorithm
}

func newFullRedis(t *testing.T, policy string, algorithm backends.Algorithm) *fullRedis {
	server := redistest.Single(t, "--maxmemory-policy", policy)
	f := &fullRedis{open(t, map[string]any{"addr": server.Addr, "local_denials": false}), server.Client(), algorithm}
	require.True(t, f.take(t, "client", 1), "the connection and the script are there")
	used, err := strconv.Atoi(f.info(t, "memory", "used_memory"))
	require.NoError(t, err)
	f.limitMemory(t, used+1<<20)
	return f
}

func (f *fullRedis) info(t *testing.T, section, field string) string {
	fields, err := f.admin.InfoMap(t.Context(), section).Result()
	require.NoError(t, err)
	for _, values := range fields {
		if value, ok := values[field]; ok {
			return value
		}
	}
	t.Fatalf("INFO %s has no %s", section, field)
	return ""
}

func (f *fullRedis) limitMemory(t *testing.T, bytes int) {
	require.NoError(t, f.admin.ConfigSet(t.Context(), "maxmemory", strconv.Itoa(bytes)).Err())
}

func (f *fullRedis) try(scope string, cost int64) (allowed bool, err error) {
	quota := backends.Quota{Key: "login", Scope: scope, Algorithm: f.algorithm, Limit: 10, Per: 24 * time.Hour, Cost: cost}
	var v [1]backends.Verdict
	err = f.Take(context.Background(), []backends.Quota{quota}, v[:])
	return v[0].Allowed, err
}

func (f *fullRedis) take(t *testing.T, scope string, cost int64) (allowed bool) {
	allowed, err := f.try(scope, cost)
	require.NoError(t, err)
	return allowed
}

func TestAFloodThatFillsARedisWithoutEvictionFreesNoClient(t *testing.T) {
	for _, algorithm := range everyAlgorithm {
		t.Run(algorithm.String(), func(t *testing.T) {
			f := newFullRedis(t, "noeviction", algorithm)
			require.True(t, f.take(t, "client", 9))
			full := error(nil)
			for i := 0; i < 50_000 && full == nil; i++ {
				_, full = f.try(fmt.Sprint("made up ", i), 1)
			}
			require.ErrorContains(t, full, "OOM command not allowed when used memory > 'maxmemory'")
			for i := range 500 {
				require.False(t, f.take(t, "client", 1), "a denial needs no memory")
				_, _ = f.try(fmt.Sprint("another ", i), 1)
			}
			f.limitMemory(t, 0)
			require.False(t, f.take(t, "client", 1))
			require.True(t, f.take(t, "newcomer", 1), "and nothing is left of the shortage")
			require.Equal(t, "0", f.info(t, "stats", "evicted_keys"))
		})
	}
}

// Redis forgets a client that it evicts. A client that keeps filling the memory is evicted
// more than once. The keys of a sliding log expire in the order in which they were written;
// fixed windows end all at once, so it would be chance which one volatile-ttl evicts.
func TestAFloodFreesAClientAgainAndAgainWhereRedisEvicts(t *testing.T) {
	for _, policy := range []string{"volatile-ttl", "allkeys-lru"} {
		t.Run(policy, func(t *testing.T) {
			f := newFullRedis(t, policy, backends.SlidingLog)
			allowed, sent := 1, 0
			for ; sent < 200_000 && allowed <= 2*10; sent++ {
				f.take(t, fmt.Sprint("made up ", sent), 10)
				// Between its attempts the others fill the memory more than once, so no key was
				// used less recently than that of the client.
				for sent%10_000 == 0 && f.take(t, "client", 1) {
					allowed++
				}
			}
			require.Greater(t, allowed, 2*10, "more than one limit in addition")
			require.Greater(t, sent, 1000, "only when the memory is full")
		})
	}
}
