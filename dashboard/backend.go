package dashboard

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// finest is the shift to the smallest step of a histogram, 64 ns.
const finest = 6

// histogram counts times in steps that are an eighth to a quarter of the time wide, from
// 64 ns to 17 s: four steps between a power of two and the next.
type histogram [108]uint64

func step(took time.Duration) int {
	units := uint64(max(took, 0)) >> finest
	if units < 4 {
		return int(units)
	}
	power := bits.Len64(units) - 1
	return min((power-1)*4+int(units>>(power-2)&3), len(histogram{})-1)
}

// endOf is the time that a step ends with.
func endOf(step int) time.Duration {
	if step < 4 {
		return time.Duration(step+1) << finest
	}
	return time.Duration(step%4+5) << (step/4 - 1 + finest)
}

// quantile is the time that the share of all were at most, as the end of its step.
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

// backendSecond is how the backend did in a second or a quarter of a minute: times in
// units of 100 ns, and how many questions this process has decided by itself.
type backendSecond struct{ median, p99, fallbacks uint32 }

func (h *histogram) summary(fallbacks uint64) backendSecond {
	units := func(share float64) uint32 { return uint32((h.quantile(share) + 99) / 100) }
	return backendSecond{units(0.5), units(0.99), uint32(min(fallbacks, 1<<31))}
}

// backendSeries is what is remembered of the backend.
type backendSeries struct {
	took      [len(histogram{})]atomic.Uint64
	fallbacks atomic.Uint64

	// The rest is guarded by record.mu.
	moved          histogram // what of took is in the rings
	movedFallbacks uint64
	inSecond       histogram // of the last second, which may be moved in parts
	inSecondFalls  uint64
	inQuarter      histogram // of the quarter that is not over
	inQuarterFalls uint64
	seconds        [minutesSeconds]backendSecond
	quarters       [quarterPlaces]backendSecond
}

func (b *backendSeries) add(took time.Duration, fallback bool) {
	b.took[step(took)].Add(1)
	if fallback {
		b.fallbacks.Add(1)
	}
}

// move counts what is new to a second; last is the one that was counted before.
func (b *backendSeries) move(last, second int64) {
	if last != second {
		b.inSecond, b.inSecondFalls = histogram{}, 0
	}
	if last/quarter != second/quarter {
		b.inQuarter, b.inQuarterFalls = histogram{}, 0
	}
	for i := range b.took {
		all := b.took[i].Load()
		fresh := all - b.moved[i]
		b.inSecond[i] += fresh
		b.inQuarter[i] += fresh
		b.moved[i] = all
	}
	all := b.fallbacks.Load()
	fallbacks := all - b.movedFallbacks
	b.inSecondFalls += fallbacks
	b.inQuarterFalls += fallbacks
	b.movedFallbacks = all
	b.seconds[second%minutesSeconds] = b.inSecond.summary(b.inSecondFalls)
	b.quarters[second/quarter%quarterPlaces] = b.inQuarter.summary(b.inQuarterFalls)
}

// restart empties the rings.
func (b *backendSeries) restart() {
	clear(b.seconds[:])
	clear(b.quarters[:])
	b.inSecond, b.inSecondFalls = histogram{}, 0
	b.inQuarter, b.inQuarterFalls = histogram{}, 0
}
