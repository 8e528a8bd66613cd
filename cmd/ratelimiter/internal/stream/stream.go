// Package stream reads access logs, packed or not, parses them on all cores, and
// brings the requests of all of them in order of time.
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

// Options are what to read, and how.
type Options struct {
	Names   []string // of files; "-" is Stdin
	Stdin   io.Reader
	Format  string // see accesslog.Choose; empty to recognise it
	Wanted  accesslog.Wanted
	View    *traffic.View
	Reorder time.Duration // how far lines may be out of order; whole seconds
	Sort    bool          // sort all requests, which takes 16 bytes of memory for each
	Workers int           // goroutines that parse, at least one

	// Read counts the bytes that were read, for a progress bar.
	Read atomic.Int64
}

// Tally is what was read.
type Tally struct {
	Files     []*File
	Lines     int
	Requests  int // that count
	Passed    int // lines that belong to their log and are no requests
	Filtered  int // requests that a filter has taken out
	Hostless  int // of these, the ones without a host, if one was asked for
	Throttled int // requests that were answered 429
	traffic.Robots
	Named int // requests that have the field which tells the client, if one was asked for

	Faults  int // lines that cannot be read
	Reasons map[string]int
	First   []Fault // the first of them

	Late      int           // requests that came too far out of order, and are left out
	LateWorst time.Duration // how far
	Ahead     int           // requests dated far ahead of those around them, which are left out

	Sorted      bool // by Options.Sort, or because a log has its newest lines first
	Interrupted bool
}

// Lost are the lines that should count and do not: they cannot be read, or their
// time is out of order.
func (t *Tally) Lost() int {
	return t.Faults - t.Reasons[accesslog.ErrEmpty.Error()] + t.Late + t.Ahead
}

// LostShare is their share of all requests, in per cent.
func (t *Tally) LostShare() float64 {
	return 100 * float64(t.Lost()) / float64(max(1, t.Requests+t.Filtered+t.Lost()))
}

// ColumnsChange tells whether a log changes its columns, so that nothing behind
// that place can be trusted.
func (t *Tally) ColumnsChange() bool {
	return t.Reasons[accesslog.ErrColumnsChange.Error()] > 0
}

// File is one log.
type File struct {
	Name   string
	Format string
	Lines  int
	Short  error // why it could not be read to its end; nil if it was
}

// Fault is a line that cannot be read.
type Fault struct {
	File   string
	Line   int
	Reason string
	Text   string
}

const shownFaults = 5

// Read reads all logs into a census. When the context ends, it stops with what
// it has got so far.
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
		m.mill.stop() // else a goroutine may hang in a read that never ends
	}
	m.order.flush()
	counting.finish()
	tally.Ahead += m.order.ahead
	tally.Late, tally.LateWorst = m.order.late, time.Duration(m.order.worst)*time.Microsecond
	tally.Requests = int(census.History.Events)
	return tally, census.History.Err()
}
