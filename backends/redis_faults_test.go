package backends_test

import (
	"bytes"
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// connectionCutter, once armed, cuts the next connection that receives the answer of a
// script. It leaves other connections alone, such as those between Sentinels.
type connectionCutter struct {
	armed atomic.Bool
	cuts  atomic.Int64
}

func (s *connectionCutter) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	connection, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	return &cuttable{Conn: connection, connectionCutter: s}, err
}

type cuttable struct {
	net.Conn
	*connectionCutter
	scriptSent atomic.Bool // the last command sent was a script
}

func (c *cuttable) Write(b []byte) (int, error) {
	c.scriptSent.Store(bytes.Contains(b, []byte("evalsha")))
	return c.Conn.Write(b)
}

// Read drops an answer that has arrived: the server has executed the command.
func (c *cuttable) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err == nil && c.scriptSent.Load() && c.armed.CompareAndSwap(true, false) {
		c.cuts.Add(1)
		_ = c.Close() // the connection is unusable now
		return 0, net.ErrClosed
	}
	return n, err
}

// notMadeTwice loses the answer of a decision and checks what was charged.
func notMadeTwice(t *testing.T, scissors *connectionCutter, backend backends.Backend) {
	t.Helper()
	quota := hourly("cut", 9)
	require.EqualValues(t, 8, take(t, backend, quota)[0].Remaining)
	cuts := scissors.cuts.Load()
	scissors.armed.Store(true)
	require.Error(t, backend.Take(t.Context(), []backends.Quota{quota}, make([]backends.Verdict, 1)))
	require.Equal(t, cuts+1, scissors.cuts.Load())
	require.EqualValues(t, 6, take(t, backend, quota)[0].Remaining, "the lost decision was charged once")
}

func TestAServerThatNeverAnswersDelaysNoCallerPastTheDeadline(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	start := time.Now()
	backend := open(t, at(listener.Addr().String()))
	require.Less(t, time.Since(start), 4*time.Second, "an application starts without Redis")

	start = time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err = backend.Take(ctx, []backends.Quota{hourly("k", 9)}, make([]backends.Verdict, 1))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Less(t, time.Since(start), 2*time.Second)
}

func TestACanceledRequestReturnsByItsDeadline(t *testing.T) {
	server := redistest.Single(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr})
	t.Cleanup(func() { _ = client.Close() })
	for name, options := range map[string]map[string]any{"own client": at(server.Addr), "passed in": {"client": client}} {
		backend := open(t, options)
		take(t, backend, hourly(name, 9))
		server.Pause()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		time.AfterFunc(10*time.Millisecond, cancel)
		start := time.Now()
		require.Error(t, backend.Take(ctx, []backends.Quota{hourly(name, 9)}, make([]backends.Verdict, 1)), name)
		require.Less(t, time.Since(start), 2*time.Second, name)
		cancel()
		server.Continue()
	}
}

func TestWrongCredentialsAreReportedOnAClusterAndBehindSentinel(t *testing.T) {
	node := redistest.Single(t, "--cluster-enabled", "yes", "--requirepass", "right")
	addrs, name, _ := redistest.Sentinel(t, "--requirepass", "right")
	for topology, options := range map[string]map[string]any{
		"a Cluster":              {"addr": node.Addr, "cluster": true, "password": "wr0ng"},
		"a Cluster, no password": {"addr": node.Addr, "cluster": true},
		"Sentinels":              {"addrs": addrs, "master_name": name, "sentinel_password": "wr0ng"},
		"Sentinels, no password": {"addrs": addrs, "master_name": name},
	} {
		t.Run(topology, func(t *testing.T) {
			backend, err := backends.NewRedis(options)
			if err == nil {
				require.NoError(t, backend.Close())
			}
			require.ErrorContains(t, err, "credentials")
			require.NotContains(t, err.Error(), "wr0ng")
		})
	}
}

func TestErrorsAfterTheStartContainNoPasswords(t *testing.T) {
	server := redistest.Single(t)
	backend := open(t, map[string]any{"url": "redis://default:s3cret@" + server.Addr}) // the default user accepts any password
	require.True(t, take(t, backend, hourly("k", 9))[0].Allowed)
	admin := server.Client()
	require.NoError(t, admin.ConfigSet(t.Context(), "requirepass", "another").Err())
	require.NoError(t, admin.ClientKillByFilter(t.Context(), "TYPE", "normal").Err())
	redistest.Eventually(t, "the backend is rejected", func(ctx context.Context) bool {
		err := backend.Take(ctx, []backends.Quota{hourly("k", 9)}, make([]backends.Verdict, 1))
		require.Error(t, err)
		require.NotContains(t, err.Error(), "s3cret")
		return redis.HasErrorPrefix(err, "WRONGPASS")
	})
}
