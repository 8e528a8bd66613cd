// Package instances starts Redis servers on free loopback ports, and kills, stops and
// restarts them.
package instances

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

const program = "redis-server"

// patience is how long a server may take to come up or to take a role.
const patience = 30 * time.Second

type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

// Silence keeps go-redis from writing a line for each server that is down.
func Silence() { redis.SetLogger(silence{}) }

// Version is the version of redis-server, as it says it.
func Version() string {
	text, err := exec.Command(program, "--version").Output()
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(text))
}

// Server is one redis-server process.
type Server struct {
	Addr    string
	Port    int
	Client  *redis.Client
	args    []string
	command *exec.Cmd
	ended   chan struct{}
	output  bytes.Buffer
}

// Start starts a server that keeps its files in a folder of its own.
func Start(ctx context.Context, folder string, args ...string) (*Server, error) {
	s := &Server{args: append([]string{"--dir", folder, "--save", "", "--appendonly", "no", "--loglevel", "warning"}, args...)}
	return s, s.begin(ctx)
}

// busOffset is how far above its own port a node of a Cluster has another one.
const busOffset = 10000

// FreePort returns an odd port that is free, and stays so while a server is down: the system
// gives connections the ports from 32768 on, and the other tests use even ones.
func FreePort() (int, error) {
	isFree := func(port int) bool {
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		return err == nil && listener.Close() == nil
	}
	for range 100 {
		if port := 10001 + 2*rand.IntN(6384); isFree(port) && isFree(port+busOffset) {
			return port, nil
		}
	}
	return 0, errors.New("found no free port from 10000 to 22767")
}

// begin chooses a port and starts the process. Another process may take the port
// before; the next one is tried then.
func (s *Server) begin(ctx context.Context) (failed error) {
	for range 5 {
		var err error
		if s.Port, err = FreePort(); err != nil {
			return err
		}
		s.Addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port))
		s.Client = redis.NewClient(&redis.Options{Addr: s.Addr, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true})
		if failed = s.Restart(ctx); failed == nil {
			return nil
		}
		_ = s.Client.Close() // another follows
	}
	return failed
}

// Restart starts a server that was killed, on the port that it had, with further
// arguments. It returns when the server answers.
func (s *Server) Restart(ctx context.Context, further ...string) error {
	s.output.Reset()
	args := append(append([]string{}, s.args...), "--port", strconv.Itoa(s.Port), "--bind", "127.0.0.1")
	command, ended := exec.Command(program, append(args, further...)...), make(chan struct{})
	command.Stdout, command.Stderr = &s.output, &s.output
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is not for it
	if err := command.Start(); err != nil {
		return err
	}
	s.command, s.ended = command, ended
	go func() {
		defer close(ended)
		_ = command.Wait() // the output says why
	}()
	hasEnded := func() bool {
		select {
		case <-ended:
			return true
		default:
			return false
		}
	}
	err := Until(ctx, "the server answers", func(ctx context.Context) bool {
		return hasEnded() || s.Client.Ping(ctx).Err() == nil
	})
	if hasEnded() {
		return fmt.Errorf("%s has ended: %s", program, s.output.String())
	}
	return err
}

// Kill ends the process at once.
func (s *Server) Kill() {
	if s == nil || s.command == nil {
		return
	}
	_ = s.command.Process.Kill() // it may have ended
	<-s.ended
	s.command = nil
}

// Pause stops the process without ending it.
func (s *Server) Pause() error { return s.command.Process.Signal(syscall.SIGSTOP) }

// Continue lets a paused process go on.
func (s *Server) Continue() error { return s.command.Process.Signal(syscall.SIGCONT) }

// Until asks until the answer is yes, for half a minute at most.
func Until(ctx context.Context, what string, yes func(context.Context) bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("waited in vain until "+what))
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		once, done := context.WithTimeout(ctx, time.Second)
		answer := yes(once)
		done()
		if answer {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
