package redistest

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func TestAProxyPassesDelaysCutsAndLosesAnswers(t *testing.T) {
	server := Single(t)
	proxy := NewProxy(t, server.Addr)
	client := redis.NewClient(&redis.Options{Addr: proxy.Addr, MaxRetries: -1, ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = client.Close() })
	require.NoError(t, client.Set(t.Context(), "k", "v", 0).Err())

	proxy.Delay(50 * time.Millisecond)
	start := time.Now()
	require.NoError(t, client.Get(t.Context(), "k").Err())
	require.GreaterOrEqual(t, time.Since(start), 50*time.Millisecond)
	proxy.Delay(0)

	proxy.Cut(true)
	require.Error(t, client.Incr(t.Context(), "n").Err())
	proxy.Cut(false)
	value, err := client.Get(t.Context(), "n").Int()
	require.NoError(t, err)
	require.Equal(t, 1, value, "the server executed the command; only the answer was cut")

	proxy.Lose(1)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, client.Ping(ctx).Err(), os.ErrDeadlineExceeded)
	proxy.Lose(0)
	require.NoError(t, client.Ping(t.Context()).Err(), "on a new connection")
}
