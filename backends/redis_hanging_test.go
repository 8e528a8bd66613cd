package backends

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"github.com/stretchr/testify/require"
)

// dialSlowly connects to nothing, and ignores its context.
func dialSlowly(context.Context, string, string) (net.Conn, error) {
	elapse(time.Hour)
	return nil, errors.New("it took an hour")
}

// A client of the application may ignore contexts. It still delays no request.
func TestAClientThatHangsDelaysNoCallerPastTheDeadline(t *testing.T) {
	quiet := &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	for name, open := range map[string]func() redis.UniversalClient{
		"a single server": func() redis.UniversalClient {
			return redis.NewClient(&redis.Options{Dialer: dialSlowly, DialerRetries: 1, MaxRetries: -1, MaintNotificationsConfig: quiet})
		},
		"a Cluster": func() redis.UniversalClient {
			return redis.NewClusterClient(&redis.ClusterOptions{
				Addrs: []string{"h:1"}, Dialer: dialSlowly, DialerRetries: 1, MaxRedirects: -1, MaintNotificationsConfig: quiet,
			})
		},
		"a Cluster with routing policies": func() redis.UniversalClient {
			return redis.NewClusterClient(&redis.ClusterOptions{
				Addrs: []string{"h:1"}, Dialer: dialSlowly, DialerRetries: 1, MaxRedirects: -1, MaintNotificationsConfig: quiet,
				ContextTimeoutEnabled: true,
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := open()
				began := time.Now()
				backend, err := NewRedis(map[string]any{"client": client})
				require.NoError(t, err)
				require.Equal(t, startTimeout, time.Since(began), "NewRedis waits this long")
				quota := Quota{Key: "k", Limit: 1, Per: time.Hour, Cost: 1}
				for what, call := range map[string]func(ctx context.Context) error{
					"Take":     func(ctx context.Context) error { return backend.Take(ctx, []Quota{quota}, make([]Verdict, 1)) },
					"Reset":    func(ctx context.Context) error { return backend.Reset(ctx, "k", "") },
					"ResetAll": func(ctx context.Context) error { return backend.(AllResetter).ResetAll(ctx, "k") },
				} {
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					began := time.Now()
					require.ErrorIs(t, call(ctx), context.DeadlineExceeded, what)
					require.Equal(t, patience, time.Since(began), what)
					cancel()
				}
				require.NoError(t, backend.Close())
				_ = client.Close() // it may still be connecting
				elapse(24 * time.Hour)
			})
		})
	}
}
