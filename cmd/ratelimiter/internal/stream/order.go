package stream

import (
	"cmp"
	"slices"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/traffic"
)

// order sorts requests that are slightly out of order: servers write a line when a request
// ends, but log the time of its start. Requests wait, grouped by second, until a request
// arrives that is later by the distance.
//
// If a log has its newest line first, all requests wait until the end.
type order struct {
	whole    bool // sort everything
	all      []waiter
	ahead    int   // requests in all that are ignored because of a wrong clock
	distance int64 // seconds
	emit     func(now int64, id uint32, traits traffic.Traits)
	begun    bool
	next     int64      // the first second that is not yet emitted
	newest   int64      // the latest second seen
	latest   int64      // the latest time seen, µs
	seconds  [][]waiter // a ring buffer
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

// reach is the largest time by which requests may be out of order, in µs.
func (o *order) reach() int64 { return o.distance * micros }

// admits reports whether a request can still be sorted, and counts it if not.
func (o *order) admits(now int64) bool {
	if o.whole || !o.begun || now/micros >= o.next {
		return true
	}
	o.late++
	o.worst = max(o.worst, o.latest-now)
	return false
}

// add adds an admitted request.
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

// advance emits the seconds that are complete once a later second is the newest.
func (o *order) advance(second int64) {
	until := second - o.distance
	for ; o.next < until && o.next <= o.newest; o.next++ {
		o.pass(o.next)
	}
	o.next = max(o.next, until)
	o.newest = second
}

// pass emits the requests of a second.
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

// flush emits all waiting requests.
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

// strayFrom is the index of the first request that a wrong clock has dated far ahead of all
// others: the last few requests, after a long gap.
func (o *order) strayFrom() int {
	end := len(o.all)
	for i := end - 1; i > 0 && (len(o.all)-i)*strayShare <= len(o.all); i-- {
		if o.all[i].time-o.all[i-1].time > farLeap {
			end = i
		}
	}
	return end
}

// strayShare: at most one request in so many may be dated by a wrong clock.
const strayShare = 100
