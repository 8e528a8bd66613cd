package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/soak/internal/history"
	"github.com/gin-ratelimiter/ratelimiter/soak/internal/instances"
)

// process is a server that was started from this program. Its address stays the same when it
// is killed and started again.
type process struct {
	serverSettings
	url     string
	client  *http.Client
	started time.Time
	command *exec.Cmd
	stdin   io.Closer
	stdout  *bufio.Reader
	stderr  bytes.Buffer // to be read when the process has ended
}

// spawn starts this program once more, as a server.
func spawn(settings serverSettings) (*process, error) {
	port, err := instances.FreePort()
	if err != nil {
		return nil, err
	}
	settings.Addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	p := &process{serverSettings: settings, url: "http://" + settings.Addr}
	p.client = &http.Client{
		Timeout:   30 * time.Second,
		Transport: &http.Transport{MaxIdleConnsPerHost: 1000, IdleConnTimeout: 30 * time.Second, DisableCompression: true},
	}
	return p, p.start()
}

// start starts the process, and returns when it listens.
func (p *process) start() error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	text, err := json.Marshal(p.serverSettings)
	if err != nil {
		return err
	}
	p.stderr.Reset()
	p.started, p.command = time.Now(), exec.Command(program)
	p.command.Env = append(os.Environ(), serverVariable+"="+string(text))
	p.command.Stderr = &p.stderr
	p.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the harness, which ends the servers
	stdin, err := p.command.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := p.command.StdoutPipe()
	if err != nil {
		return err
	}
	p.stdin, p.stdout = stdin, bufio.NewReader(stdout)
	if err := p.command.Start(); err != nil {
		return err
	}
	if line, err := p.stdout.ReadString('\n'); err != nil || strings.TrimSpace(line) != ready {
		_ = p.stdin.Close() // which ends it
		return errors.Join(fmt.Errorf("server %d did not start: %s", p.Process, p.stderr.String()), p.command.Wait())
	}
	return nil
}

// kill ends the process at once.
func (p *process) kill() history.Exit {
	began := time.Now()
	_ = p.command.Process.Kill() // if it has ended, the exit says so
	_ = p.command.Wait()         // says that it was killed
	_ = p.stdin.Close()          // nobody reads it
	return p.exit(began)
}

// signal stops the process, or continues it.
func (p *process) signal(s syscall.Signal) error { return p.command.Process.Signal(s) }

// stop lets the server end, and returns how it did and what its limiters counted.
func (p *process) stop() (exit history.Exit, summary map[string]history.Log, err error) {
	began := time.Now()
	timer := time.AfterFunc(30*time.Second, func() { _ = p.command.Process.Kill() })
	defer timer.Stop()
	if err := p.stdin.Close(); err != nil {
		return exit, nil, err
	}
	text, err := io.ReadAll(p.stdout)
	if err != nil {
		return exit, nil, err
	}
	ended := p.command.Wait()
	exit = p.exit(began)
	if err := json.Unmarshal(text, &summary); err != nil {
		return exit, nil, errors.Join(fmt.Errorf("server %d said %q: %w", p.Process, text, err), ended)
	}
	return exit, summary, nil
}

// exit is how the process has ended.
func (p *process) exit(began time.Time) history.Exit {
	state := p.command.ProcessState
	status, _ := state.Sys().(syscall.WaitStatus) // on every Unix
	return history.Exit{
		Process: p.Process, Killed: status.Signaled() && status.Signal() == syscall.SIGKILL, Code: state.ExitCode(), Took: time.Since(began),
		Races:  bytes.Count(p.stderr.Bytes(), []byte("WARNING: DATA RACE")),
		Panics: bytes.Count(p.stderr.Bytes(), []byte("panic:")),
		Output: unexpected(p.stderr.String()),
	}
}

// unexpected is the beginning of what a server has written to standard error, without
// what go-redis says about its connections.
func unexpected(text string) string {
	var kept strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "redis: ") && kept.Len() < 20_000 {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

// sample asks for the state of the server.
func (p *process) sample(collect bool) (s history.Sample, err error) {
	query := ""
	if collect {
		query = "?collect=1"
	}
	response, err := p.client.Get(p.url + "/admin/sample" + query)
	if err != nil {
		return s, err
	}
	defer func() { _ = response.Body.Close() }() // it was read, or is of no use
	return s, json.NewDecoder(response.Body).Decode(&s)
}
