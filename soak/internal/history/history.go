// Package history is what a soak test has seen: requests, faults, changes by operators,
// and samples of the servers. It is written to files, so that the model can check it again.
package history

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"
)

// Span is a piece of time, in microseconds since the start of the run.
type Span struct {
	From, To int64
}

// Overlaps reports whether two spans have an instant in common.
func (s Span) Overlaps(other Span) bool { return s.From <= other.To && other.From <= s.To }

// WithFrom is the span with another beginning.
func (s Span) WithFrom(from int64) Span { return Span{from, s.To} }

// What ended a request, where no answer did.
const (
	Left   = 0  // the client has left
	Broken = -1 // the connection failed
)

// Request is a request as its client saw it. Times are in microseconds since the start.
type Request struct {
	Kind    string `json:"k"`
	Path    string `json:"p"`
	Scope   string `json:"s"`
	Process int    `json:"n"`

	Sent     int64 `json:"t"`
	Received int64 `json:"r"`
	Started  int64 `json:"b,omitempty"` // when the handler began, by the clock of the server; 0 if it did not
	Ended    int64 `json:"e,omitempty"` // when it ended

	Status     int    `json:"c"`
	RetryAfter int    `json:"a,omitempty"` // in seconds; 0 for none
	Banned     bool   `json:"x,omitempty"`
	Cost       int    `json:"u,omitempty"` // units; 0 means 1
	Actual     int    `json:"w,omitempty"` // units that the handler corrects the cost to
	Plan       int    `json:"q,omitempty"` // of the lists of the route
	Failure    string `json:"f,omitempty"`
}

// Units are what admits the request.
func (r *Request) Units() int { return max(r.Cost, 1) }

// Admitted reports whether the handler ran.
func (r *Request) Admitted() bool { return r.Started > 0 }

// Rejected reports whether a limit has rejected the request.
func (r *Request) Rejected() bool { return r.Status == 429 }

// Decided is when the request was decided at the latest.
func (r *Request) Decided() int64 {
	if r.Admitted() {
		return r.Started
	}
	return r.Received
}

// Whole is the time from the request to its decision.
func (r *Request) Whole() Span { return Span{r.Sent, r.Decided()} }

// Fault is something that was done to a Redis, or to the server that is killed and stopped.
type Fault struct {
	Span          // ends when it works again
	Store  string // see the package routes
	Kind   string
	Outage bool // decisions may fail
	Loses  bool // counters may be lost
}

// Change is something that an operator did.
type Change struct {
	Span
	Kind    string // "reset", "reset all", "ban" or "update"
	Limiter string
	Key     string // of a reset or a ban
	Scope   string
	Process int
	Failure string
}

// Sample is the state of a server.
type Sample struct {
	At         int64
	Process    int
	Goroutines int
	Heap       uint64 // in bytes; after a garbage collection if Collected
	Collected  bool
	Files      int // open file descriptors
	Keys       int // limits that the memories remember
	Waiting    int
	Panics     uint64 // of observers
}

// Log is what one limiter has written, counted. For a server that was killed, it is what
// the last of its processes has written.
type Log struct {
	Process         int
	Limiter         string
	From            int64 // when the process began
	Bytes           int64
	Clients         int    // records about clients
	Others          int    // sums of other clients
	Fails, Answers  int    // records about the backend
	Rejected        uint64 // what the records say was rejected
	Events          uint64 // what an observer beside them has counted
	UnwellDecisions uint64 // without the backend

	// Unwell are the times when decisions were made without the backend, by the store that
	// should have made them. Those of killed processes are among them.
	Unwell map[string][]Span
	Opened []int64 // when the breaker has opened, in all processes
}

// Exit is how a server has ended.
type Exit struct {
	Process int
	Killed  bool
	Code    int
	Races   int    // reports of the race detector
	Panics  int    // on standard error
	Output  string // the first of standard error, unless it is that of go-redis
	Took    time.Duration
}

// Store is what a Redis has at the end.
type Store struct {
	Name    string
	Keys    int
	Eternal []string // keys that do not expire; some of them
	Astray  []string // keys of another node of the Cluster; some of them
}

// History is a whole run.
type History struct {
	Started      time.Time
	Duration     time.Duration
	Clients      int
	Seed         uint64
	Race         bool
	Version      string // of Go and Redis
	Faults       []Fault
	Changes      []Change
	Baseline     []Sample
	Samples      []Sample
	Final        []Sample
	Logs         []Log
	Exits        []Exit
	Stores       []Store
	Stalls       []Span // when the harness itself did not run
	ClockDrift   time.Duration
	PollFailures []string
	Polls        int
	Requests     []Request `json:"-"`
}

const (
	runFile      = "run.json"
	requestsFile = "requests.jsonl.gz"
)

// Write writes the history to files in a folder.
func (h *History) Write(folder string) (err error) {
	text, err := json.MarshalIndent(h, "", "\t")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, runFile), text, 0o600); err != nil {
		return err
	}
	file, err := os.Create(filepath.Join(folder, requestsFile))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	packed := gzip.NewWriter(file)
	encoder := json.NewEncoder(packed)
	for i := range h.Requests {
		if err := encoder.Encode(&h.Requests[i]); err != nil {
			return err
		}
	}
	return packed.Close()
}

// Read reads what Write has written.
func Read(folder string) (_ *History, err error) {
	text, err := os.ReadFile(filepath.Join(folder, runFile))
	if err != nil {
		return nil, err
	}
	h := &History{}
	if err := json.Unmarshal(text, h); err != nil {
		return nil, err
	}
	file, err := os.Open(filepath.Join(folder, requestsFile))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	unpacked, err := gzip.NewReader(bufio.NewReader(file))
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(unpacked)
	for {
		var r Request
		switch err := decoder.Decode(&r); {
		case errors.Is(err, io.EOF):
			return h, nil
		case err != nil:
			return nil, err
		}
		h.Requests = append(h.Requests, r)
	}
}
