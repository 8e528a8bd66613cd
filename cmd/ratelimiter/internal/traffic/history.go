package traffic

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
)

// History keeps who came when, in order of time, in about three bytes an event.
// The first 64 MiB stay in memory, the rest goes to a temporary file, so that
// memory does not grow with the log. Events are added by one goroutine; cursors
// may read at the same time in that goroutine, and in others when all are added.
type History struct {
	pieces [][]byte // those in memory
	inside int      // how many may be
	file   *os.File
	gone   bool  // the file has no name any more
	sizes  []int // of the pieces in the file
	tail   []byte
	time   int64
	fault  atomic.Pointer[error]

	// Events is how many there are.
	Events int64
}

const (
	pieceBytes    = 256 << 10
	piecesInside  = 64 << 20 / pieceBytes
	longestRecord = 2 * binary.MaxVarintLen64
)

// NewHistory makes an empty history.
func NewHistory() *History {
	return &History{tail: make([]byte, 0, pieceBytes), inside: piecesInside}
}

// Add appends an event, which must not be older than the last one.
//
// An event is its client, doubled, plus one if time has passed since the event
// before; how much follows then.
func (h *History) Add(time int64, id uint32) {
	if len(h.tail)+longestRecord > pieceBytes {
		h.seal()
	}
	passed := time - h.time
	if passed == 0 {
		h.tail = binary.AppendUvarint(h.tail, uint64(id)<<1)
	} else {
		h.tail = binary.AppendUvarint(h.tail, uint64(id)<<1|1)
		h.tail = binary.AppendUvarint(h.tail, uint64(passed))
		h.time = time
	}
	h.Events++
}

// seal puts the tail away. Cursors may still hold it, so it is not used again.
func (h *History) seal() {
	if len(h.pieces) < h.inside {
		h.pieces = append(h.pieces, h.tail)
	} else if h.Err() == nil {
		if err := h.write(); err != nil {
			h.fault.Store(&err)
		}
	}
	h.tail = make([]byte, 0, pieceBytes)
}

func (h *History) write() (err error) {
	if h.file == nil {
		if h.file, err = os.CreateTemp("", "ratelimiter-plan-*"); err != nil {
			return fmt.Errorf("the history of the log needs a temporary file: %w", err)
		}
		// Where an open file can be removed, nothing is left of it even after a crash.
		h.gone = os.Remove(h.file.Name()) == nil
	}
	if _, err := h.file.WriteAt(h.tail, int64(len(h.sizes))*pieceBytes); err != nil {
		return fmt.Errorf("the history of the log cannot be written: %w", err)
	}
	h.sizes = append(h.sizes, len(h.tail))
	return nil
}

// Err is what has gone wrong with the temporary file.
func (h *History) Err() error {
	if err := h.fault.Load(); err != nil {
		return *err
	}
	return nil
}

// Close removes the temporary file.
func (h *History) Close() error {
	if h.file == nil {
		return nil
	}
	if err := h.file.Close(); err != nil || h.gone {
		return err
	}
	return os.Remove(h.file.Name())
}

// Cursor reads a history from its beginning.
type Cursor struct {
	history *History
	piece   int
	sealed  bool // buf is the whole piece
	buf     []byte
	at      int
	own     []byte // memory for pieces of the file

	Time int64 // of the event that Next has found
	ID   uint32
}

// Cursor begins to read.
func (h *History) Cursor() *Cursor { return &Cursor{history: h} }

// Next goes on to the next event; false means that there is none yet.
func (c *Cursor) Next() bool {
	if c.at >= len(c.buf) && !c.load() {
		return false
	}
	word, n := uint64(c.buf[c.at]), 1
	if word >= 0x80 {
		word, n = binary.Uvarint(c.buf[c.at:])
	}
	c.at += n
	c.ID = uint32(word >> 1)
	if word&1 != 0 {
		passed, n := binary.Uvarint(c.buf[c.at:])
		c.at += n
		c.Time += int64(passed)
	}
	return true
}

// load finds bytes that were not read yet.
func (c *Cursor) load() bool {
	h := c.history
	for c.piece < len(h.pieces)+len(h.sizes) {
		if c.sealed && c.at >= len(c.buf) {
			c.piece, c.at, c.sealed, c.buf = c.piece+1, 0, false, nil
			continue
		}
		c.buf, c.sealed = h.read(c.piece, &c.own), true
		if c.at < len(c.buf) {
			return true
		}
	}
	c.buf = h.tail
	return c.at < len(c.buf)
}

// read returns a piece that was put away.
func (h *History) read(piece int, own *[]byte) []byte {
	if piece < len(h.pieces) {
		return h.pieces[piece]
	}
	piece -= len(h.pieces)
	if *own == nil {
		*own = make([]byte, pieceBytes)
	}
	buf := (*own)[:h.sizes[piece]]
	if _, err := h.file.ReadAt(buf, int64(piece)*pieceBytes); err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("the history of the log cannot be read back: %w", err)
		h.fault.Store(&err)
		return nil
	}
	return buf
}
