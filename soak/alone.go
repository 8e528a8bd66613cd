package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/soak/internal/history"
	"github.com/gin-ratelimiter/ratelimiter/soak/internal/routes"
)

// watcher is an observer that counts rejections, and notes when decisions were made
// without the backend. It notes it in a file, which a process that is killed leaves behind.
type watcher struct {
	limiter   string
	health    func() backends.Health
	file      *os.File
	rejected  atomic.Uint64
	mu        sync.Mutex
	written   map[string]int64 // by store: the end of the last span in the file
	opened    int64            // when the breaker last opened, in Unix microseconds; 0 for never
	undecided uint64
}

const (
	// together is how far apart two failures are that count as one span.
	together = 150 * time.Millisecond
	// behind is by how much the file may be behind.
	behind = 50 * time.Millisecond
)

// Observe is called by a RateLimiter.
func (w *watcher) Observe(e ratelimiter.Event) {
	if e.Outcome == ratelimiter.Rejected || e.Outcome == ratelimiter.Banned {
		w.rejected.Add(1)
	}
	if !e.Fallback && e.Outcome != ratelimiter.BackendError {
		return
	}
	now := time.Now()
	from, to := now.Add(-e.BackendLatency).UnixMicro(), now.UnixMicro()
	store := routes.StoreOf(w.limiter, e.Route, e.Scope)
	health := w.health()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.undecided++
	news := false
	if opened := health.Since.UnixMicro(); health.Open && opened > w.opened {
		w.opened, news = opened, true
	}
	if last := w.written[store]; news || from > last || to-last > behind.Microseconds() {
		w.written[store] = to
		_, _ = fmt.Fprintf(w.file, "%s %s %d %d %d\n", w.limiter, store, from, to, w.opened) // without it, the run has violations
	}
}

// summary is what the watcher knows at the end.
func (w *watcher) summary() history.Log {
	w.mu.Lock()
	defer w.mu.Unlock()
	return history.Log{Events: w.rejected.Load(), UnwellDecisions: w.undecided}
}

func openAlone(folder string, process int) (*os.File, error) {
	name := filepath.Join(folder, fmt.Sprintf("server-%d-alone.txt", process))
	return os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_RDWR, 0o600)
}

// alone is when a limiter of a process has decided without its stores, in Unix microseconds.
type alone struct {
	spans  map[string][]history.Span // by store
	opened []int64                   // when the breaker has opened
}

// readAlone reads what the watchers of a process have written, by limiter.
func readAlone(folder string, process int) (map[string]*alone, error) {
	file, err := openAlone(folder, process)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // it was only read
	all := map[string]*alone{}
	for _, limiter := range routes.Limiters {
		all[limiter] = &alone{spans: map[string][]history.Span{}}
	}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var limiter, store string
		var span history.Span
		var opened int64
		if _, err := fmt.Sscan(lines.Text(), &limiter, &store, &span.From, &span.To, &opened); err != nil {
			return nil, fmt.Errorf("%s: %q: %w", file.Name(), lines.Text(), err)
		}
		span.To += behind.Microseconds()
		of := all[limiter]
		of.spans[store] = joined(of.spans[store], span)
		if opened > 0 && !slices.Contains(of.opened, opened) {
			of.opened = append(of.opened, opened)
		}
	}
	return all, nil
}

// joined appends a span, or extends the last one with it.
func joined(list []history.Span, span history.Span) []history.Span {
	n := len(list)
	if n == 0 || span.From-list[n-1].To >= together.Microseconds() {
		return append(list, span)
	}
	list[n-1].From, list[n-1].To = min(list[n-1].From, span.From), max(list[n-1].To, span.To)
	return list
}
