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

	smallText = 256 << 10
	sampled   = 32
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
	weight := 1 // of a line that is looked at for robots
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

// inSample chooses one line in so many, without a rhythm that a log could have as
// well: the multiples of the golden ratio are spread evenly.
func inSample(line int) bool {
	const golden = 2654435769 // of 1<<32
	return uint32(line)*golden < (1<<32)/sampled
}

// clean takes off what is no part of a line: the end of a line of Windows, the
// mark before UTF-8 where logs were joined, and the NULs that are left where a
// server went on writing into a truncated file. A line of NULs alone is nil.
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

// isUnclean tells whether clean has anything to do.
func isUnclean(line []byte) bool {
	last := line[len(line)-1]
	return last == '\r' || last == 0 || line[0] == 0 || line[0] == 0xef
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
			if len(bytes.TrimLeft(p.text, "\x00")) == 0 { // a hole in a file
				p.text = p.text[:0]
				continue
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
