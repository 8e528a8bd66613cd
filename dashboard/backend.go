package dashboard

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// finest is the shift to the smallest step of a histogram, 64 ns.
const finest = 6

// histogram counts durations from 64 ns to 17 s. There are four steps between two powers
// of two, so a step is an eighth to a quarter of the duration wide.
type histogram [108]uint64

func step(took time.Duration) int {
	units := uint64(max(took, 0)) >> finest
	if units < 4 {
		return int(units)
	}
	power := bits.Len64(units) - 1
	return min((power-1)*4+int(units>>(power-2)&3), len(histogram{})-1)
}

// endOf is the duration at the end of a step.
func endOf(step int) time.Duration {
	if step < 4 {
		return time.Duration(step+1) << finest
	}
	return time.Duration(step%4+5) << (step/4 - 1 + finest)
}

func (h *histogram) add(more *histogram) {
	for i, n := range more {
		h[i] += n
	}
}

// quantile is the duration that a share of all did not exceed, rounded up to the end of
// its step, and 0 if there was none.
func (h *histogram) quantile(share float64) time.Duration {
	var all, below uint64
	for _, n := range h {
		all += n
	}
	if all == 0 {
		return 0
	}
	for i, n := range h {
		if below += n; float64(below) >= share*float64(all) {
			return endOf(i)
		}
	}
	return endOf(len(h) - 1)
}

// latency is p50 and p99 in units of 100 ns; 0 if there was no call.
type latency struct{ p50, p99 uint32 }

func (h *histogram) latency() latency {
	units := func(share float64) uint32 { return uint32((h.quantile(share) + 99) / 100) }
	return latency{units(0.5), units(0.99)}
}

// micros is the latency as a page gets it, in microseconds.
func (l latency) micros() [2]float64 { return [2]float64{float64(l.p50) / 10, float64(l.p99) / 10} }

// backendSeries is the history of the backend.
type backendSeries struct {
	took      [len(histogram{})]atomic.Uint64
	fallbacks atomic.Uint64 // decisions in memory, because the backend failed

	// record.mu guards the rest.
	moved          histogram // the part of took that is in the rings
	movedFallbacks uint64
	recent         [mean]histogram // of the last seconds
	fellBack       [mean]uint64    // fallbacks in them
	current        histogram       // of the interval in progress
	seconds        [shownSeconds]latency
	intervals      [intervalsKept]latency
}

func (b *backendSeries) add(took time.Duration, fallback bool) {
	b.took[step(took)].Add(1)
	if fallback {
		b.fallbacks.Add(1)
	}
}

// move adds new counts to a second; last is the second that was moved before. It reports
// whether the backend failed in this second.
func (b *backendSeries) move(last, second int64) (failed bool) {
	clearBetween(b.recent[:], last, second)
	clearBetween(b.fellBack[:], last, second)
	clearBetween(b.seconds[:], last, second)
	clearBetween(b.intervals[:], last/interval, second/interval)
	if last/interval != second/interval {
		b.current = histogram{}
	}
	for i := range b.took {
		all := b.took[i].Load()
		fresh := all - b.moved[i]
		b.recent[second%mean][i] += fresh
		b.current[i] += fresh
		b.moved[i] = all
	}
	all := b.fallbacks.Load()
	b.fellBack[second%mean] += all - b.movedFallbacks
	b.movedFallbacks = all
	var lately histogram
	for i := range b.recent {
		lately.add(&b.recent[i])
	}
	b.seconds[second%shownSeconds] = lately.latency()
	b.intervals[second/interval%intervalsKept] = b.current.latency()
	return b.fellBack[second%mean] > 0
}

// fallbackRate is how many decisions a second were made in memory, because the backend failed.
func (b *backendSeries) fallbackRate(seconds int64) float64 {
	var sum uint64
	for _, n := range b.fellBack {
		sum += n
	}
	return float64(sum) / float64(seconds)
}

// restart empties the rings.
func (b *backendSeries) restart() {
	clear(b.recent[:])
	clear(b.fellBack[:])
	clear(b.seconds[:])
	clear(b.intervals[:])
	b.current = histogram{}
}
