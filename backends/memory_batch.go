package backends

import (
	"math/bits"
	"slices"

	"github.com/gin-ratelimiter/ratelimiter/internal/window"
)

// batch is a list of quotas that are charged together or not at all.
type batch struct {
	memory   *Memory
	quotas   []Quota
	verdicts []Verdict
	trials   []trial
	shards   uint64 // bit set of the shards involved
}

// trial is the state of one quota while its batch is decided.
type trial struct {
	hash  uint64
	per   int64 // µs
	shard *shard
	table *table
	// n and i locate the entry of the quota, if it has one.
	n *node
	i int
	// after is the state after the charge, owned by the trial.
	after words
}

// takeAll decides the quotas in order, and commits the charges if none denies.
func (m *Memory) takeAll(quotas []Quota, verdicts []Verdict) (now int64, err error) {
	var array [4]trial // avoids an allocation in the usual case
	var b batch
	b.memory, b.quotas, b.verdicts = m, quotas, verdicts
	b.trials = slices.Grow(array[:0], len(quotas))[:len(quotas)]
	if err := b.resolve(); err != nil {
		return 0, err
	}
	if m.closed.Load() {
		return 0, ErrClosed
	}
	now = b.lock()
	if b.decide(now) {
		b.commit(now)
	} else {
		b.reject(now)
	}
	b.unlock()
	return now, nil
}

// resolve validates all quotas before anything is charged, and finds their shards. It
// hashes a scope only once if the previous quota has the same.
func (b *batch) resolve() error {
	if err := checkRoom(b.quotas, b.verdicts); err != nil {
		return err
	}
	var scope uint64 // its hash
	before := ""
	trials := b.trials[:len(b.quotas)]
	for i := range b.quotas {
		q, t := &b.quotas[i], &trials[i]
		key, per, err := q.resolve()
		if err != nil {
			return err
		}
		if i == 0 || !sameText(q.Scope, before) {
			scope, before = hashText(q.Scope), q.Scope
		}
		t.hash, t.per = mixHashes(key, scope), per
		number := b.memory.shard(t.hash)
		t.shard = &b.memory.shards[number]
		b.shards |= 1 << number
	}
	return nil
}

// lock locks all shards involved, always in the same order, and returns the time of the
// decision.
func (b *batch) lock() (now int64) {
	now = b.memory.clock.steady()
	for rest := b.shards; rest != 0; rest &= rest - 1 {
		b.memory.shards[bits.TrailingZeros64(rest)].mu.Lock()
	}
	for rest := b.shards; rest != 0; rest &= rest - 1 {
		now = b.memory.shards[bits.TrailingZeros64(rest)].notBefore(now, &b.memory.clock)
	}
	for rest := b.shards; rest != 0; rest &= rest - 1 { // a later shard may have advanced now
		b.memory.shards[bits.TrailingZeros64(rest)].latest = now
	}
	return now
}

func (b *batch) unlock() {
	for rest := b.shards; rest != 0; rest &= rest - 1 {
		b.memory.shards[bits.TrailingZeros64(rest)].mu.Unlock()
	}
}

// decide decides each quota on the state left by earlier quotas with the same counter, and
// reports whether no enforced quota denies.
func (b *batch) decide(now int64) (granted bool) {
	granted = true
	verdicts, trials := b.verdicts[:len(b.quotas)], b.trials[:len(b.quotas)]
	for i := range b.quotas {
		q, v, t := &b.quotas[i], &verdicts[i], &trials[i]
		var charge window.Charge
		q.fill(&charge, t.per)
		t.table = t.shard.table(idWith(q, t.per), now)
		t.n, t.i = t.table.find(t.hash)
		var before words
		switch earlier := earlierTrial(t, trials[:i]); {
		case earlier != nil:
			before = t.table.clone(earlier.after)
		case t.n != nil:
			before = t.table.clone(t.n.state[t.i])
		default:
			before = t.table.initialState(now, t.table.findRoom(now, t.hash), &charge)
		}
		after, answer := t.table.decide(now, before, &charge)
		t.after = after
		v.set(answer)
		granted = granted && (answer.Allowed() || q.Shadow)
	}
	return granted
}

// earlierTrial returns the last of the earlier trials with the same counter, or nil.
func earlierTrial(t *trial, earlier []trial) *trial {
	for i := len(earlier) - 1; i >= 0; i-- {
		if earlier[i].table == t.table && earlier[i].hash == t.hash {
			return &earlier[i]
		}
	}
	return nil
}

// commit stores the new states.
func (b *batch) commit(now int64) {
	moved := false // entries may have moved since they were found
	verdicts, trials := b.verdicts[:len(b.quotas)], b.trials[:len(b.quotas)]
	for i := range b.quotas {
		q, v, t := &b.quotas[i], &verdicts[i], &trials[i]
		if moved {
			t.n, t.i = t.table.find(t.hash)
		}
		charged := q.Ban == 0 && q.Cost != 0 && v.Allowed
		switch {
		case charged && t.n != nil:
			t.table.replace(t.n, t.i, t.after)
			t.n.mark(t.i, v.Remaining == 0)
			if q.Cost < 0 {
				t.table.dropIfFull(now, t.n, t.i)
				moved = true // a later charge on the same counter needs a new entry
			}
		case charged && q.Cost > 0:
			t.shard.put(now, t.table, t.table.findRoom(now, t.hash), t.hash, t.after, v.Remaining == 0)
			moved = true
		default:
			t.markIfDenied(v) // a shadow quota may be
			t.table.release(t.after)
		}
	}
}

// reject leaves all states unchanged after a denial, sets the remaining units in the
// verdicts accordingly and counts the denial towards a ban.
func (b *batch) reject(now int64) {
	for i := range b.quotas {
		q, v, t := &b.quotas[i], &b.verdicts[i], &b.trials[i]
		t.table.release(t.after)
		switch {
		case q.Ban == 0:
			t.markIfDenied(v)
			t.restoreVerdict(now, q, v)
		case countsRejection(b.quotas, b.verdicts, i):
			t.recordRejection(now, q, v)
		}
	}
}

// markIfDenied keeps a client that was denied from being evicted.
func (t *trial) markIfDenied(v *Verdict) {
	if t.n != nil && !v.Allowed {
		t.n.mark(t.i, true)
	}
}

// restoreVerdict sets the remaining units of a charge that was not made.
func (t *trial) restoreVerdict(now int64, q *Quota, v *Verdict) {
	var charge window.Charge
	q.fill(&charge, t.per)
	var before words
	if t.n != nil {
		before = t.n.state[t.i]
	} else {
		before = t.table.initialState(now, t.table.findRoom(now, t.hash), &charge)
	}
	charge.Cost, charge.Forced = 0, false
	_, answer := t.table.decide(now, before, &charge)
	if t.n == nil {
		t.table.release(before)
	}
	v.Remaining, v.ResetAfter = answer.Remaining, micros(answer.ResetAfter)
}

// recordRejection counts a denial towards a ban. A client without an entry starts with no
// rejections, even if it evicts another: it must not be banned for another client's
// rejections. If every client of the group is banned, the rejection does not count, because
// none of them may be evicted.
func (t *trial) recordRejection(now int64, q *Quota, v *Verdict) {
	rejection := q.rejection()
	if n, i := t.table.find(t.hash); n != nil {
		v.set(t.table.charge(now, n, i, &rejection))
		return
	}
	at := t.table.findRoom(now, t.hash)
	if at.kind == occupied && at.n.isLimited(at.i) {
		return
	}
	w, answer := t.table.decide(now, words{}, &rejection)
	t.shard.put(now, t.table, at, t.hash, w, !answer.Allowed())
	v.set(answer)
}
