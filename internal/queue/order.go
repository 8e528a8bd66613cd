package queue

import (
	"errors"
	"hash/maphash"
	"slices"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
)

// queue is the requests that wait for the same counters, in order of arrival. The
// first asks the backend when its turn comes. Those behind it ask early only if there
// was room for all before them when the backend was asked last.
type queue struct {
	id      uint64
	waiters []*waiter // never empty, but while the queue is made
	loads   []load    // of all waiters, by quota
	turn    turn      // of the first
	passed  int       // how many of them have passed
}

// waiter is a request in a queue.
type waiter struct {
	quotas            []backends.Quota
	open              bool // see Request
	arrived, deadline time.Time
	wake              chan struct{} // tells it to call next

	// What follows is guarded by Queues.mu.
	queue    *queue    // nil when it is in none
	querying bool      // it asks the backend now
	passed   int       // of its queue, when it began to ask
	stale    bool      // units were freed since then
	rejected *Estimate // set when it was rejected
}

// errRejected tells that a request cannot have its turn in time.
var errRejected = errors.New("the request cannot have its turn in time")

// seed is random, so that nobody can choose keys whose queues coincide.
var seed = maphash.MakeSeed()

// idOf identifies the queue for quotas: those on the same counters in the same order
// have the same.
func idOf(quotas []backends.Quota) (id uint64) {
	for i := range quotas {
		q := &quotas[i]
		id = maphash.Comparable(seed, struct {
			before     uint64
			key, scope string
			algorithm  backends.Algorithm
			per        time.Duration
			shadow     bool
			calendar   *time.Location
		}{id, q.Key, q.Scope, q.Algorithm, q.Per, q.Shadow, q.Calendar})
	}
	return id
}

// join puts a request where it belongs by its arrival, as answers of the backend may
// overtake each other. It rejects a request that cannot have its turn in time, or if
// too many wait. first is its turn if it was the first to ask, else zero.
func (qs *Queues) join(w *waiter, first turn) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	id := idOf(w.quotas)
	q := qs.queues[id]
	if q == nil {
		q = &queue{id: id, loads: make([]load, len(w.quotas))}
	}
	place := len(q.waiters)
	for place > 0 && q.waiters[place-1].arrived.After(w.arrived) {
		place--
	}
	ahead := q.ahead(place)
	full := len(q.waiters) >= maxInQueue || qs.waiting.Load() >= maxWaiting
	if full || slices.ContainsFunc(w.quotas, exceedsLimit) || place > 0 && q.isTooLate(w, ahead) {
		w.rejected = q.estimate(w, place, ahead)
		return
	}
	if len(q.waiters) == 0 {
		if qs.queues == nil {
			qs.queues = map[uint64]*queue{}
		}
		qs.queues[id] = q
	}
	w.queue = q
	if place == 0 {
		// Units may have been freed between the answer to an open request and now.
		if q.turn = first; first == (turn{}) || w.open {
			w.startQuery()
		}
	}
	q.waiters = slices.Insert(q.waiters, place, w)
	addTo(q.loads, w)
	qs.waiting.Add(1)
}

// next tells what a request is to do: to ask the backend if pause is 0, or else to
// pause. At its deadline a request is held for a grace if its turn has come, as those
// before it are just asking.
func (qs *Queues) next(w *waiter, grace time.Duration) (pause time.Duration, err error) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	q, now := w.queue, time.Now()
	switch {
	case qs.closed:
		return 0, backends.ErrClosed
	case q == nil:
		return 0, errRejected
	case w.querying:
		return 0, nil
	case q.waiters[0] == w:
		if pause = max(0, w.nextQuery(q.turn).Sub(now)); pause == 0 {
			w.startQuery()
		}
		return pause, nil
	}
	if pause := w.deadline.Sub(now); pause > 0 {
		return pause, nil
	}
	place := slices.Index(q.waiters, w)
	ahead := q.ahead(place)
	if pause := w.deadline.Add(grace).Sub(now); pause > 0 && !q.earliest(w, ahead).After(w.deadline) {
		return pause, nil
	}
	w.rejected = q.estimate(w, place, ahead)
	qs.remove(w)
	return 0, errRejected
}

// asksAt is when the first of a queue asks next, unless it is called before.
func (w *waiter) nextQuery(t turn) time.Time {
	if w.open && t.at.After(w.deadline) {
		return w.deadline
	}
	return t.at
}

// postpone records when the turn of a request will be that the backend has denied. If
// it is the first, those behind it may be known now not to have theirs in time.
func (qs *Queues) postpone(w *waiter, t turn) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	q := w.queue
	w.querying = false
	if q.waiters[0] != w {
		return
	}
	if w.stale { // the answer is older than what was freed
		w.startQuery()
		return
	}
	q.turn = t
	ahead := make([]load, len(q.loads))
	for place := 0; place < len(q.waiters); {
		other := q.waiters[place]
		if other != w && !other.querying && q.isTooLate(other, ahead) {
			other.rejected = q.estimate(other, place, ahead)
			qs.remove(other)
			other.signal()
			continue
		}
		addTo(ahead, other)
		place++
	}
}

// Free lets those who wait for a quota on a key and scope ask at once, as its units
// were refunded or forgotten.
func (qs *Queues) Free(key, scope string) {
	if qs.waiting.Load() == 0 {
		return
	}
	qs.mu.Lock()
	defer qs.mu.Unlock()
	for _, q := range qs.queues {
		if slices.ContainsFunc(q.waiters[0].quotas, func(quota backends.Quota) bool { return quota.Key == key && quota.Scope == scope }) {
			q.free()
		}
	}
}

// FreeAll lets all who wait ask at once, as everything was forgotten.
func (qs *Queues) FreeAll() {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	for _, q := range qs.queues {
		q.free()
	}
}

// free lets the first ask at once. What others are being told is out of date.
func (q *queue) free() {
	for _, w := range q.waiters {
		w.stale = w.querying
	}
	q.turn = turn{}
	q.wakeFirst(nil)
}

// Close ends the wait of all requests, and of those that come later.
func (qs *Queues) Close() {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	qs.closed = true
	for _, q := range qs.queues {
		for _, w := range q.waiters {
			w.signal()
		}
	}
}

// leave takes a request out of its queue, if it is in one, and lets the next ask. room
// is what remains if the request has passed, and nil if not.
func (qs *Queues) leave(w *waiter, room []backends.Verdict) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	q := w.queue
	if q == nil {
		return
	}
	passed := room != nil
	if w.passed != q.passed {
		room = nil // others may have taken of it since
	}
	if passed {
		q.passed++
	}
	if first := qs.remove(w); first || passed {
		q.wakeFirst(room)
	}
}

// remove takes a request out of its queue, and reports whether it was the first.
func (qs *Queues) remove(w *waiter) (first bool) {
	q := w.queue
	place := slices.Index(q.waiters, w)
	q.waiters = slices.Delete(q.waiters, place, place+1)
	for i := range q.loads {
		q.loads[i].requests--
		q.loads[i].units -= w.quotas[i].Cost
	}
	w.queue = nil
	qs.waiting.Add(-1)
	if len(q.waiters) == 0 {
		delete(qs.queues, q.id)
	}
	if place == 0 {
		q.turn = turn{}
	}
	return place == 0
}

// callFirst lets the first ask, and those behind it for whom there is room as well, so
// that a queue moves as fast as its limit, however far away the backend is.
func (q *queue) wakeFirst(room []backends.Verdict) {
	need := make([]load, len(q.loads))
	for place, w := range q.waiters {
		addTo(need, w)
		if place > 0 && !fits(need, w.quotas, room) {
			return
		}
		if !w.querying {
			w.startQuery()
			w.signal()
		}
	}
}

// fits reports whether what remains is enough for a load.
func fits(need []load, quotas []backends.Quota, room []backends.Verdict) bool {
	for i := range room {
		if !quotas[i].Shadow && need[i].units > room[i].Remaining {
			return false
		}
	}
	return room != nil
}

// ask records that a request begins to ask.
func (w *waiter) startQuery() { w.querying, w.stale, w.passed = true, false, w.queue.passed }

// call lets a request look what it is to do.
func (w *waiter) signal() {
	select {
	case w.wake <- struct{}{}:
	default: // it was called already
	}
}
