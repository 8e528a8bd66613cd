// Package redistest starts real Redis servers on free loopback ports for tests,
// and stops them when the test ends.
package redistest

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// Requirement names the environment variable that turns the absence of
// redis-server into a failure when it says "required".
const Requirement = "RATELIMITER_TEST_REDIS"

// logVariable names a file to which each start appends a line.
const logVariable = "RATELIMITER_TEST_REDIS_LOG"

// patience is how long a server may take to come up or to take a role.
const patience = 30 * time.Second

// Server is one redis-server process.
type Server struct {
	Addr string
	Port int

	t       testing.TB
	args    []string
	command *exec.Cmd
	ping    redis.Options
}

// Need skips the test where there is no redis-server, or fails it if one is
// required.
func Need(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv(Requirement) == "required" {
			t.Fatalf("%s is required, but redis-server is not on the PATH", Requirement)
		}
		t.Skip("redis-server is not on the PATH")
	}
}

// Single starts one server with further arguments, such as "--requirepass", "x".
func Single(t testing.TB, args ...string) *Server {
	t.Helper()
	Need(t)
	s := &Server{t: t, Port: freePort(t)}
	s.Addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port))
	s.args = append([]string{
		"--port", strconv.Itoa(s.Port), "--bind", "127.0.0.1", "--dir", t.TempDir(),
		"--save", "", "--appendonly", "no", "--loglevel", "warning",
	}, args...)
	s.ping = redis.Options{Addr: s.Addr, MaxRetries: -1, DialerRetries: 1}
	s.Start()
	t.Cleanup(s.Kill)
	note(t)
	return s
}

// Start starts a server that was killed, on the port it had.
func (s *Server) Start() {
	s.t.Helper()
	s.command = exec.Command("redis-server", s.args...)
	require.NoError(s.t, s.command.Start())
	Eventually(s.t, "the server answers", func(ctx context.Context) bool {
		client := redis.NewClient(&s.ping)
		defer client.Close()
		// Any answer will do: a server with a password refuses, and is there.
		err := client.Ping(ctx).Err()
		return err == nil || redis.HasErrorPrefix(err, "NOAUTH") || redis.HasErrorPrefix(err, "NOPERM")
	})
}

// Kill ends the process at once and waits for its end.
func (s *Server) Kill() {
	if s.command == nil {
		return
	}
	_ = s.command.Process.Kill() // it may have ended by itself
	_ = s.command.Wait()         // it says "killed"
	s.command = nil
}

// Pause stops the process without ending it: connections stay open and nothing
// answers. Continue lets it go on.
func (s *Server) Pause() { require.NoError(s.t, s.command.Process.Signal(syscall.SIGSTOP)) }

// Continue lets a paused process go on.
func (s *Server) Continue() { require.NoError(s.t, s.command.Process.Signal(syscall.SIGCONT)) }

// Client is a plain client of the server.
func (s *Server) Client() *redis.Client {
	client := redis.NewClient(&redis.Options{Addr: s.Addr})
	s.t.Cleanup(func() { _ = client.Close() })
	return client
}

// Sentinel starts a master, a replica and three Sentinels that watch them, and
// returns the addresses of the Sentinels and the name of the master.
func Sentinel(t testing.TB) (addrs []string, name string, master *Server) {
	t.Helper()
	name = "limits"
	master = Single(t)
	replica := Single(t, "--replicaof", "127.0.0.1", strconv.Itoa(master.Port))
	Eventually(t, "the replica follows its master", func(ctx context.Context) bool {
		info, err := replica.Client().InfoMap(ctx, "replication").Result()
		return err == nil && info["Replication"]["master_link_status"] == "up"
	})
	for range 3 {
		config := filepath.Join(t.TempDir(), "sentinel.conf")
		text := fmt.Sprintf("sentinel monitor %s 127.0.0.1 %d 2\nsentinel down-after-milliseconds %s 500\nsentinel failover-timeout %s 3000\n",
			name, master.Port, name, name)
		require.NoError(t, os.WriteFile(config, []byte(text), 0o600))
		sentinel := &Server{t: t, Port: freePort(t)}
		sentinel.Addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(sentinel.Port))
		sentinel.args = []string{config, "--sentinel", "--port", strconv.Itoa(sentinel.Port), "--bind", "127.0.0.1"}
		sentinel.ping = redis.Options{Addr: sentinel.Addr, MaxRetries: -1, DialerRetries: 1}
		sentinel.Start()
		t.Cleanup(sentinel.Kill)
		addrs = append(addrs, sentinel.Addr)
	}
	Eventually(t, "the Sentinels know each other and the replica", func(ctx context.Context) bool {
		for _, addr := range addrs {
			client := redis.NewSentinelClient(&redis.Options{Addr: addr})
			state, err := client.Master(ctx, name).Result()
			_ = client.Close() // it was only asked
			if err != nil || state["num-other-sentinels"] != "2" || state["num-slaves"] != "1" {
				return false
			}
		}
		return true
	})
	return addrs, name, master
}

// Cluster starts a Cluster of masters that share all slots.
func Cluster(t testing.TB, masters int) []*Server {
	t.Helper()
	const slots = 16384
	servers := make([]*Server, masters)
	for i := range servers {
		servers[i] = Single(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
		client := servers[i].Client()
		require.NoError(t, client.ClusterAddSlotsRange(t.Context(), i*slots/masters, (i+1)*slots/masters-1).Err())
		require.NoError(t, client.ClusterMeet(t.Context(), "127.0.0.1", strconv.Itoa(servers[0].Port)).Err())
	}
	Eventually(t, "the Cluster is complete", func(ctx context.Context) bool {
		for _, server := range servers {
			shards, err := server.Client().ClusterShards(ctx).Result()
			if err != nil || len(shards) != masters {
				return false
			}
			info, err := server.Client().ClusterInfo(ctx).Result()
			if err != nil || len(info) < 16 || info[:16] != "cluster_state:ok" {
				return false
			}
		}
		return true
	})
	return servers
}

// Eventually asks until the answer is yes.
func Eventually(t testing.TB, what string, yes func(context.Context) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !yes(ctx) {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("waited %v in vain until %s", patience, what)
		}
	}
}

// freePort finds a port that nobody uses. Cluster nodes use the port 10000
// above theirs too.
func freePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		port := listener.Addr().(*net.TCPAddr).Port
		require.NoError(t, listener.Close())
		if port < 65535-10000 {
			return port
		}
	}
	t.Fatal("found no free port below 55535")
	return 0
}

// note tells which server a test has used, for whoever reads the log of CI.
func note(t testing.TB) {
	version, err := exec.Command("redis-server", "--version").Output()
	require.NoError(t, err)
	path := os.Getenv(logVariable)
	if path == "" {
		return
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	out := bufio.NewWriter(file)
	fmt.Fprintf(out, "%s: %s", t.Name(), version)
	require.NoError(t, out.Flush())
	require.NoError(t, file.Close())
}
