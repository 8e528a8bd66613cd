package backends

import (
	"slices"

	"github.com/gin-ratelimiter/ratelimiter/internal/window"
)

// words is the state of one limit as stored in a table: two numbers, which Go keeps in
// registers. The zero value is a state that was never charged.
type words struct{ a, b uint64 }

// codec encodes the states of one algorithm and period as words, and decides charges on
// them. The cells of a sliding log do not fit: they are kept in logs, and the first word is
// the index.
type codec struct {
	id   counterID
	base int64 // sliding windows are numbered from here
	logs []window.Log
	// unusedLogs are free indices of logs, and spareCells is memory for new ones.
	unusedLogs []uint64
	spareCells [][]window.Cell
}

// maxSpares is how many quotas of a Take can use logs of one table before cloning them
// allocates memory.
const maxSpares = 4

// A sliding window is encoded as the number of its period in 40 bits and two counters of 44
// bits. With the shortest period, that covers 17 years on either side of base.
const (
	counterBits = 44
	indexBits   = 2*64 - 2*counterBits
)

func newCodec(id counterID, now int64) codec {
	return codec{
		id:   id,
		base: max(0, now/id.per-1<<(indexBits-1)),
		logs: make([]window.Log, 1), // index 0 is an empty log, for zero words
	}
}

// usesLog reports whether states are logs, which do not fit into words.
func (c *codec) usesLog() bool { return c.id.algorithm == SlidingLog || c.id.algorithm == rejections }

func encodeSliding(index uint64, s window.Sliding) words {
	previous, current := uint64(s.Previous), uint64(s.Current)
	return words{index<<(64-indexBits) | previous>>(counterBits-(64-indexBits)), previous<<counterBits | current}
}

func (c *codec) decodeSliding(w words) window.Sliding {
	const mask = 1<<counterBits - 1
	previous := (w.a<<(counterBits-(64-indexBits)) | w.b>>counterBits) & mask
	return window.Sliding{
		Start:    (int64(w.a>>(64-indexBits)) + c.base) * c.id.per,
		Previous: int64(previous),
		Current:  int64(w.b & mask),
	}
}

// A calendar window is encoded as its start, its length and a counter. Start and length are
// whole seconds, as all clock changes are. A year has less than 2^25 of them.
const lengthBits = 25

func encodeCalendar(s window.Calendar) words {
	const second = 1_000_000
	return words{uint64(s.Start/second)<<lengthBits | uint64((s.End-s.Start)/second), uint64(s.Count)}
}

func decodeCalendar(w words) window.Calendar {
	const second, mask = 1_000_000, 1<<lengthBits - 1
	start := int64(w.a>>lengthBits) * second
	return window.Calendar{Start: start, End: start + int64(w.a&mask)*second, Count: int64(w.b)}
}

// decide decides a charge and returns the next state. Logs are changed in place: clone w
// first to keep it.
func (c *codec) decide(now int64, w words, charge *window.Charge) (words, window.Verdict) {
	switch c.id.algorithm {
	case FixedWindow:
		next, v := window.Fixed{Start: int64(w.a), Count: int64(w.b)}.Take(now, charge)
		return words{uint64(next.Start), uint64(next.Count)}, v
	case calendar:
		next, v := decodeCalendar(w).Take(now, charge)
		return encodeCalendar(next), v
	case TokenBucket:
		next, v := window.Bucket{TAT: int64(w.a), Frac: int64(w.b)}.Take(now, charge)
		return words{uint64(next.TAT), uint64(next.Frac)}, v
	case SlidingLog:
		next, v := c.logs[w.a].Take(now, charge)
		return c.storeLog(w, next), v
	case rejections:
		next, v := window.Rejections{Log: c.logs[w.a]}.Take(now, charge)
		return c.storeLog(w, next.Log), v
	default:
		old := c.decodeSliding(w)
		next, v := old.Take(now, charge)
		index := w.a >> (64 - indexBits)
		if next.Start != old.Start { // a division is slow, and rarely needed
			index = uint64(next.Start/c.id.per - c.base)
		}
		return encodeSliding(index, next), v
	}
}

// storeLog stores a log at the index in w, or at a new one.
func (c *codec) storeLog(w words, log window.Log) words {
	if w.a == 0 {
		if len(log.Cells) == 0 {
			return words{}
		}
		w.a = c.newLogNumber()
	}
	c.logs[w.a] = log
	return w
}

// newLogNumber returns a free index.
func (c *codec) newLogNumber() uint64 {
	if last := len(c.unusedLogs) - 1; last >= 0 {
		number := c.unusedLogs[last]
		c.unusedLogs = c.unusedLogs[:last]
		return number
	}
	c.logs = append(c.logs, window.Log{})
	return uint64(len(c.logs) - 1)
}

// fresh returns a state that was never charged.
func (c *codec) fresh() words {
	if c.usesLog() {
		return c.cloneLog(words{})
	}
	return words{}
}

// clone returns a copy of a state that can be charged independently.
func (c *codec) clone(w words) words {
	if c.usesLog() {
		return c.cloneLog(w)
	}
	return w
}

// cloneLog reuses the memory of a released log, if there is any.
func (c *codec) cloneLog(w words) words {
	last := len(c.spareCells) - 1
	if last < 0 {
		return c.storeLog(words{}, window.Log{Cells: slices.Clone(c.logs[w.a].Cells)})
	}
	spare := c.spareCells[last]
	c.spareCells = c.spareCells[:last]
	number := c.newLogNumber()
	spare = append(spare, c.logs[w.a].Cells...)
	c.logs[number].Cells = spare
	return words{a: number}
}

// release frees a state that is no longer needed.
func (c *codec) release(w words) {
	if c.usesLog() && w.a != 0 {
		c.releaseLog(w.a)
	}
}

func (c *codec) releaseLog(number uint64) {
	if len(c.spareCells) < maxSpares {
		c.spareCells = append(c.spareCells, c.logs[number].Cells[:0])
	}
	c.logs[number] = window.Log{}
	c.unusedLogs = append(c.unusedLogs, number)
}

// expires returns when a state becomes equivalent to a new one.
func (c *codec) expires(w words) int64 {
	switch c.id.algorithm {
	case FixedWindow:
		return window.Fixed{Start: int64(w.a), Count: int64(w.b)}.Expires(c.id.per)
	case calendar:
		return decodeCalendar(w).Expires()
	case SlidingLog, rejections:
		return c.logs[w.a].Expires(c.id.per)
	case TokenBucket:
		return window.Bucket{TAT: int64(w.a), Frac: int64(w.b)}.Expires()
	default:
		return c.decodeSliding(w).Expires(c.id.per)
	}
}

// expired reports whether a state is equivalent to a new one.
func (c *codec) expired(now int64, w words) bool { return c.expires(w) <= now }

// used returns how much of its limit a state has used, for comparing states of the same
// table. The unit is time for token buckets and units for all others.
func (c *codec) used(now int64, w words) uint64 {
	if c.id.algorithm == TokenBucket {
		return w.a
	}
	peek := window.Charge{Limit: window.MaxLimit, Per: c.id.per}
	_, v := c.decide(now, w, &peek)
	return uint64(window.MaxLimit - v.Remaining)
}
