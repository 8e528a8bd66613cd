package backends_test

import (
	"strconv"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
)

func TestResetAllDeletesAnyNumberOfKeysAndNoOthers(t *testing.T) {
	server := miniredis.RunT(t)
	backend := open(t, at(server.Addr()))
	for n := range 2500 {
		require.NoError(t, server.Set("all/"+strconv.Itoa(n), "1"))
		require.NoError(t, server.Set("of others/"+strconv.Itoa(n), "1"))
	}
	require.NoError(t, backend.(backends.AllResetter).ResetAll(t.Context(), "all/"))
	require.Len(t, server.Keys(), 2500)
	require.False(t, server.Exists("all/0"))
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
