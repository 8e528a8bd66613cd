// Package redistest starts real Redis servers on free loopback ports for tests,
// and stops them when the test ends.
package redistest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// Requirement names the environment variable that turns the absence of
// redis-server into a failure when it says "required".
const Requirement = "RATELIMITER_TEST_REDIS"

// logVariable names a file to which each start appends a line, as
// "single redis 7.0.15 TestName".
const logVariable = "RATELIMITER_TEST_REDIS_LOG"

const program = "redis-server"

// patience is how long a server may take to come up or to take a role.
const patience = 30 * time.Second

// Server is one redis-server process.
type Server struct {
	Addr string
	Port int

	t       testing.TB
	args    []string
	command *exec.Cmd
	ended   chan struct{} // closed when the process has
	output  bytes.Buffer  // of the process; to be read when it has ended
}

// Available tells whether there is a redis-server to start.
func Available() bool {
	_, err := exec.LookPath(program)
	return err == nil
}

// Need skips the test where there is no redis-server, or fails it if one is
// required.
func Need(t testing.TB) {
	t.Helper()
	switch {
	case Available():
	case os.Getenv(Requirement) == "required":
		t.Fatalf("%s is required, but %s is not on the PATH", Requirement, program)
	default:
		t.Skipf("%s is not on the PATH", program)
	}
}

// Single starts one server with further arguments, such as "--requirepass", "x".
func Single(t testing.TB, args ...string) *Server {
	t.Helper()
	return launch(t, "single", func(string) []string { return append(volatileArgs(t), args...) })
}

// plain are the arguments of a server that keeps nothing.
func volatileArgs(t testing.TB) []string {
	return []string{"--dir", t.TempDir(), "--save", "", "--appendonly", "no", "--loglevel", "warning"}
}

// launch starts a process on a free port. Somebody else may take that port before
// the process does; it ends then, and another is tried.
func launch(t testing.TB, kind string, args func(port string) []string) *Server {
	t.Helper()
	Need(t)
	var failed error
	for range 5 {
		s := &Server{t: t, Port: freePort(t)}
		port := strconv.Itoa(s.Port)
		s.Addr = net.JoinHostPort("127.0.0.1", port)
		s.args = append(args(port), "--port", port, "--bind", "127.0.0.1")
		if failed = s.start(); failed == nil {
			t.Cleanup(s.Kill)
			logStart(t, kind)
			return s
		}
	}
	t.Fatalf("no %s could be started: %v", program, failed)
	return nil
}

// Start starts a server that was killed, on the port it had.
func (s *Server) Start() {
	s.t.Helper()
	require.NoError(s.t, s.start())
}

func (s *Server) start() error {
	s.output.Reset()
	command, ended := exec.Command(program, s.args...), make(chan struct{})
	command.Stdout, command.Stderr = &s.output, &s.output
	if err := command.Start(); err != nil {
		return err
	}
	s.command, s.ended = command, ended
	go func() {
		defer close(ended)
		_ = command.Wait() // it says how the process ended, which the output explains
	}()
	err := poll(func(ctx context.Context) (bool, error) {
		select {
		case <-ended:
			return false, fmt.Errorf("%s has ended: %s", program, s.output.String())
		default:
			return s.answers(ctx), nil
		}
	})
	if err != nil {
		s.Kill()
	}
	return err
}

// answers tells whether it is this process that answers, and not another that
// had the same port first. A server with a password rejects, and is there.
func (s *Server) answers(ctx context.Context) bool {
	connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.Addr)
	if err != nil {
		return false // a client would also print it
	}
	_ = connection.Close() // it was only tried
	client := redis.NewClient(&redis.Options{Addr: s.Addr, MaxRetries: -1, DialerRetries: 1})
	defer func() { _ = client.Close() }() // it was only asked
	info, err := client.Info(ctx, "server").Result()
	if redis.HasErrorPrefix(err, "NOAUTH") || redis.HasErrorPrefix(err, "NOPERM") {
		return true
	}
	return err == nil && strings.Contains(info, fmt.Sprintf("process_id:%d\r\n", s.command.Process.Pid))
}

// Kill ends the process at once and waits for its end.
func (s *Server) Kill() {
	if s.command == nil {
		return
	}
	_ = s.command.Process.Kill() // it may have ended by itself
	<-s.ended
	s.command = nil
}

// Client is a plain client of the server.
func (s *Server) Client() *redis.Client {
	client := redis.NewClient(&redis.Options{Addr: s.Addr})
	s.t.Cleanup(func() { _ = client.Close() })
	return client
}

// Eventually asks until the answer is yes.
func Eventually(t testing.TB, what string, yes func(context.Context) bool) {
	t.Helper()
	if err := poll(func(ctx context.Context) (bool, error) { return yes(ctx), nil }); err != nil {
		t.Fatalf("until %s: %v", what, err)
	}
}

// poll asks until the answer is yes or an error, or until patience is over.
func poll(ask func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), patience, errors.New("waited in vain for "+patience.String()))
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		if done, err := ask(ctx); done || err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// busOffset is how far above its own port a Cluster node has another one.
const busOffset = 10000

// freePort returns a port that is free, and that stays free while a server is down: the
// system gives connections ports from 32768 on, so neither port of a node is one of those.
func freePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		port := 10000 + rand.IntN(12768)
		if isFree(port) && isFree(port+busOffset) {
			return port
		}
	}
	t.Fatal("found no free port from 10000 to 22767")
	return 0
}

func isFree(port int) bool {
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	return err == nil && listener.Close() == nil
}

// note tells which server a test has used, for whoever reads the log of CI.
func logStart(t testing.TB, kind string) {
	path := os.Getenv(logVariable)
	if path == "" {
		return
	}
	line := fmt.Sprintf("%s %s %s\n", kind, version(t), t.Name())
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	_, err = file.WriteString(line) // in one piece: other processes append too
	require.NoError(t, err)
	require.NoError(t, file.Close())
}

// version is the name and version of the program, as "redis 7.0.15". It prints
// "Redis server v=7.0.15 sha=...".
func version(t testing.TB) string {
	text, err := exec.Command(program, "--version").Output()
	require.NoError(t, err)
	name, rest, _ := strings.Cut(string(text), " server v=")
	number, _, _ := strings.Cut(rest, " ")
	return strings.ToLower(name) + " " + number
}
