package backends

import (
	"github.com/gin-ratelimiter/ratelimiter/internal/window"
)

// words are the state of one limit as a table keeps it. Zero words are a state
// that was never charged.
type words [2]uint64

// packing puts the states of one algorithm and period into words and reads them
// again. Only the cells of a sliding log live outside, and the first word is
// their number.
type packing struct {
	algorithm Algorithm
	per       int64 // µs
	base      int64 // of sliding windows: their numbers are counted from here
	logs      []window.Log
	unusedLog []uint64
}

// A sliding window is packed as the number of its period in 40 bits and two
// counters of 44 bits: 17 years to either side of base, at the shortest period.
const (
	counterBits = 44
	indexBits   = 2*64 - 2*counterBits
)

func newPacking(algorithm Algorithm, per, now int64) packing {
	return packing{
		algorithm: algorithm, per: per,
		base: max(0, now/per-1<<(indexBits-1)),
		logs: make([]window.Log, 1), // number 0 is an empty log, for zero words
	}
}

// logged tells whether the states are sliding logs, which do not fit into words.
func (p *packing) logged() bool { return p.algorithm == SlidingLog || p.algorithm == strikes }

// indexOf is the number of the period that begins at start.
func (p *packing) indexOf(start int64) uint64 { return uint64(start/p.per - p.base) }

func packSliding(index uint64, s window.Sliding) words {
	previous, current := uint64(s.Previous), uint64(s.Current)
	return words{index<<(64-indexBits) | previous>>(counterBits-(64-indexBits)), previous<<counterBits | current}
}

func (p *packing) unpackSliding(w words) window.Sliding {
	const mask = 1<<counterBits - 1
	previous := (w[0]<<(counterBits-(64-indexBits)) | w[1]>>counterBits) & mask
	return window.Sliding{
		Start:    (int64(w[0]>>(64-indexBits)) + p.base) * p.per,
		Previous: int64(previous),
		Current:  int64(w[1] & mask),
	}
}

// state is what a table knows of one limit, ready to be charged.
type state struct {
	words words
	log   window.Log
}

// load reads a state. Charging it may change the cells of a log in place.
func (p *packing) load(w words, s *state) {
	s.words = w
	if p.logged() {
		s.log = p.logs[w[0]]
	}
}

// take lets the algorithm decide, and leaves the new state in s.
func (p *packing) take(now int64, s *state, c window.Charge) window.Verdict {
	switch p.algorithm {
	case FixedWindow:
		next, v := window.Fixed{Start: int64(s.words[0]), Count: int64(s.words[1])}.Take(now, c)
		s.words = words{uint64(next.Start), uint64(next.Count)}
		return v
	case TokenBucket:
		next, v := window.Bucket{TAT: int64(s.words[0]), Frac: int64(s.words[1])}.Take(now, c)
		s.words = words{uint64(next.TAT), uint64(next.Frac)}
		return v
	case SlidingLog:
		next, v := s.log.Take(now, c)
		s.log = next
		return v
	case strikes:
		next, v := window.Strikes{Log: s.log}.Take(now, c)
		s.log = next.Log
		return v
	default:
		old := p.unpackSliding(s.words)
		next, v := old.Take(now, c)
		index := s.words[0] >> (64 - indexBits)
		if next.Start != old.Start { // a division, which is slow, and rare
			index = p.indexOf(next.Start)
		}
		s.words = packSliding(index, next)
		return v
	}
}

// expires is when a state means nothing any more.
func (p *packing) expires(w words) int64 {
	switch p.algorithm {
	case FixedWindow:
		return window.Fixed{Start: int64(w[0]), Count: int64(w[1])}.Expires(p.per)
	case SlidingLog, strikes:
		return p.logs[w[0]].Expires(p.per)
	case TokenBucket:
		return window.Bucket{TAT: int64(w[0]), Frac: int64(w[1])}.Expires()
	default:
		return p.unpackSliding(w).Expires(p.per)
	}
}

// used measures how much of its limit a state has used, to compare it with
// others of the same table. The token bucket measures in time, the others in
// units.
func (p *packing) used(now int64, w words) uint64 {
	if p.algorithm == TokenBucket {
		return w[0]
	}
	var s state
	p.load(w, &s)
	v := p.take(now, &s, window.Charge{Limit: window.MaxLimit, Per: p.per})
	return uint64(window.MaxLimit - v.Remaining)
}

// keep packs a state that takes the place of the one in old; zero words if it is
// a new one.
func (p *packing) keep(old words, s *state) words {
	if !p.logged() {
		return s.words
	}
	number := old[0]
	if number == 0 {
		if last := len(p.unusedLog) - 1; last >= 0 {
			number, p.unusedLog = p.unusedLog[last], p.unusedLog[:last]
		} else {
			number = uint64(len(p.logs))
			p.logs = append(p.logs, window.Log{})
		}
	}
	p.logs[number] = s.log
	return words{number}
}

// release gives up what a state keeps outside of its words.
func (p *packing) release(w words) {
	if p.logged() && w[0] != 0 {
		p.logs[w[0]] = window.Log{}
		p.unusedLog = append(p.unusedLog, w[0])
	}
}
