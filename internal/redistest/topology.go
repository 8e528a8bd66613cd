package redistest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// Sentinel starts a master, a replica and three Sentinels that watch them. It returns the
// addresses of the Sentinels and the name of the master. args are additional arguments of
// the Sentinels.
func Sentinel(t testing.TB, args ...string) (addrs []string, name string, master *Server) {
	t.Helper()
	skipIfShort(t, "three Sentinels take seconds to find each other")
	name = "limits"
	master = launch(t, "master", func(string) []string { return append(volatileArgs(t), "--repl-diskless-sync-delay", "0") })
	replica := launch(t, "replica", func(string) []string {
		return append(volatileArgs(t), "--replicaof", "127.0.0.1", strconv.Itoa(master.Port))
	})
	Eventually(t, "the replica follows its master", func(ctx context.Context) bool {
		info, err := replica.Client().InfoMap(ctx, "replication").Result()
		return err == nil && info["Replication"]["master_link_status"] == "up"
	})
	text := fmt.Sprintf("sentinel monitor %[1]s 127.0.0.1 %[2]d 2\nsentinel down-after-milliseconds %[1]s 500\nsentinel failover-timeout %[1]s 3000\n",
		name, master.Port)
	for range 3 {
		sentinel := launch(t, "sentinel", func(string) []string {
			config := filepath.Join(t.TempDir(), "sentinel.conf")
			require.NoError(t, os.WriteFile(config, []byte(text), 0o600))
			return append([]string{config, "--sentinel"}, args...)
		})
		addrs = append(addrs, sentinel.Addr)
	}
	if len(args) > 0 {
		return addrs, name, master // they may require a password
	}
	Eventually(t, "the Sentinels know each other and the replica", func(ctx context.Context) bool {
		for _, addr := range addrs {
			client := redis.NewSentinelClient(&redis.Options{Addr: addr})
			state, err := client.Master(ctx, name).Result()
			_ = client.Close() // nothing to lose
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
	skipIfShort(t, "a Cluster takes seconds to form")
	const slots = 16384
	servers := make([]*Server, masters)
	for i := range servers {
		servers[i] = launch(t, "cluster", func(string) []string {
			return append(volatileArgs(t), "--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
		})
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
			if err != nil || !strings.HasPrefix(info, "cluster_state:ok") {
				return false
			}
		}
		return true
	})
	return servers
}

func skipIfShort(t testing.TB, why string) {
	t.Helper()
	if testing.Short() {
		t.Skip("left out with -short: " + why)
	}
}
