package ratelimiter

import (
	"errors"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
)

const (
	maxInLine  = 1000
	maxWaiting = 10_000 // in all lines of a rate limiter
)

// lines are the requests that wait for their turn, see WithWait: one line for all
// that ask for the same counters. The zero value is ready. It is safe for use by
// many goroutines.
type lines struct {
	waiting atomic.Int64 // changes under mu
	mu      sync.Mutex
	known   map[uint64]*line
	closed  bool
}

// line is a line in order of arrival. The first asks the backend, and behind it
// those for whom there was room when it was asked last.
type line struct {
	id      uint64
	waiters []*waiter // never empty, but while it is made
	loads   []load    // of all of them, by limit
	turn    turn      // of the first; zero while that is not known
}

// waiter is a request in line.
type waiter struct {
	asked             []backends.Quota
	arrived, deadline time.Time
	wake              chan struct{} // tells it to look what is next

	// What follows is guarded by lines.mu.
	line  *line  // nil when it is in none
	asks  bool   // it asks the backend now
	ahead []load // when it was turned away, what those before it cost
}

// turn is when a request will be allowed, and which of its limits it waits for.
type turn struct {
	at    time.Time
	limit int
	never bool
}

func (t turn) after(deadline time.Time) bool { return t.never || t.at.After(deadline) }

// errTurnedAway tells that a request cannot have its turn in time.
var errTurnedAway = errors.New("the turn is too far away")

// lineSeed is random, so nobody outside can choose keys whose lines meet.
var lineSeed = maphash.MakeSeed()

// lineOf is the line of those who ask for the same counters, in the same order.
func lineOf(asked []backends.Quota) (id uint64) {
	for i := range asked {
		q := &asked[i]
		id = maphash.Comparable(lineSeed, struct {
			before     uint64
			key, scope string
			algorithm  Algorithm
			per        time.Duration
			shadow     bool
		}{id, q.Key, q.Scope, q.Algorithm, q.Per, q.Shadow})
	}
	return id
}

// none tells whether nobody waits for these limits.
func (ls *lines) none(asked []backends.Quota) bool {
	if ls.waiting.Load() == 0 {
		return true
	}
	id := lineOf(asked)
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return ls.known[id] == nil
}

// join puts a request where it belongs by its arrival: answers of the backend
// overtake each other. It is turned away where it cannot have its turn in time, or
// too many wait. told is zero for one that has not asked yet.
func (ls *lines) join(w *waiter, told turn) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	id := lineOf(w.asked)
	l := ls.known[id]
	if l == nil {
		l = &line{id: id, loads: make([]load, len(w.asked))}
	}
	place := len(l.waiters)
	for place > 0 && l.waiters[place-1].arrived.After(w.arrived) {
		place--
	}
	ahead := l.ahead(place)
	full := len(l.waiters) >= maxInLine || ls.waiting.Load() >= maxWaiting
	if full || slices.ContainsFunc(w.asked, tooMuch) || place > 0 && l.inVain(w, ahead) {
		w.ahead = slices.Clone(ahead)
		return
	}
	if len(l.waiters) == 0 {
		if ls.known == nil {
			ls.known = map[uint64]*line{}
		}
		ls.known[id] = l
	}
	if place == 0 {
		l.turn, w.asks = told, told == turn{}
	}
	w.line = l
	l.waiters = slices.Insert(l.waiters, place, w)
	add(l.loads, w)
	ls.waiting.Add(1)
}

// next tells what a request in line is to do: to ask, or to pause until it is woken
// or the time is over. One that has waited for as long as it may is kept for a
// grace if its turn has come, as those before it are just being asked.
func (ls *lines) next(w *waiter, grace time.Duration) (pause time.Duration, err error) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l, now := w.line, time.Now()
	switch {
	case ls.closed:
		return 0, backends.ErrClosed
	case l == nil:
		return 0, errTurnedAway
	case w.asks:
		return 0, nil
	case l.waiters[0] == w:
		pause = max(0, l.turn.at.Sub(now))
		w.asks = pause == 0
		return pause, nil
	}
	if pause := w.deadline.Sub(now); pause > 0 {
		return pause, nil
	}
	ahead := l.ahead(slices.Index(l.waiters, w))
	if pause := w.deadline.Add(grace).Sub(now); pause > 0 && !l.earliest(w, ahead).After(w.deadline) {
		return pause, nil
	}
	w.ahead = slices.Clone(ahead)
	ls.remove(w)
	return 0, errTurnedAway
}

// denied tells the line what the backend has told one of it. If it is the first,
// those behind it may know now that they wait in vain.
func (ls *lines) denied(w *waiter, told turn) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	w.asks = false
	l := w.line
	if l.waiters[0] != w {
		return
	}
	l.turn = told
	ahead := make([]load, len(l.loads))
	for _, other := range slices.Clone(l.waiters) {
		if other != w && !other.asks && l.inVain(other, ahead) {
			other.ahead = slices.Clone(ahead)
			ls.remove(other)
			other.call()
			continue
		}
		add(ahead, other)
	}
}

// leave takes a request out of its line and lets the next one ask. room is what the
// backend has left if the request has passed, and nil if not.
func (ls *lines) leave(w *waiter, room []backends.Verdict) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if l := w.line; l != nil {
		if first := ls.remove(w); first || room != nil {
			l.callFirst(room)
		}
	}
}

// remove takes a request out of its line, and tells whether it was the first.
func (ls *lines) remove(w *waiter) (first bool) {
	l := w.line
	place := slices.Index(l.waiters, w)
	l.waiters = slices.Delete(l.waiters, place, place+1)
	for i := range l.loads {
		l.loads[i].units -= w.asked[i].Cost
	}
	w.line = nil
	ls.waiting.Add(-1)
	if len(l.waiters) == 0 {
		delete(ls.known, l.id)
	}
	if place == 0 {
		l.turn = turn{}
	}
	return place == 0
}

// close lets all who wait know that it is over.
func (ls *lines) close() {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.closed = true
	for _, l := range ls.known {
		for _, w := range l.waiters {
			w.call()
		}
	}
}

// callFirst lets the first ask, and those behind it for whom there is room as well,
// so that a line does not move more slowly than its limit because of the way to
// the backend.
func (l *line) callFirst(room []backends.Verdict) {
	need := make([]load, len(l.loads))
	for place, w := range l.waiters {
		add(need, w)
		if place > 0 && !fits(need, w.asked, room) {
			return
		}
		if !w.asks {
			w.asks = true
			w.call()
		}
	}
}

func fits(need []load, asked []backends.Quota, room []backends.Verdict) bool {
	for i := range room {
		if !asked[i].Shadow && need[i].units > room[i].Remaining {
			return false
		}
	}
	return room != nil
}

func (w *waiter) call() {
	select {
	case w.wake <- struct{}{}:
	default: // it is told already
	}
}

// load is what requests ask of one limit together, and the most that one of them
// has asked.
type load struct{ units, largest int64 }

func add(loads []load, w *waiter) {
	for i := range loads {
		loads[i].units += w.asked[i].Cost
		loads[i].largest = max(loads[i].largest, w.asked[i].Cost)
	}
}

// ahead is the load of those before a place.
func (l *line) ahead(place int) []load {
	if place == len(l.waiters) {
		return l.loads
	}
	ahead := make([]load, len(l.loads))
	for _, w := range l.waiters[:place] {
		add(ahead, w)
	}
	return ahead
}

// inVain tells whether it is known already that a request behind others will not
// have its turn in time.
func (l *line) inVain(w *waiter, ahead []load) bool {
	return l.turn.at.After(time.Now()) && l.earliest(w, ahead).After(w.deadline)
}

// earliest is when a request may have its turn at the earliest, knowing when the
// first will have its own, and that the limit which it waits for is used up then.
// (After Charge has gone past a limit, or one was lowered, a sliding window frees
// more than that for a while.)
func (l *line) earliest(w *waiter, ahead []load) time.Time {
	q := &l.waiters[0].asked[l.turn.limit]
	units := ahead[l.turn.limit].units + w.asked[l.turn.limit].Cost
	switch {
	case q.Limit == 0:
		return l.turn.at
	case q.Algorithm == TokenBucket || q.Algorithm == SlidingWindow: // one unit after the other
		return l.turn.at.Add(paced(units-q.Cost, q))
	}
	return l.turn.at.Add(inPeriods(max(0, units-1)/q.Limit, q)) // perhaps all units of a period at once
}

// before is what to ask a backend for, together with those ahead, and how long
// after that is allowed the request will have its turn, or later: all units at once
// may be more than the limit ever allows.
func (ahead load) before(q *backends.Quota) (cost int64, later time.Duration) {
	if tooMuch(*q) {
		return q.Cost, 0
	}
	// A period may not pass all of its units, as the next request does not fit in. It
	// passes this many on average.
	units, most := ahead.units+q.Cost, atOnce(q)
	pass := most
	if q.Algorithm != TokenBucket {
		pass = max((most+1)/2, most-max(ahead.largest, q.Cost)+1)
	}
	times := max(0, units-1) / max(1, pass)
	cost = units - times*pass
	switch {
	case times == 0:
		return cost, 0
	case q.Algorithm == TokenBucket:
		return cost, paced(times*pass, q)
	case q.Algorithm == SlidingWindow && pass == 1: // an old unit counts for two periods
		return cost, inPeriods(2*times, q)
	case q.Algorithm == SlidingWindow: // which rounds up, and so passes one unit less
		return cost, inReach(float64(q.Per) * (1 + float64(times*pass)/float64(pass-1)))
	}
	return cost, inPeriods(times, q)
}

// atOnce is the most that a limit ever allows at once.
func atOnce(q *backends.Quota) int64 {
	if q.Algorithm == TokenBucket && q.Burst > 0 {
		return q.Burst
	}
	return q.Limit
}

// tooMuch tells whether a request is never allowed what it asks.
func tooMuch(q backends.Quota) bool { return !q.Shadow && q.Cost > atOnce(&q) }

// paced is how long units take one after the other.
func paced(units int64, q *backends.Quota) time.Duration {
	return inReach(float64(units) * float64(q.Per) / float64(q.Limit))
}

func inPeriods(n int64, q *backends.Quota) time.Duration {
	return inReach(float64(n) * float64(q.Per))
}

// inReach is a duration that can be added to a time.
func inReach(nanoseconds float64) time.Duration {
	return time.Duration(min(nanoseconds, float64(100*backends.MaxPer)))
}
