package traffic

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
)

// History stores the client and time of each event, in order of time, in about three bytes
// per event. The first 64 MiB stay in memory and the rest goes to a temporary file, so memory
// does not grow with the log. One goroutine adds events. Its own cursors may read at the same
// time; cursors of other goroutines may read after all events are added.
type History struct {
	pieces [][]byte // in memory
	inside int      // the most pieces in memory
	file   *os.File
	gone   bool  // the name of the file is already removed
	sizes  []int // of the pieces in the file
	tail   []byte
	time   int64
	fault  atomic.Pointer[error]

	// Events is the number of events.
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
// The encoding is twice the client, plus one if time has passed since the previous event. The
// elapsed time follows in that case.
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

// seal stores the tail. Cursors may still read it, so its buffer is not reused.
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
		// If an open file can be removed, nothing remains even after a crash.
		h.gone = os.Remove(h.file.Name()) == nil
	}
	if _, err := h.file.WriteAt(h.tail, int64(len(h.sizes))*pieceBytes); err != nil {
		return fmt.Errorf("the history of the log could not be written: %w", err)
	}
	h.sizes = append(h.sizes, len(h.tail))
	return nil
}

// Err returns an error of the temporary file.
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

// Cursor reads a history from its start.
type Cursor struct {
	history *History
	piece   int
	sealed  bool // buf is the whole piece
	buf     []byte
	at      int
	own     []byte // buffer for pieces of the file

	Time int64 // of the current event
	ID   uint32
}

// Cursor returns a new cursor.
func (h *History) Cursor() *Cursor { return &Cursor{history: h} }

// Next advances to the next event. It returns false if there is none yet.
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

// load finds the next unread bytes.
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

// read returns a stored piece.
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
		err = fmt.Errorf("the history of the log could not be read back: %w", err)
		h.fault.Store(&err)
		return nil
	}
	return buf
}
