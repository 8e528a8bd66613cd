// Package redistest starts real Redis servers on free loopback ports for tests, and stops
// them when the test ends.
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

// Requirement is the environment variable that makes tests fail without redis-server, if it
// is "required". Otherwise they are skipped.
const Requirement = "RATELIMITER_TEST_REDIS"

// logVariable is the environment variable with the name of a file to which each start
// appends a line, such as "single redis 7.0.15 TestName".
const logVariable = "RATELIMITER_TEST_REDIS_LOG"

const program = "redis-server"

// patience is how long to wait for a server to start or to change its role.
const patience = 30 * time.Second

// Server is a redis-server process.
type Server struct {
	Addr string
	Port int

	t       testing.TB
	args    []string
	command *exec.Cmd
	ended   chan struct{} // closed when the process has ended
	output  bytes.Buffer  // of the process; read only after it has ended
}

// Available reports whether redis-server is on the PATH.
func Available() bool {
	_, err := exec.LookPath(program)
	return err == nil
}

// Need skips the test if redis-server is not available, or fails it if it is required.
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

// Single starts a server with additional arguments, such as "--requirepass", "x".
func Single(t testing.TB, args ...string) *Server {
	t.Helper()
	return launch(t, "single", func(string) []string { return append(volatileArgs(t), args...) })
}

// volatileArgs returns the arguments of a server that stores nothing on disk.
func volatileArgs(t testing.TB) []string {
	return []string{"--dir", t.TempDir(), "--save", "", "--appendonly", "no", "--loglevel", "warning"}
}

// launch starts a process on a free port. If another process takes the port first, the
// process ends, and another port is tried.
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

// Start starts a killed server again, on the same port.
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
		_ = command.Wait() // the output explains how the process ended
	}()
	err := poll(func(ctx context.Context) (bool, error) {
		select {
		case <-ended:
			return false, fmt.Errorf("%s ended: %s", program, s.output.String())
		default:
			return s.answers(ctx), nil
		}
	})
	if err != nil {
		s.Kill()
	}
	return err
}

// answers reports whether this process answers, not another one that took the port first. A
// server that requires a password rejects the command, but is running.
func (s *Server) answers(ctx context.Context) bool {
	connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.Addr)
	if err != nil {
		return false // a client would log the error
	}
	_ = connection.Close() // it only had to open
	client := redis.NewClient(&redis.Options{Addr: s.Addr, MaxRetries: -1, DialerRetries: 1})
	defer func() { _ = client.Close() }() // nothing to lose
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
	_ = s.command.Process.Kill() // it may have ended on its own
	<-s.ended
	s.command = nil
}

// Client returns a client of the server, which is closed at the end of the test.
func (s *Server) Client() *redis.Client {
	client := redis.NewClient(&redis.Options{Addr: s.Addr})
	s.t.Cleanup(func() { _ = client.Close() })
	return client
}

// Eventually waits until a condition holds, and fails the test after 30 seconds. what
// completes the message "waiting until ...".
func Eventually(t testing.TB, what string, condition func(context.Context) bool) {
	t.Helper()
	if err := poll(func(ctx context.Context) (bool, error) { return condition(ctx), nil }); err != nil {
		t.Fatalf("waiting until %s: %v", what, err)
	}
}

// poll calls a function until it returns true or an error, for at most patience.
func poll(f func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), patience, errors.New("gave up after "+patience.String()))
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		if done, err := f(ctx); done || err != nil {
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

// freePort returns an even port that is free, and that stays free while a server is down:
// the system gives connections ports from 32768 on, so neither port of a node is one of
// those. The soak test, which may run at the same time, uses odd ports.
func freePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		port := 10000 + 2*rand.IntN(6384)
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

// logStart records which server a test has used.
func logStart(t testing.TB, kind string) {
	path := os.Getenv(logVariable)
	if path == "" {
		return
	}
	line := fmt.Sprintf("%s %s %s\n", kind, version(t), t.Name())
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	_, err = file.WriteString(line) // in one write: other processes append, too
	require.NoError(t, err)
	require.NoError(t, file.Close())
}

// version returns the name and version of the server, such as "redis 7.0.15". The program
// prints "Redis server v=7.0.15 sha=...".
func version(t testing.TB) string {
	text, err := exec.Command(program, "--version").Output()
	require.NoError(t, err)
	name, rest, _ := strings.Cut(string(text), " server v=")
	number, _, _ := strings.Cut(rest, " ")
	return strings.ToLower(name) + " " + number
}
