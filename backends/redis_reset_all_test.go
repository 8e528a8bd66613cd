package backends_test

import (
	"strconv"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func TestResetAllDeletesAnyNumberOfKeysAndNoOthers(t *testing.T) {
	onEach(t, func(t *testing.T, addr string) {
		client := redis.NewClient(&redis.Options{Addr: addr})
		t.Cleanup(func() { _ = client.Close() })
		pipeline := client.Pipeline()
		for n := range 2500 {
			pipeline.Set(t.Context(), "all/"+strconv.Itoa(n), "1", 0)
			pipeline.Set(t.Context(), "of others/"+strconv.Itoa(n), "1", 0)
		}
		_, err := pipeline.Exec(t.Context())
		require.NoError(t, err)
		require.NoError(t, open(t, at(addr)).(backends.AllResetter).ResetAll(t.Context(), "all/"))
		left := client.Keys(t.Context(), "*").Val()
		require.Len(t, left, 2500)
		for _, key := range left {
			require.Contains(t, key, "of others/")
		}
	})
}

func TestResetAllEndsCachedDenialsAndLeases(t *testing.T) {
	server := miniredis.RunT(t)
	backend := open(t, leasing(server.Addr(), 10))
	for range 2 {
		take(t, backend, hourly("leased", 100))
		for range 3 {
			require.True(t, take(t, backend, hourly("denied", 1))[0].Allowed)
			require.False(t, take(t, backend, hourly("denied", 1))[0].Allowed)
			before, _ := backends.CachedDenials(backend)
			require.False(t, take(t, backend, hourly("denied", 1))[0].Allowed)
			after, _ := backends.CachedDenials(backend)
			require.Equal(t, before+1, after, "denials are cached again")
			require.NoError(t, backend.(backends.AllResetter).ResetAll(t.Context(), "d"))
		}
		require.NoError(t, backend.(backends.AllResetter).ResetAll(t.Context(), "leased"))
		require.EqualValues(t, 99, take(t, backend, hourly("leased", 100))[0].Remaining, "the lease is gone")
		require.NoError(t, backend.(backends.AllResetter).ResetAll(t.Context(), "leased"))
	}
}

func TestResetAllReportsAServerThatFails(t *testing.T) {
	server := miniredis.RunT(t)
	backend := open(t, at(server.Addr()))
	server.SetError("READONLY You can't write against a read only replica.")
	require.ErrorContains(t, backend.(backends.AllResetter).ResetAll(t.Context(), "all/"), "READONLY")
}
