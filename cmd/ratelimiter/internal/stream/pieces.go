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

// piece is some lines of a log, and when done is closed, what they say.
type piece struct {
	source *source
	text   []byte
	batch  traffic.Batch
	done   chan struct{}
	err    error // the log ends here, too early
}

const (
	pieceBytes  = 512 << 10
	longestLine = 16 << 20
	aheadPieces = 6 // of one log that are read before they are needed
)

// mill reads pieces of logs and has them parsed by several goroutines.
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

// parse is what each of the goroutines does.
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

// digest reads every line of a text.
func digest(text []byte, parser accesslog.Parser, lens *traffic.Lens, b *traffic.Batch) {
	var record accesslog.Record
	for len(text) > 0 {
		line := text
		if end := bytes.IndexByte(text, '\n'); end >= 0 {
			line, text = text[:end], text[end+1:]
		} else {
			text = nil
		}
		if len(line) > 0 && line[len(line)-1] == '\r' {
			line = line[:len(line)-1]
		}
		b.Lines++
		switch err := parser.Parse(line, &record); {
		case err == nil:
			lens.Look(&record, b)
		case !errors.Is(err, accesslog.ErrNoRequest):
			b.Reject(line, err)
		}
	}
}

// feed cuts a log into pieces at ends of lines and hands them to the parsers, and
// in their order to the queue. It ends with the log or with the context.
func (m *mill) feed(ctx context.Context, s *source, queue chan<- *piece) {
	defer close(queue)
	reader, closer, err := s.open(m.read)
	if err != nil {
		m.give(ctx, m.newPiece(s), queue, err)
		return
	}
	defer func() { _ = closer.Close() }() // it was only read
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

// fill reads until a piece is full, and tells where its last line ends. At the
// end of the log the error is io.EOF.
func fill(reader io.Reader, p *piece) (full int, err error) {
	for {
		if len(p.text) == cap(p.text) {
			if last := bytes.LastIndexByte(p.text, '\n'); last >= 0 {
				return last + 1, nil
			}
			if len(p.text) >= longestLine {
				return 0, fmt.Errorf("a line is longer than %d MiB, so this is hardly a log", longestLine>>20)
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

// give hands a piece on. It is false when nobody wants it any more.
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
