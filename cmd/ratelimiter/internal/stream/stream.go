// Package stream reads access logs, packed or not, parses them on all cores, and
// brings the requests of all of them in order of time.
package stream

import (
	"context"
	"io"
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
	Workers int           // goroutines that parse, at least one

	// Read counts the bytes that were read, for a progress bar.
	Read atomic.Int64
}

// Tally is what was read.
type Tally struct {
	Files    []*File
	Lines    int
	Requests int // that count
	Filtered int // requests that a filter has taken out
	Named    int // requests that have the field which tells the client, if one was asked for

	Faults  int // lines that cannot be read
	Reasons map[string]int
	First   []Fault // the first of them

	Late      int           // requests that came too far out of order, and are left out
	LateWorst time.Duration // how far
	Ahead     int           // requests dated far ahead of those around them, which are left out

	Interrupted bool
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
	tally.Late, tally.LateWorst = m.order.late, time.Duration(m.order.worst)*time.Microsecond
	tally.Requests = int(census.History.Events)
	return tally, census.History.Err()
}
