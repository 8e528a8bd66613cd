package backends_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// slotMove moves a slot from one node of a Cluster to another, step by step.
type slotMove struct {
	nodes    []*redis.Client
	ids      []string
	slot     int
	from, to int // indices of nodes
}

func newSlotMove(t *testing.T, servers []*redistest.Server, redisKey string) *slotMove {
	m := &slotMove{slot: int(servers[0].Client().ClusterKeySlot(t.Context(), redisKey).Val()), from: -1}
	for i, server := range servers {
		node := server.Client()
		m.nodes = append(m.nodes, node)
		id, err := node.Do(t.Context(), "cluster", "myid").Text()
		require.NoError(t, err)
		m.ids = append(m.ids, id)
		if m.slot >= i*16384/len(servers) {
			m.from = i
		}
	}
	m.to = (m.from + 1) % len(servers)
	return m
}

func (m *slotMove) set(t *testing.T, node int, words ...any) {
	t.Helper()
	require.NoError(t, m.nodes[node].Do(t.Context(), append([]any{"cluster", "setslot", m.slot}, words...)...).Err())
}

// begin makes the old owner redirect requests for keys that it does not have.
func (m *slotMove) begin(t *testing.T) {
	m.set(t, m.to, "importing", m.ids[m.from])
	m.set(t, m.from, "migrating", m.ids[m.to])
}

// migrate moves the keys of the slot.
func (m *slotMove) migrate(t *testing.T, target *redistest.Server) (moved int) {
	keys, err := m.nodes[m.from].ClusterGetKeysInSlot(t.Context(), m.slot, 1000).Result()
	require.NoError(t, err)
	words := []any{"migrate", "127.0.0.1", target.Port, "", 0, 5000, "keys"}
	for _, key := range keys {
		words = append(words, key)
	}
	require.NoError(t, m.nodes[m.from].Do(t.Context(), words...).Err())
	return len(keys)
}

// end announces the new owner to all nodes, starting with the new owner.
func (m *slotMove) end(t *testing.T) {
	for i := range m.nodes {
		m.set(t, (m.to+i)%len(m.nodes), "node", m.ids[m.to])
	}
}

// clusterTakers returns one backend with a client of its own, and one with a client of the
// application, which ignores context deadlines.
func clusterTakers(t *testing.T, servers []*redistest.Server) ([]backends.Backend, *redis.ClusterClient) {
	handed := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{servers[1].Addr}})
	t.Cleanup(func() { _ = handed.Close() })
	return []backends.Backend{
		open(t, map[string]any{"addr": servers[0].Addr, "cluster": true, "local_denials": false}),
		open(t, map[string]any{"client": handed, "local_denials": false}),
	}, handed
}

func TestAClusterUnderLoad(t *testing.T) {
	servers := redistest.Cluster(t, 3)
	for _, server := range servers { // keep serving when a node is missing
		require.NoError(t, server.Client().ConfigSet(t.Context(), "cluster-require-full-coverage", "no").Err())
	}
	// The order matters: the other nodes distrust a node that hung for a while.
	t.Run("a moving slot loses nothing and charges nothing twice", func(t *testing.T) { aSlotMoves(t, servers) })
	t.Run("the documented permissions are enough", func(t *testing.T) { fewPermissions(t, servers) })
	t.Run("a hanging node does not affect the others", func(t *testing.T) { aNodeHangs(t, servers) })
	t.Run("an application starts while a node hangs", func(t *testing.T) { startBesideANodeThatHangs(t, servers) })
}

// aSlotMoves charges two busy keys and a new one that share a slot while it moves. The
// number of granted units must equal the number of charged units, during the move and
// afterwards.
func aSlotMoves(t *testing.T, servers []*redistest.Server) {
	const limit, timeout, slack = 1_000_000, 10 * time.Second, 0
	hot := []backends.Quota{hourly("one{hot}", limit), hourly("other{hot}", limit), hourly("new{hot}", limit)}
	takers, handed := clusterTakers(t, servers)
	move := newSlotMove(t, servers, "one{hot}:somebody:8")
	start := time.Now()
	loads := []*loadTest{underLoad(t, takers, 3, timeout, hot[0]), underLoad(t, takers, 3, timeout, hot[1])}
	on := func() {
		for _, l := range loads {
			l.goesOn(t, 100)
		}
	}
	on()
	move.begin(t)
	on()
	loads = append(loads, underLoad(t, takers, 3, timeout, hot[2])) // a key that was never on the old owner
	on()
	require.Equal(t, 2, move.migrate(t, servers[move.to]))
	on()
	move.end(t)
	on()
	for i, l := range loads {
		l.end()
		t.Logf("%s: %s in %v", hot[i].Key, l.describe(), time.Since(start).Round(time.Millisecond))
		l.nobodyWaited(t, slack)
		require.Zero(t, l.failed.Load())
		checkCharges(t, takers, l)
	}
	owner, err := handed.MasterForKey(t.Context(), "one{hot}:somebody:8")
	require.NoError(t, err)
	require.Equal(t, servers[move.to].Addr, owner.Options().Addr)
}

// checkCharges lowers the limit to slightly more than the granted units, and spends the
// difference.
func checkCharges(t *testing.T, takers []backends.Backend, l *loadTest) {
	t.Helper()
	peek := l.quota
	peek.Cost = 0
	require.Equal(t, l.quota.Limit-l.granted.Load(), take(t, takers[0], peek)[0].Remaining, "charged exactly the granted units")
	rest := l.quota
	rest.Limit = l.granted.Load() + 20
	require.EqualValues(t, 20, spend(t, takers, 10, rest))
}

// keyOnEach returns a key on each node of a Cluster.
func keyOnEach(t *testing.T, servers []*redistest.Server) []string {
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{servers[0].Addr}})
	t.Cleanup(func() { _ = client.Close() })
	keys := make([]string, len(servers))
	for i, found := 0, 0; found < len(keys); i++ {
		key := "k" + strconv.Itoa(i)
		node, err := client.MasterForKey(t.Context(), key+":somebody:"+strconv.Itoa(len(key)))
		require.NoError(t, err)
		for n, server := range servers {
			if server.Addr == node.Options().Addr && keys[n] == "" {
				keys[n] = key
				found++
			}
		}
	}
	return keys
}

// aNodeHangs checks that each node has a queue of its own, so that no caller has to wait
// behind those of another node.
func aNodeHangs(t *testing.T, servers []*redistest.Server) {
	const timeout, slack = 500 * time.Millisecond, 2 * time.Second
	keys := keyOnEach(t, servers)
	takers, _ := clusterTakers(t, servers)
	for _, key := range keys {
		for _, taker := range takers {
			take(t, taker, hourly(key, 1_000_000))
		}
	}
	servers[1].Pause()
	lost := underLoad(t, takers, 4, timeout, hourly(keys[1], 1_000_000))
	alive := []*loadTest{underLoad(t, takers, 2, timeout, hourly(keys[0], 1_000_000)), underLoad(t, takers, 2, timeout, hourly(keys[2], 1_000_000))}
	redistest.Eventually(t, "callers wait for the hanging node", func(context.Context) bool { return lost.failed.Load() >= 24 })
	for _, l := range alive {
		l.end()
		t.Logf("other nodes: %s", l.describe())
		require.Zero(t, l.failed.Load())
		require.Greater(t, l.granted.Load(), lost.failed.Load())
	}
	lost.nobodyWaited(t, slack)
	servers[1].Continue()
	continued := time.Now()
	recovery := lost.recovered(t, 200*time.Millisecond, continued)
	lost.end()
	t.Logf("hanging node: %s; time to recover %v", lost.describe(), recovery.Round(time.Millisecond))
}

// startBesideANodeThatHangs checks that NewRedis does not query a node for its commands. If
// that node hung, every caller would have to wait for it.
func startBesideANodeThatHangs(t *testing.T, servers []*redistest.Server) {
	keys := keyOnEach(t, servers)
	servers[1].Pause()
	t.Cleanup(servers[1].Continue)
	for range 3 {
		start := time.Now()
		backend := open(t, map[string]any{"addrs": []string{servers[0].Addr, servers[2].Addr}})
		require.Less(t, time.Since(start), 2500*time.Millisecond, "NewRedis waits at most a second")
		for _, key := range []string{keys[0], keys[2]} {
			redistest.Eventually(t, "the other nodes decide", func(ctx context.Context) bool {
				ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
				defer cancel()
				start := time.Now()
				err := backend.Take(ctx, []backends.Quota{hourly(key, 1000)}, make([]backends.Verdict, 1))
				require.Less(t, time.Since(start), 2500*time.Millisecond)
				return err == nil
			})
		}
	}
}

func fewPermissions(t *testing.T, servers []*redistest.Server) {
	for _, server := range servers {
		require.NoError(t, server.Client().Do(t.Context(), "acl", "setuser", "limiter", "on", ">pa55", "~rate_limit/*", "-@all",
			"+hello", "+auth", "+eval", "+evalsha", "+time", "+get", "+set", "+setrange", "+del", "+asking", "+cluster|slots").Err())
	}
	backend := open(t, map[string]any{"addr": servers[0].Addr, "cluster": true, "username": "limiter", "password": "pa55"})
	for i := range 9 {
		require.True(t, take(t, backend, hourly("rate_limit/k"+strconv.Itoa(i), 1))[0].Allowed)
	}
	for _, server := range servers {
		rejected, err := server.Client().ACLLog(t.Context(), 10).Result()
		require.NoError(t, err)
		require.Empty(t, rejected)
	}
}
