package backends_test

import (
	"context"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// permissions are those that docs/redis.md lists as required.
var permissions = []string{"+hello", "+auth", "+eval", "+evalsha", "+time", "+get", "+mget", "+set", "+setrange", "+del"}

func without(permission string) []string {
	return slices.DeleteFunc(slices.Clone(permissions), func(one string) bool { return one == permission })
}

// opens creates a backend for a user and checks its access to the keys of the limiter.
func opens(t *testing.T, options map[string]any) error {
	t.Helper()
	backend, err := backends.NewRedis(options)
	if err != nil {
		return err
	}
	t.Cleanup(func() { require.NoError(t, backend.Close()) })
	return backends.CheckAccess(t.Context(), backend, "rate_limit/breaker")
}

func TestMissingPermissionsAreFoundAtTheStart(t *testing.T) {
	users := map[string]struct {
		keys     string
		commands []string
		rejected bool
	}{
		"enough":        {"~rate_limit/*", permissions, false},
		"every-key":     {"~*", permissions, false},
		"keys-of-other": {"~other:*", permissions, true},
		"keys-to-read":  {"%R~*", permissions, true},
		"no-key":        {"resetkeys", permissions, true},
		"no-script":     {"~*", without("+evalsha"), true},
		"no-text":       {"~*", without("+eval"), true},
		"no-clock":      {"~*", without("+time"), true},
		"no-reading":    {"~*", without("+get"), true},
		"no-writing":    {"~*", without("+set"), true},
		"no-deleting":   {"~*", without("+del"), true},
		"switched-off":  {"~*", append([]string{"off"}, permissions...), true},
		"only-the-door": {"~*", []string{"+hello", "+auth"}, true},
	}
	var arguments []string
	for name, user := range users {
		arguments = append(arguments, "--user", name, "on", ">pa55", user.keys, "-@all")
		arguments = append(arguments, user.commands...)
	}
	arguments = append(arguments, "--user", "other-database", "on", ">pa55", "~*", "-@all", "+select")
	arguments = append(arguments, permissions...)
	server := redistest.Single(t, arguments...)
	require.NoError(t, opens(t, map[string]any{"addr": server.Addr, "username": "other-database", "password": "pa55", "db": 1}))
	require.ErrorContains(t, opens(t, map[string]any{"addr": server.Addr, "username": "enough", "password": "pa55", "db": 1}), "permissions")
	for name, user := range users {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, server.Client().ScriptFlush(t.Context()).Err())
			err := opens(t, map[string]any{"addr": server.Addr, "username": name, "password": "pa55"})
			if !user.rejected {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, "permissions")
			require.NotContains(t, err.Error(), "pa55")
		})
	}
}

func TestAServerThatDoesNotMatchTheOptionsIsFoundAtTheStart(t *testing.T) {
	nodes := redistest.Cluster(t, 3)
	single := redistest.Single(t)
	mute := redistest.Single(t, "--rename-command", "EVALSHA", "")
	for _, node := range nodes {
		require.ErrorContains(t, opens(t, map[string]any{"addr": node.Addr}), `set option "cluster" to true`)
		client := redis.NewClient(&redis.Options{Addr: node.Addr})
		t.Cleanup(func() { _ = client.Close() })
		require.ErrorContains(t, opens(t, map[string]any{"client": client}), `set option "cluster" to true`)
	}
	require.ErrorContains(t, opens(t, map[string]any{"url": "redis://" + nodes[0].Addr + "/1"}), `set option "cluster" to true`)
	require.ErrorContains(t, opens(t, map[string]any{"addr": single.Addr, "cluster": true}), "not a node of a Cluster")
	require.ErrorContains(t, opens(t, map[string]any{"addr": mute.Addr}), "does not run scripts")
	require.NoError(t, opens(t, map[string]any{"addr": single.Addr}))
	require.NoError(t, opens(t, map[string]any{"addr": nodes[0].Addr, "cluster": true}))
}

func TestCheckAccessLeavesNothingBehind(t *testing.T) {
	server := miniredis.RunT(t)
	require.NoError(t, opens(t, map[string]any{"addr": server.Addr()}))
	require.Empty(t, server.Keys())
}

func TestCheckAccessReportsOnlyRejections(t *testing.T) {
	memory, err := backends.NewMemory(map[string]any{"max_keys": 1})
	require.NoError(t, err)
	require.NoError(t, backends.CheckAccess(t.Context(), memory, "k"))

	server := miniredis.RunT(t)
	backend, err := backends.NewRedis(map[string]any{"addr": server.Addr()})
	require.NoError(t, err)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, backends.CheckAccess(over, backend, "k"), "nothing was rejected")
	server.SetError("LOADING Redis is loading the dataset in memory")
	require.NoError(t, backends.CheckAccess(t.Context(), backend, "k"))
	server.SetError("")
	server.Close()
	require.NoError(t, backends.CheckAccess(t.Context(), backend, "k"))
	require.NoError(t, backend.Close())
	require.NoError(t, backends.CheckAccess(t.Context(), backend, "k"))

	silent, err := net.Listen("tcp", "127.0.0.1:0") // it accepts connections and never answers
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, silent.Close()) })
	bounded, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	client := redis.NewClient(&redis.Options{Addr: silent.Addr().String(), ContextTimeoutEnabled: true, MaxRetries: -1})
	t.Cleanup(func() { _ = client.Close() })
	backend, err = backends.NewRedis(map[string]any{"client": client})
	require.NoError(t, err)
	require.NoError(t, backends.CheckAccess(bounded, backend, "k"))
}
