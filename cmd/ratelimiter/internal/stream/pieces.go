package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"sync"
	"sync/atomic"

	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/accesslog"
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/traffic"
)

// piece is a number of lines of a log. Once done is closed, batch holds their content.
type piece struct {
	source *source
	text   []byte
	batch  traffic.Batch
	done   chan struct{}
	err    error // set if the log ends early, here
}

const (
	pieceBytes  = 512 << 10
	longestLine = 16 << 20
	aheadPieces = 6 // read ahead of one log

	smallText = 256 << 10
	sampled   = 32
)

// mill reads logs in pieces and parses the pieces in several goroutines.
type mill struct {
	work  chan *piece
	free  sync.Pool
	view  *traffic.View
	seed  maphash.Seed
	read  *atomic.Int64
	group sync.WaitGroup
}

func newMill(o *Options) *mill {
	m := &mill{work: make(chan *piece), view: o.View, seed: maphash.MakeSeed(), read: &o.Read}
	m.free.New = func() any { return &piece{text: make([]byte, 0, pieceBytes)} }
	for range max(1, o.Workers) {
		m.group.Go(m.parse)
	}
	return m
}

func (m *mill) stop() {
	close(m.work)
	m.group.Wait()
}

// parse is the work of one goroutine.
func (m *mill) parse() {
	lens := traffic.NewLens(m.view, m.seed)
	parsers := map[*source]accesslog.Parser{}
	for p := range m.work {
		parser := parsers[p.source]
		if parser == nil {
			parser = p.source.format.NewParser()
			parsers[p.source] = parser
		}
		digest(p.text, parser, lens, &p.batch)
		close(p.done)
	}
}

// digest parses every line of a text.
func digest(text []byte, parser accesslog.Parser, lens *traffic.Lens, b *traffic.Batch) {
	var record accesslog.Record
	weight := 1 // of a line in the sample for robots
	if len(text) > smallText {
		weight = sampled
	}
	for len(text) > 0 {
		line := text
		if end := bytes.IndexByte(text, '\n'); end >= 0 {
			line, text = text[:end], text[end+1:]
		} else {
			text = nil
		}
		b.Lines++
		if len(line) > 0 && isUnclean(line) {
			line = clean(line)
		}
		if line == nil {
			b.Passed++
			continue
		}
		switch err := parser.Parse(line, &record); {
		case err == nil:
			if lens.Look(&record, b) && (weight == 1 || inSample(b.Lines)) {
				b.Note(line, &record, weight)
			}
		case errors.Is(err, accesslog.ErrNoRequest):
			b.Passed++
		default:
			b.Reject(line, err)
		}
	}
}

// inSample selects one line in so many. Multiples of the golden ratio are spread evenly, and
// have no rhythm that a log could share.
func inSample(line int) bool {
	const golden = 2654435769 // of 1<<32
	return uint32(line)*golden < (1<<32)/sampled
}

// clean removes what is not part of a line: a carriage return, a byte order mark where logs
// were joined, and NULs that a server leaves when it keeps writing to a truncated file. It
// returns nil for a line that consists of NULs.
func clean(line []byte) []byte {
	line = bytes.TrimSuffix(line, []byte("\r"))
	if len(line) == 0 {
		return line
	}
	line = bytes.TrimPrefix(bytes.Trim(line, "\x00"), byteOrderMark)
	if len(line) == 0 {
		return nil
	}
	return line
}

// isUnclean reports whether clean would change a line.
func isUnclean(line []byte) bool {
	last := line[len(line)-1]
	return last == '\r' || last == 0 || line[0] == 0 || line[0] == 0xef
}

// feed splits a log into pieces at line ends. It sends each piece to the parsers and, in
// order, to the queue. It ends with the log or with the context.
func (m *mill) feed(ctx context.Context, s *source, queue chan<- *piece) {
	defer close(queue)
	reader, closer, err := s.open(m.read)
	if err != nil {
		m.give(ctx, m.newPiece(s), queue, err)
		return
	}
	defer func() { _ = closer.Close() }() // read-only
	var rest []byte
	for {
		p := m.newPiece(s)
		p.text = append(p.text, rest...)
		full, failed := fill(reader, p)
		if errors.Is(failed, io.EOF) {
			m.give(ctx, p, queue, nil)
			return
		}
		if failed != nil {
			m.give(ctx, p, queue, failed)
			return
		}
		rest = append(rest[:0], p.text[full:]...)
		p.text = p.text[:full]
		if !m.give(ctx, p, queue, nil) {
			return
		}
	}
}

// fill reads until a piece is full, and returns the end of its last full line. At the end of
// the log it returns io.EOF.
func fill(reader io.Reader, p *piece) (full int, err error) {
	for {
		if len(p.text) == cap(p.text) {
			if last := bytes.LastIndexByte(p.text, '\n'); last >= 0 {
				return last + 1, nil
			}
			if len(bytes.TrimLeft(p.text, "\x00")) == 0 { // a hole in a file
				p.text = p.text[:0]
				continue
			}
			if len(p.text) >= longestLine {
				return 0, fmt.Errorf("a line is longer than %d MiB, so this is probably not a log", longestLine>>20)
			}
			p.text = append(make([]byte, 0, 2*cap(p.text)), p.text...)
		}
		n, err := reader.Read(p.text[len(p.text):cap(p.text)])
		p.text = p.text[:len(p.text)+n]
		if err != nil {
			return 0, err
		}
	}
}

func (m *mill) newPiece(s *source) *piece {
	p := m.free.Get().(*piece)
	p.source, p.text, p.err, p.done = s, p.text[:0], nil, make(chan struct{})
	p.batch.Reset()
	return p
}

// give sends a piece to the parsers and the queue. It returns false if the context has ended.
func (m *mill) give(ctx context.Context, p *piece, queue chan<- *piece, err error) bool {
	p.err = err
	select {
	case m.work <- p:
	case <-ctx.Done():
		return false
	}
	select {
	case queue <- p:
		return true
	case <-ctx.Done():
		return false
	}
}
