package stream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"sync/atomic"

	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/accesslog"
)

// source is one log: a file, or a stream such as standard input.
type source struct {
	file   *File
	input  io.ReadCloser // of a stream, which cannot be reopened; nil for a file
	format accesslog.Format
	first  int64 // the earliest time among its first lines, µs
	falls  bool  // its first lines go back in time
	head   []byte
	queue  chan *piece

	batch  *piece // current piece of the merger
	at     int
	lines  int      // before the batch
	next   []*piece // read ahead from the queue
	newest int64    // the latest plausible time, µs; 0 before the first
}

// headBytes is the size of the sample for detecting the format.
const headBytes = 64 << 10

// headLines is the largest number of lines in the sample.
const headLines = 100

// open opens the log from its start and unpacks it. read counts the packed bytes.
func (s *source) open(read *atomic.Int64) (io.Reader, io.Closer, error) {
	if s.input != nil {
		return io.MultiReader(bytes.NewReader(s.head), s.input), s.input, nil
	}
	file, err := os.Open(s.file.Name)
	if err != nil {
		return nil, nil, err
	}
	packed := &counted{file, read, 0}
	unpacked, err := openZip(file, packed)
	if unpacked == nil && err == nil {
		unpacked, err = unpack(packed)
	}
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return unpacked, file, nil
}

// counted counts the bytes that are read.
type counted struct {
	io.Reader
	total *atomic.Int64
	own   int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.add(n)
	return n, err
}

func (c *counted) add(n int) {
	c.own += int64(n)
	c.total.Add(int64(n))
}

// look reads the start of a log, and finds its format and its first time.
func (s *source) look(format string, wanted accesslog.Wanted) error {
	if err := s.readHead(); err != nil {
		return err
	}
	sample := bytes.Split(s.head, []byte("\n"))
	if len(sample) > 1 {
		sample = sample[:len(sample)-1] // the last line may be incomplete
	}
	sample = trimLines(sample)
	if len(sample) == 0 {
		s.file.Format = "empty"
		return nil
	}
	var err error
	if format == "" || format == "auto" {
		s.format, err = accesslog.Recognise(sample, wanted)
	} else {
		s.format, err = accesslog.Choose(format, sample, wanted)
	}
	if err != nil {
		return err
	}
	s.file.Format = s.format.Name
	parser := s.format.NewParser()
	var record accesslog.Record
	s.first = math.MaxInt64
	var times []int64
	for _, line := range sample {
		if parser.Parse(line, &record) == nil {
			s.first = min(s.first, record.Time)
			times = append(times, record.Time)
		}
	}
	s.falls = fall(times)
	return nil
}

// fall reports whether times nearly always decrease, as in a log with its newest line first.
func fall(times []int64) bool {
	back, forth := 0, 0
	for i := range times[:max(0, len(times)-1)] {
		switch next := times[i+1]; {
		case next < times[i]:
			back++
		case next > times[i]:
			forth++
		}
	}
	return back > 1 && back > 9*forth
}

func (s *source) readHead() error {
	var uncounted atomic.Int64
	reader, closer, err := s.open(&uncounted)
	if err != nil {
		return err
	}
	head := make([]byte, headBytes)
	n, err := io.ReadFull(reader, head)
	s.head = head[:n]
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) && n > 0 {
		err = nil // a short log; reading it reports other errors
	}
	if s.input != nil {
		return err
	}
	return errors.Join(err, closer.Close())
}

// trimLines returns the first lines that are not empty, without line ends.
func trimLines(lines [][]byte) [][]byte {
	var kept [][]byte
	for _, line := range lines {
		if line = clean(line); len(line) > 0 && len(kept) < headLines {
			kept = append(kept, line)
		}
	}
	return kept
}

// newSources samples all logs before the first is read.
func newSources(o *Options, tally *Tally) ([]*source, error) {
	var sources []*source
	for _, name := range o.Names {
		s := &source{file: &File{Name: name}}
		err := s.openStream(o)
		if err == nil {
			err = s.look(o.Format, o.Wanted)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", shownName(name), err)
		}
		tally.Files = append(tally.Files, s.file)
		sources = append(sources, s)
	}
	return sources, nil
}

// openStream opens a log that is not a regular file, such as a pipe, and cannot be read
// twice.
func (s *source) openStream(o *Options) error {
	var stream io.ReadCloser
	if s.file.Name == "-" {
		stream = io.NopCloser(o.Stdin)
	} else {
		info, err := os.Stat(s.file.Name)
		if err != nil || info.Mode().IsRegular() {
			return err
		}
		if stream, err = os.Open(s.file.Name); err != nil {
			return err
		}
	}
	unpacked, err := unpack(&counted{stream, &o.Read, 0})
	s.input = struct {
		io.Reader
		io.Closer
	}{unpacked, stream}
	return err
}

func shownName(name string) string {
	if name == "-" {
		return "standard input"
	}
	return name
}
