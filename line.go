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

// freed lets those who wait for a limit on a key and scope ask at once, as what was
// used of it is forgotten or was given back.
func (ls *lines) freed(key, scope string) {
	if ls.waiting.Load() == 0 {
		return
	}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for _, l := range ls.known {
		if slices.ContainsFunc(l.waiters[0].asked, func(q backends.Quota) bool { return q.Key == key && q.Scope == scope }) {
			l.turn = turn{}
			l.callFirst(nil)
		}
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
