// Package traffic turns the lines of an access log into events of clients, and
// keeps what is needed of them: the most that each client had in any rolling
// period, exactly, and a compact history that can be replayed.
package traffic

// Event is a request as it leaves the parser: who and when, and no text.
type Event struct {
	Time  int64  // µs since the Unix epoch
	Hash  uint64 // of the key
	Key   uint32 // where the key begins in Batch.Keys
	Bytes uint16 // how long the key is
	Traits
}

// Traits are what is kept of a request for telling the kind of its client.
type Traits uint8

// What is kept.
const (
	Asset Traits = 1 << iota // a style sheet, a script, an image, a font
	Fault                    // answered 400 or more
)

// Batch is what a piece of a log holds.
type Batch struct {
	Events []Event
	Keys   []byte

	Lines     int
	Passed    int // lines that are no requests
	Filtered  int // requests that the filters have taken out
	Hostless  int // of these, the ones without a host that was asked for
	Named     int // requests that have the field that tells the client
	Faults    int // lines that cannot be read
	Throttled int // requests that were answered 429
	Robots
	Reasons map[error]int
	First   []BadLine // the first of these lines
}

// BadLine is a line that cannot be read.
type BadLine struct {
	Line   int // counted from 1
	Reason error
	Text   string // its beginning
}

const (
	keptFaults = 5   // a batch
	shownBytes = 160 // of a line
	maxKey     = 1<<16 - 1
)

// Reset makes a batch ready for the next piece.
func (b *Batch) Reset() {
	*b = Batch{Events: b.Events[:0], Keys: b.Keys[:0], First: b.First[:0]}
}

// Reject counts a line that cannot be read. Lines must have been counted with it.
func (b *Batch) Reject(line []byte, reason error) {
	b.Faults++
	if b.Reasons == nil {
		b.Reasons = map[error]int{}
	}
	b.Reasons[reason]++
	if len(b.First) < keptFaults {
		b.First = append(b.First, BadLine{b.Lines, reason, string(line[:min(len(line), shownBytes)])})
	}
}

// KeyOf is the key of an event.
func (b *Batch) KeyOf(e *Event) []byte { return b.Keys[e.Key : e.Key+uint32(e.Bytes)] }
