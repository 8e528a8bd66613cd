package redistest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func TestAServerCanBePausedKilledAndStartedAgain(t *testing.T) {
	server := Single(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr, MaxRetries: -1, ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = client.Close() })
	require.NoError(t, client.Set(t.Context(), "k", "v", 0).Err())

	server.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, client.Ping(ctx).Err(), os.ErrDeadlineExceeded)
	server.Continue()
	require.NoError(t, client.Ping(t.Context()).Err())

	server.Kill()
	server.Kill()
	require.Error(t, client.Ping(t.Context()).Err())
	server.Start()
	require.ErrorIs(t, server.Client().Get(t.Context(), "k").Err(), redis.Nil, "nothing was stored")
}

func TestAServerThatEndsReportsWhy(t *testing.T) {
	Need(t)
	server := &Server{t: t, Addr: "127.0.0.1:1", args: []string{"--no-such-setting", "1"}}
	require.ErrorContains(t, server.start(), "no-such-setting")
}

func TestAnotherServerOnThePortIsNotMistakenForThisOne(t *testing.T) {
	first := Single(t)
	second := &Server{t: t, Addr: first.Addr, args: append(volatileArgs(t), first.args[len(first.args)-4:]...)}
	require.ErrorContains(t, second.start(), "in use")
}

func TestTheSystemGivesNoConnectionThePortOfAServer(t *testing.T) {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		t.Skip("the system does not say which ports it gives to connections: ", err)
	}
	var first, last int
	_, err = fmt.Sscan(string(text), &first, &last)
	require.NoError(t, err)
	for range 50 {
		port := freePort(t)
		for _, used := range []int{port, port + busOffset} {
			require.False(t, first <= used && used <= last, "%d is between %d and %d", used, first, last)
		}
	}
}

func TestEachStartIsLogged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	t.Setenv(logVariable, path)
	Single(t)
	Single(t, "--requirepass", "x")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	require.Len(t, lines, 2)
	require.Regexp(t, `^single \w+ [\d.]+ TestEachStartIsLogged$`, lines[1])
}

func TestWithoutAServerTestsAreSkippedUnlessRequired(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	require.False(t, Available())
	for value, skips := range map[string]bool{"": true, "required": false} {
		t.Setenv(Requirement, value)
		outcome := &witness{TB: t}
		Need(outcome)
		require.Equal(t, skips, outcome.skipped)
		require.Equal(t, !skips, outcome.failed)
	}
}

// witness records how a test would have ended.
type witness struct {
	testing.TB
	skipped, failed bool
}

func (w *witness) Skipf(string, ...any)  { w.skipped = true }
func (w *witness) Fatalf(string, ...any) { w.failed = true }
