// Package exampletest runs the examples in tests: as handlers on a loopback server, and as
// programs.
package exampletest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience is far longer than any operation here takes.
const patience = time.Minute

// Serve serves a handler on loopback and returns its URL.
func Serve(t *testing.T, handler http.Handler) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

// Answer is a complete response.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Send sends a request. Headers are pairs of name and value.
func Send(t *testing.T, method, url string, headers ...string) Answer {
	t.Helper()
	answer, err := send(t.Context(), method, url, headers)
	require.NoError(t, err)
	return answer
}

func send(ctx context.Context, method, url string, headers []string) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return Answer{}, err
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return Answer{}, err
	}
	body, err := io.ReadAll(response.Body)
	return Answer{response.StatusCode, response.Header, body}, errors.Join(err, response.Body.Close())
}

// Raw gets a URL and returns the bytes of the response.
func Raw(t *testing.T, url string) string {
	t.Helper()
	host, path, _ := strings.Cut(strings.TrimPrefix(url, "http://"), "/")
	connection, err := net.Dial("tcp", host)
	require.NoError(t, err)
	defer func() { require.NoError(t, connection.Close()) }()
	require.NoError(t, connection.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(connection, "GET /"+path+" HTTP/1.1\r\nHost: example\r\nConnection: close\r\n\r\n")
	require.NoError(t, err)
	response, err := io.ReadAll(connection)
	require.NoError(t, err)
	return string(response)
}

// Statuses gets a URL a number of times in a row, and returns the statuses.
func Statuses(t *testing.T, times int, url string, headers ...string) []int {
	t.Helper()
	statuses := make([]int, times)
	for i := range statuses {
		statuses[i] = Send(t, http.MethodGet, url, headers...).Status
	}
	return statuses
}

// Admitted gets each URL a number of times with several concurrent clients, and counts the
// responses with status 200. All others must have status 429.
func Admitted(t *testing.T, clients, times int, urls ...string) int64 {
	t.Helper()
	var admitted, rejected atomic.Int64
	var group sync.WaitGroup
	for client := range clients {
		group.Go(func() {
			for i := range times * len(urls) {
				answer, err := send(t.Context(), http.MethodGet, urls[(client+i)%len(urls)], nil)
				switch {
				case err != nil:
					t.Errorf("a request failed: %v", err)
				case answer.Status == http.StatusOK:
					admitted.Add(1)
				case answer.Status == http.StatusTooManyRequests:
					rejected.Add(1)
				}
			}
		})
	}
	group.Wait()
	require.EqualValues(t, clients*times*len(urls), admitted.Load()+rejected.Load(), "other statuses than 200 and 429")
	return admitted.Load()
}

// Build compiles the program of a folder, with further flags of go build.
func Build(t *testing.T, folder string, flags ...string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("left out with -short: building a program takes seconds")
	}
	program := filepath.Join(t.TempDir(), "program.exe")
	arguments := append(append([]string{"build", "-o", program}, flags...), folder)
	output, err := exec.CommandContext(t.Context(), "go", arguments...).CombinedOutput()
	require.NoError(t, err, string(output))
	return program
}

// Program is a running program.
type Program struct {
	t       *testing.T
	command *exec.Cmd
	output  output
	ended   chan struct{}
}

// Start starts a program with additional environment variables, and without any other
// configuration of the limiter. The program is killed when the test ends.
func Start(t *testing.T, program string, variables []string, arguments ...string) *Program {
	t.Helper()
	p := &Program{t: t, command: exec.Command(program, arguments...), ended: make(chan struct{})}
	p.output.listening = make(chan struct{})
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "RATELIMITER_") && !strings.HasPrefix(variable, "PORT=") {
			p.command.Env = append(p.command.Env, variable)
		}
	}
	p.command.Env = append(p.command.Env, variables...)
	p.command.Stdout, p.command.Stderr = &p.output, &p.output
	require.NoError(t, p.command.Start())
	go func() {
		_ = p.command.Wait() // ProcessState has the exit code
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = p.command.Process.Kill() // it may have exited already
		<-p.ended
	})
	return p
}

// URL waits until the program prints the URL on which it listens.
func (p *Program) URL() string {
	p.t.Helper()
	select {
	case <-p.output.listening:
	case <-p.ended:
		p.t.Fatalf("the program has ended:\n%s", p.Output())
	case <-time.After(patience):
		p.t.Fatalf("the program does not listen:\n%s", p.Output())
	}
	return p.output.url()
}

// Interrupt sends the signal of Ctrl-C.
func (p *Program) Interrupt() {
	p.t.Helper()
	require.NoError(p.t, p.command.Process.Signal(os.Interrupt))
}

// End waits until the program ends and returns its exit code.
func (p *Program) End() int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatalf("the program does not end:\n%s", p.Output())
	}
	return p.command.ProcessState.ExitCode()
}

// Output is what the program has written so far.
func (p *Program) Output() string {
	p.output.mu.Lock()
	defer p.output.mu.Unlock()
	return p.output.text.String()
}

// output stores the output of a program and waits for a URL in it.
type output struct {
	mu        sync.Mutex
	text      bytes.Buffer
	found     string
	listening chan struct{}
}

var address = regexp.MustCompile(`Listening on (http://127\.0\.0\.1:\d+):`)

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Write(p)
	if match := address.FindSubmatch(o.text.Bytes()); match != nil && o.found == "" {
		o.found = string(match[1])
		close(o.listening)
	}
	return len(p), nil
}

func (o *output) url() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.found
}
