// Package traffic turns the lines of an access log into events of clients. It keeps the exact
// maximum of each client in any rolling period, and a compact history for replays.
package traffic

// Event is a parsed request: client and time, without text.
type Event struct {
	Time  int64  // µs since the Unix epoch
	Hash  uint64 // of the key
	Key   uint32 // start of the key in Batch.Keys
	Bytes uint16 // length of the key
	Traits
}

// Traits are the properties of a request that determine the kind of its client.
type Traits uint8

// The properties.
const (
	Asset Traits = 1 << iota // a style sheet, a script, an image, a font
	Fault                    // status 400 or above
)

// Batch is the content of a piece of a log.
type Batch struct {
	Events []Event
	Keys   []byte

	Lines     int
	Passed    int // lines that are not requests
	Filtered  int // requests that the filters exclude
	Hostless  int // of these, requests without a host, if hosts are filtered
	Named     int // requests that have the field of the client
	Faults    int // unreadable lines
	Throttled int // requests with status 429
	Robots
	Reasons map[error]int
	First   []BadLine // the first unreadable lines
}

// BadLine is an unreadable line.
type BadLine struct {
	Line   int // counted from 1
	Reason error
	Text   string // the start of the line
}

const (
	keptFaults = 5   // per batch
	shownBytes = 160 // of a line
	maxKey     = 1<<16 - 1
)

// Reset prepares a batch for the next piece.
func (b *Batch) Reset() {
	*b = Batch{Events: b.Events[:0], Keys: b.Keys[:0], First: b.First[:0]}
}

// Reject counts an unreadable line. Lines must already include it.
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
