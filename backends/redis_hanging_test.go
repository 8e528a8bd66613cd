package backends

import (
	"bufio"
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"github.com/stretchr/testify/require"
)

// dialHanging connects to a node of a Cluster that says which slots it has, and answers
// nothing else.
func dialHanging(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	go func() {
		for words := bufio.NewScanner(far); words.Scan(); {
			switch words.Text() {
			case "hello":
				_, _ = far.Write([]byte("-ERR unknown command\r\n"))
			case "slots":
				_, _ = far.Write([]byte("*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$1\r\nh\r\n:1\r\n"))
			}
		}
	}()
	return near, nil
}

// A client of the application may ignore contexts. It still delays no request.
func TestAClientThatHangsDelaysNoCallerPastTheDeadline(t *testing.T) {
	quiet := &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	for name, open := range map[string]func() redis.UniversalClient{
		"a single server": func() redis.UniversalClient {
			return redis.NewClient(&redis.Options{Dialer: dialHanging, DialerRetries: 1, MaxRetries: -1, ReadTimeout: time.Hour, MaintNotificationsConfig: quiet})
		},
		"a Cluster without routing policies": func() redis.UniversalClient {
			return redis.NewClusterClient(&redis.ClusterOptions{
				Addrs: []string{"h:1"}, Dialer: dialHanging, DialerRetries: 1, MaxRedirects: -1, ReadTimeout: time.Hour, MaintNotificationsConfig: quiet,
				DisableRoutingPolicies: true,
			})
		},
		"a Cluster": func() redis.UniversalClient {
			return redis.NewClusterClient(&redis.ClusterOptions{
				Addrs: []string{"h:1"}, Dialer: dialHanging, DialerRetries: 1, MaxRedirects: -1, ReadTimeout: time.Hour, MaintNotificationsConfig: quiet,
			})
		},
		"a Cluster with routing policies": func() redis.UniversalClient {
			return redis.NewClusterClient(&redis.ClusterOptions{
				Addrs: []string{"h:1"}, Dialer: dialHanging, DialerRetries: 1, MaxRedirects: -1, ReadTimeout: time.Hour, MaintNotificationsConfig: quiet,
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
				synctest.Wait()
			})
		})
	}
}
