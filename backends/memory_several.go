package backends

import (
	"math/bits"
	"slices"

	"github.com/gin-ratelimiter/ratelimiter/internal/window"
)

// batch is several quotas that are charged together or not at all. Entries are
// charged at once, which is undone if a later quota denies; what would change the
// table itself waits until all have been granted.
type batch struct {
	memory   *Memory
	quotas   []Quota
	verdicts []Verdict
	trials   []trial
	shards   uint64 // a bit for each that a quota is in
	waiting  bool   // whether something waits
}

// trial is one quota of a batch that is being decided.
type trial struct {
	hash  uint64
	per   int64 // µs
	shard *shard
	table *table
	// n and i are the entry of the quota, if it has one.
	n *node
	i int
	// before is what the entry was, and limited whether it was that; cloned is set
	// if its words are no longer those of the entry.
	before  words
	limited bool
	cloned  bool
	// after is what a newcomer, which has no entry, is to become.
	after words
}

// takeAll decides one quota after the other, and charges them if none denies.
func (m *Memory) takeAll(quotas []Quota, verdicts []Verdict) (now int64, err error) {
	var few [4]trial // so that usually nothing is allocated
	var b batch
	b.memory, b.quotas, b.verdicts = m, quotas, verdicts
	b.trials = slices.Grow(few[:0], len(quotas))[:len(quotas)]
	if err := b.resolve(); err != nil {
		return 0, err
	}
	if m.closed.Load() {
		return 0, ErrClosed
	}
	now = b.lock()
	if b.try(now) {
		b.commit(now)
	} else {
		b.refuse(now)
	}
	b.unlock()
	return now, nil
}

// takeBan is takeOne for a quota with a Ban.
func (m *Memory) takeBan(q *Quota, scope string, v *Verdict) (now int64, err error) {
	quotas, verdicts := [1]Quota{*q}, [1]Verdict{}
	quotas[0].Scope = scope
	now, err = m.takeAll(quotas[:], verdicts[:])
	*v = verdicts[0]
	return now, err
}

// resolve checks all quotas, before anything is charged, and finds their shards. A
// scope that follows an equal one is hashed once.
func (b *batch) resolve() error {
	if err := checkRoom(b.quotas, b.verdicts); err != nil {
		return err
	}
	var scope uint64
	for i := range b.quotas {
		q, t := &b.quotas[i], &b.trials[i]
		key, per, err := q.resolve()
		if err != nil {
			return err
		}
		if i == 0 || q.Scope != b.quotas[i-1].Scope {
			scope = hashText(q.Scope)
		}
		t.hash, t.per = mix(key, scope), per
		number := b.memory.shard(t.hash)
		t.shard = &b.memory.shards[number]
		b.shards |= 1 << number
	}
	return nil
}

// lock takes the locks of all shards, always in the same order, and returns the
// time of the decision.
func (b *batch) lock() (now int64) {
	now = b.memory.clock.steady()
	for rest := b.shards; rest != 0; rest &= rest - 1 {
		b.memory.shards[bits.TrailingZeros64(rest)].mu.Lock()
	}
	for rest := b.shards; rest != 0; rest &= rest - 1 {
		now = b.memory.shards[bits.TrailingZeros64(rest)].notBefore(now, &b.memory.clock)
	}
	return now
}

func (b *batch) unlock() {
	for rest := b.shards; rest != 0; rest &= rest - 1 {
		b.memory.shards[bits.TrailingZeros64(rest)].mu.Unlock()
	}
}

// try decides each quota on what those before it have left, and tells whether none
// that is enforced denies.
func (b *batch) try(now int64) (granted bool) {
	granted = true
	for i := range b.quotas {
		q, t := &b.quotas[i], &b.trials[i]
		var charge window.Charge
		q.fill(&charge, t.per)
		t.table = t.shard.table(counterID{q.kind(), q.Shadow, t.per}, now)
		t.n, t.i = t.table.find(t.hash)
		var answer window.Verdict
		if t.n != nil {
			answer = t.charge(now, &charge)
			b.waiting = b.waiting || t.cloned || charge.Cost < 0
		} else {
			t.after, answer = t.table.decide(now, b.begin(now, i, &charge), &charge)
			b.waiting = true
		}
		b.verdicts[i].set(answer)
		granted = granted && (answer.Allowed() || q.Shadow)
	}
	return granted
}

// charge charges an entry so that it can be undone.
func (t *trial) charge(now int64, c *window.Charge) window.Verdict {
	t.before, t.limited = t.n.state[t.i], t.n.isLimited(t.i)
	if c.Cost != 0 && t.table.logged() { // which is charged in place
		t.n.state[t.i], t.cloned = t.table.clone(t.before), true
	}
	return t.table.charge(now, t.n, t.i, c)
}

// begin is what a newcomer begins with: what an earlier quota leaves if the two
// share their counter.
func (b *batch) begin(now int64, i int, c *window.Charge) words {
	t := &b.trials[i]
	for i--; i >= 0; i-- {
		if earlier := &b.trials[i]; earlier.table == t.table && earlier.hash == t.hash {
			return t.table.clone(earlier.after)
		}
	}
	return t.table.begin(now, t.table.room(now, t.hash), c)
}

// commit does what has waited.
func (b *batch) commit(now int64) {
	if !b.waiting {
		return
	}
	for i := range b.quotas {
		q, v, t := &b.quotas[i], &b.verdicts[i], &b.trials[i]
		known := t.n != nil
		t.n, t.i = t.table.find(t.hash) // again, for an earlier newcomer may have moved it
		switch {
		case known && t.cloned:
			t.table.release(t.before)
		case known:
		case q.Ban != 0 || q.Cost == 0 || !v.Allowed || q.Cost < 0 && t.n == nil:
			t.table.release(t.after)
		case t.n != nil: // since an earlier newcomer had the same counter
			t.table.release(t.n.state[t.i])
			t.n.state[t.i] = t.after
			t.n.mark(t.i, v.Remaining == 0)
		default:
			t.shard.put(now, t.table, t.table.room(now, t.hash), t.hash, t.after, v.Remaining == 0)
		}
		if q.Cost < 0 && t.n != nil {
			t.table.dropIfFull(now, t.n, t.i)
		}
	}
}

// refuse undoes what was charged, for one of the quotas has denied. What remains
// then is what there was. The denial may count for a ban.
func (b *batch) refuse(now int64) {
	for i := len(b.trials) - 1; i >= 0; i-- { // the last first, for some may share their counter
		t := &b.trials[i]
		if t.n == nil {
			t.table.release(t.after)
			continue
		}
		if t.cloned {
			t.table.release(t.n.state[t.i])
		}
		t.n.state[t.i] = t.before
		t.n.mark(t.i, t.limited)
	}
	for i := range b.quotas {
		q, v, t := &b.quotas[i], &b.verdicts[i], &b.trials[i]
		switch {
		case q.Ban == 0:
			t.left(now, q, v)
		case struck(b.quotas, b.verdicts, i):
			t.strike(now, q, v)
		}
	}
}

// left corrects what remains, of a charge that was not made.
func (t *trial) left(now int64, q *Quota, v *Verdict) {
	var charge window.Charge
	q.fill(&charge, t.per)
	var before words
	if t.n != nil {
		before = t.n.state[t.i]
	} else {
		before = t.table.begin(now, t.table.room(now, t.hash), &charge)
	}
	charge.Cost, charge.Forced = 0, false
	_, answer := t.table.decide(now, before, &charge)
	if t.n == nil {
		t.table.release(before)
	}
	v.Remaining, v.ResetAfter = answer.Remaining, micros(answer.ResetAfter)
}

// strike counts a denial for a ban. A newcomer without room begins at none, in the place
// of the one with the fewest: the count of a stranger must ban nobody. Where all are
// banned it does not count, as none of them must make room.
func (t *trial) strike(now int64, q *Quota, v *Verdict) {
	strike := q.strike()
	if n, i := t.table.find(t.hash); n != nil {
		v.set(t.table.charge(now, n, i, &strike))
		return
	}
	at := t.table.room(now, t.hash)
	if at.kind == taken && at.n.isLimited(at.i) {
		return
	}
	w, answer := t.table.decide(now, words{}, &strike)
	t.shard.put(now, t.table, at, t.hash, w, !answer.Allowed())
	v.set(answer)
}
