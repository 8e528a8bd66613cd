package stream

import (
	"cmp"
	"slices"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/traffic"
)

// order puts requests in order that are not far out of it. Servers write a line
// when a request ends, and into it the time when it began. Requests wait, sorted
// by their second, until one comes that is a whole distance later.
//
// Where logs have their newest lines first, no distance is enough: all requests
// wait until the end.
type order struct {
	whole    bool // sort everything
	all      []waiter
	ahead    int   // of all, left out for a wrong clock
	distance int64 // seconds
	emit     func(now int64, id uint32, traits traffic.Traits)
	begun    bool
	next     int64      // the first second that was not passed on
	newest   int64      // the latest second seen
	latest   int64      // the latest time seen, µs
	seconds  [][]waiter // a ring
	late     int
	worst    int64 // µs
}

type waiter struct {
	time   int64
	id     uint32
	traits traffic.Traits
}

func newOrder(distance time.Duration, emit func(int64, uint32, traffic.Traits)) *order {
	seconds := int64((distance + time.Second - 1) / time.Second)
	return &order{distance: seconds, emit: emit, seconds: make([][]waiter, seconds+1)}
}

const micros = 1_000_000 // in a second

// reach is how far requests may be out of order, µs.
func (o *order) reach() int64 { return o.distance * micros }

// admits tells whether a request can still be put in order, and counts it if not.
func (o *order) admits(now int64) bool {
	if o.whole || !o.begun || now/micros >= o.next {
		return true
	}
	o.late++
	o.worst = max(o.worst, o.latest-now)
	return false
}

// add takes a request that was admitted.
func (o *order) add(now int64, id uint32, traits traffic.Traits) {
	if o.whole {
		o.all = append(o.all, waiter{now, id, traits})
		return
	}
	second := now / micros
	if !o.begun {
		o.begun, o.next, o.newest = true, second-o.distance, second
	}
	if second > o.newest {
		o.advance(second)
	}
	o.latest = max(o.latest, now)
	slot := &o.seconds[o.place(second)]
	*slot = append(*slot, waiter{now, id, traits})
}

func (o *order) place(second int64) int {
	ring := int64(len(o.seconds))
	return int((second%ring + ring) % ring)
}

// advance makes a later second the newest.
func (o *order) advance(second int64) {
	until := second - o.distance
	for ; o.next < until && o.next <= o.newest; o.next++ {
		o.pass(o.next)
	}
	o.next = max(o.next, until)
	o.newest = second
}

// pass hands a second on.
func (o *order) pass(second int64) {
	slot := &o.seconds[o.place(second)]
	if !slices.IsSortedFunc(*slot, byTime) {
		slices.SortStableFunc(*slot, byTime)
	}
	for _, w := range *slot {
		o.emit(w.time, w.id, w.traits)
	}
	*slot = (*slot)[:0]
}

func byTime(a, b waiter) int { return cmp.Compare(a.time, b.time) }

// flush hands on all that waits.
func (o *order) flush() {
	slices.SortStableFunc(o.all, byTime)
	end := o.strayFrom()
	o.ahead = len(o.all) - end
	for _, w := range o.all[:end] {
		o.emit(w.time, w.id, w.traits)
	}
	if !o.begun {
		return
	}
	for ; o.next <= o.newest; o.next++ {
		o.pass(o.next)
	}
}

// strayFrom is where those begin, of all requests in order, that a wrong clock has
// dated far ahead of all others: a few, behind a long time without any.
func (o *order) strayFrom() int {
	end := len(o.all)
	for i := end - 1; i > 0 && (len(o.all)-i)*strayShare <= len(o.all); i-- {
		if o.all[i].time-o.all[i-1].time > farLeap {
			end = i
		}
	}
	return end
}

// strayShare: one request of so many may be dated by a wrong clock.
const strayShare = 100
