package backends

import (
	"slices"

	"github.com/gin-ratelimiter/ratelimiter/internal/window"
)

// words are the state of one limit as a table keeps it: two numbers, which Go
// keeps in registers. Zero words are a state that was never charged.
type words struct{ a, b uint64 }

// codec puts the states of one algorithm and period into words and lets the
// algorithm decide on them. Only the cells of a sliding log live elsewhere, and the
// first word is their number.
type codec struct {
	id   counterID
	base int64 // of sliding windows: their numbers are counted from here
	logs []window.Log
	// unusedLogs are the numbers of logs that nobody has, and spares the memory of a
	// few of them.
	unusedLogs []uint64
	spareCells [][]window.Cell
}

// maxSpares is how many quotas of a Take may have logs in one table before their
// clones allocate memory.
const maxSpares = 4

// A sliding window is encoded as the number of its period in 40 bits and two
// counters of 44 bits: 17 years to either side of base, at the shortest period.
const (
	counterBits = 44
	indexBits   = 2*64 - 2*counterBits
)

func newCodec(id counterID, now int64) codec {
	return codec{
		id:   id,
		base: max(0, now/id.per-1<<(indexBits-1)),
		logs: make([]window.Log, 1), // number 0 is an empty log, for zero words
	}
}

// logged tells whether the states are logs, which do not fit into words.
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

// A calendar window is encoded as its start, its length and a counter. Both are whole
// seconds, as all changes of clocks are; a year has less than 2^25 of them.
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

// decide lets the algorithm decide, and returns the words of the next state. Logs
// are charged in place: clone them before, to keep them as they are.
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
		if next.Start != old.Start { // a division, which is slow, and rare
			index = uint64(next.Start/c.id.per - c.base)
		}
		return encodeSliding(index, next), v
	}
}

// keepLog keeps what a log has become, under a number of its own.
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

// number finds a number for one more log.
func (c *codec) newLogNumber() uint64 {
	if last := len(c.unusedLogs) - 1; last >= 0 {
		number := c.unusedLogs[last]
		c.unusedLogs = c.unusedLogs[:last]
		return number
	}
	c.logs = append(c.logs, window.Log{})
	return uint64(len(c.logs) - 1)
}

// fresh returns words of a state that was never charged.
func (c *codec) fresh() words {
	if c.usesLog() {
		return c.cloneLog(words{})
	}
	return words{}
}

// clone returns words of the same state that may be charged by themselves.
func (c *codec) clone(w words) words {
	if c.usesLog() {
		return c.cloneLog(w)
	}
	return w
}

// cloneLog uses the memory of a log that was released, if there is any.
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

// release gives up words that nobody needs any more.
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

// expires is when a state means nothing any more.
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

// used measures how much of its limit a state has used, to compare it with
// others of the same table. The token bucket measures in time, the others in
// units.
func (c *codec) used(now int64, w words) uint64 {
	if c.id.algorithm == TokenBucket {
		return w.a
	}
	peek := window.Charge{Limit: window.MaxLimit, Per: c.id.per}
	_, v := c.decide(now, w, &peek)
	return uint64(window.MaxLimit - v.Remaining)
}
