package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/soak/internal/history"
)

// process is a server that was started from this program.
type process struct {
	number  int
	url     string
	client  *http.Client
	command *exec.Cmd
	stdin   io.Closer
	stdout  *bufio.Reader
	stderr  bytes.Buffer // to be read when the process has ended
}

// spawn starts this program once more, as a server.
func spawn(settings serverSettings) (*process, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(settings)
	if err != nil {
		return nil, err
	}
	p := &process{number: settings.Process, command: exec.Command(program)}
	p.command.Env = append(os.Environ(), serverVariable+"="+string(text))
	p.command.Stderr = &p.stderr
	p.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the harness, which ends the servers
	stdin, err := p.command.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := p.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.stdin, p.stdout = stdin, bufio.NewReader(stdout)
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	address, err := p.stdout.ReadString('\n')
	if err != nil {
		_ = p.stdin.Close() // which ends it
		return nil, errors.Join(fmt.Errorf("server %d did not start: %s", p.number, p.stderr.String()), p.command.Wait())
	}
	p.url = "http://" + strings.TrimSpace(address)
	p.client = &http.Client{
		Timeout:   30 * time.Second,
		Transport: &http.Transport{MaxIdleConnsPerHost: 1000, IdleConnTimeout: 30 * time.Second, DisableCompression: true},
	}
	return p, nil
}

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
	exit = history.Exit{Process: p.number, Code: p.command.ProcessState.ExitCode(), Took: time.Since(began)}
	exit.Races = bytes.Count(p.stderr.Bytes(), []byte("WARNING: DATA RACE"))
	exit.Panics = bytes.Count(p.stderr.Bytes(), []byte("panic:"))
	exit.Output = unexpected(p.stderr.String())
	if err := json.Unmarshal(text, &summary); err != nil {
		return exit, nil, errors.Join(fmt.Errorf("server %d said %q: %w", p.number, text, err), ended)
	}
	return exit, summary, nil
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
