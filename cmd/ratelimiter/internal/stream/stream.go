// Package stream reads access logs, packed or not, parses them on all cores, and merges their
// requests by time.
package stream

import (
	"context"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/accesslog"
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/traffic"
)

// Options says what to read, and how.
type Options struct {
	Names   []string // of files; "-" is Stdin
	Stdin   io.Reader
	Format  string // see accesslog.Choose; empty to detect it
	Wanted  accesslog.Wanted
	View    *traffic.View
	Reorder time.Duration // largest time by which lines may be out of order; rounded up to seconds
	Sort    bool          // sort all requests, using 16 bytes of memory each
	Workers int           // number of parsing goroutines, at least one

	// Read counts the bytes that were read so far, for a progress bar.
	Read atomic.Int64
}

// Tally counts what was read.
type Tally struct {
	Files     []*File
	Lines     int
	Requests  int // after filters
	Passed    int // lines that are not requests
	Filtered  int // requests that the filters exclude
	Hostless  int // of these, requests without a host, if hosts are filtered
	Throttled int // requests with status 429
	traffic.Robots
	Named int // requests that have the field of the client, if one is named

	Faults  int // unreadable lines
	Reasons map[string]int
	First   []Fault // the first unreadable lines

	Late      int           // requests that are ignored because they are too far out of order
	LateWorst time.Duration // the largest delay of these
	Ahead     int           // requests that are ignored because they are dated far ahead of others

	Sorted      bool // by Options.Sort, or because a log has its newest line first
	Interrupted bool
}

// Lost is the number of lines that should count but do not, because they are unreadable or
// out of order.
func (t *Tally) Lost() int {
	return t.Faults - t.Reasons[accesslog.ErrEmpty.Error()] + t.Late + t.Ahead
}

// LostShare is their percentage of all requests.
func (t *Tally) LostShare() float64 {
	return 100 * float64(t.Lost()) / float64(max(1, t.Requests+t.Filtered+t.Lost()))
}

// ColumnsChange reports whether a log changes its columns, so that the following lines cannot
// be trusted.
func (t *Tally) ColumnsChange() bool {
	return t.Reasons[accesslog.ErrColumnsChange.Error()] > 0
}

// File is one log.
type File struct {
	Name   string
	Format string
	Lines  int
	Short  error // why it could not be read to the end; nil if it was
}

// Fault is an unreadable line.
type Fault struct {
	File   string
	Line   int
	Reason string
	Text   string
}

const shownFaults = 5

// Read reads all logs into a census. If the context ends, it stops and keeps what it has read
// so far.
func Read(ctx context.Context, o *Options, census *traffic.Census) (*Tally, error) {
	tally := &Tally{Reasons: map[string]int{}}
	sources, err := newSources(o, tally)
	if err != nil {
		return nil, err
	}
	counting := startCounting(census)
	m := &merger{
		mill: newMill(o), tally: tally, census: census, waiting: byFirst(sources),
		order: newOrder(o.Reorder, counting.add),
	}
	tally.Sorted = o.Sort || slices.ContainsFunc(sources, func(s *source) bool { return s.falls })
	m.order.whole = tally.Sorted
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	m.run(ctx)
	tally.Interrupted = ctx.Err() != nil
	stop()
	if !tally.Interrupted {
		m.mill.stop() // after an interrupt, a read may never return
	}
	m.order.flush()
	counting.finish()
	tally.Ahead += m.order.ahead
	tally.Late, tally.LateWorst = m.order.late, time.Duration(m.order.worst)*time.Microsecond
	tally.Requests = int(census.History.Events)
	return tally, census.History.Err()
}
