package queue

import (
	"errors"
	"hash/maphash"
	"slices"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
)

// queue holds the requests that wait for the same counters, in order of arrival. The first
// one calls the backend when its turn comes. Those behind it call earlier only if the last
// answer of the backend left room for all before them.
type queue struct {
	id         uint64
	waiters    []*waiter // never empty, except while the queue is created
	loads      []load    // of all waiters, by quota
	turn       turn      // of the first waiter
	passed     int       // number of requests that have passed
	contention contention
}

// waiter is a request in a queue.
type waiter struct {
	quotas            []backends.Quota
	open              bool // see Request
	arrived, deadline time.Time
	freed             uint64        // value of Queues.freed before its first call
	wake              chan struct{} // wakes the request so that it calls next

	// The following fields are guarded by Queues.mu.
	queue    *queue    // nil if it is not in a queue
	querying bool      // it is calling the backend
	inTurn   bool      // it does so because its turn has come
	passed   int       // value of queue.passed when the call began
	stale    bool      // units were freed since the call began
	rejected *Estimate // set if it was rejected
}

// errRejected means that a request cannot have its turn in time.
var errRejected = errors.New("the request cannot be served in time")

// seed is random, so that clients cannot choose keys whose queues collide.
var seed = maphash.MakeSeed()

// idOf returns the ID of the queue for quotas. Quotas on the same counters in the same
// order have the same ID.
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

// join adds a request to its queue at the place of its arrival, because answers of the
// backend may overtake each other. It rejects the request if its turn would be too late or
// too many requests are waiting. first is the turn of a request that has called the
// backend, otherwise zero.
func (qs *Queues) join(w *waiter, first turn) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	id := idOf(w.quotas)
	q := qs.queues[id]
	if q == nil {
		q = &queue{id: id, loads: make([]load, len(w.quotas)), contention: contention{since: time.Now()}}
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
	q.waiters = slices.Insert(q.waiters, place, w)
	addTo(q.loads, w)
	qs.waiting.Add(1)
	if place == 0 {
		// Free wakes the requests in a queue, so this one has missed what was freed since
		// its first call.
		if q.turn = first; first == (turn{}) || w.freed != qs.freed.Load() {
			w.startQuery()
		}
	}
}

// next returns how long a request has to pause; 0 means that it calls the backend now. A
// request whose turn has come by its deadline may stay for the grace period, while those
// before it are still calling.
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
			w.inTurn = q.turn != (turn{})
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

// nextQuery returns when the first of a queue calls the backend next, unless it is woken
// earlier.
func (w *waiter) nextQuery(t turn) time.Time {
	if w.open && t.at.After(w.deadline) {
		return w.deadline
	}
	return t.at.Add(t.skip)
}

// postpone records the new turn of a request that the backend has denied. If it is the
// first, requests behind it may now turn out to be too late.
func (qs *Queues) postpone(w *waiter, t turn) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	q := w.queue
	w.querying = false
	if q.waiters[0] != w {
		return
	}
	if w.stale { // the answer is older than the freed units
		w.startQuery()
		return
	}
	if w.inTurn {
		t.skip = q.contention.after(w, t)
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

// Free lets the requests that wait for a quota on a key and scope call the backend at once,
// because units were refunded or reset.
func (qs *Queues) Free(key, scope string) {
	qs.freed.Add(1) // before waiting is read; see join
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

// FreeAll lets all waiting requests call the backend at once, because everything was reset.
func (qs *Queues) FreeAll() {
	qs.freed.Add(1)
	qs.mu.Lock()
	defer qs.mu.Unlock()
	for _, q := range qs.queues {
		q.free()
	}
}

// free lets the first request call the backend at once. Answers to calls in progress are
// outdated.
func (q *queue) free() {
	for _, w := range q.waiters {
		w.stale = w.querying
	}
	q.turn = turn{}
	q.wakeFirst(nil)
}

// Close ends the wait of all current and later requests.
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

// leave removes a request from its queue, if it is in one, and lets the next one call the
// backend. room holds the verdicts of a request that has passed, otherwise it is nil.
func (qs *Queues) leave(w *waiter, room []backends.Verdict) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	q := w.queue
	if q == nil {
		return
	}
	passed := room != nil
	if w.passed != q.passed {
		room = nil // others may have taken units since
	}
	if passed {
		q.passed++
		q.contention.recordPass()
	}
	if first := qs.remove(w); first || passed {
		q.wakeFirst(room)
	}
}

// remove removes a request from its queue, and reports whether it was the first.
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

// wakeFirst lets the first request call the backend, together with those behind it for whom
// there is room. So a queue moves as fast as its limit, whatever the latency of the
// backend.
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

// fits reports whether the remaining units are enough for a load.
func fits(need []load, quotas []backends.Quota, room []backends.Verdict) bool {
	for i := range room {
		if !quotas[i].Shadow && need[i].units > room[i].Remaining {
			return false
		}
	}
	return room != nil
}

// startQuery records that a request begins to call the backend.
func (w *waiter) startQuery() {
	w.querying, w.inTurn, w.stale, w.passed = true, false, false, w.queue.passed
}

// signal wakes a request.
func (w *waiter) signal() {
	select {
	case w.wake <- struct{}{}:
	default: // it was woken already
	}
}
