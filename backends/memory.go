package backends

import (
	"context"
	"hash/maphash"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/internal/window"
)

// DefaultMaxKeys is how many clients the memory backend remembers when its
// option max_keys is not given: about 40 MB for each period, once all are in use.
const DefaultMaxKeys = 1 << 20

// memory keeps the counters in the process, in shards that are locked each by
// itself. What is stored of a key and scope is their hash alone.
type memory struct {
	now    func() int64 // microseconds since the Unix epoch
	seed   maphash.Seed
	closed atomic.Bool
	shards []shard // a power of two
}

// shard is a part of the keys, with all their limits.
type shard struct {
	mu        sync.Mutex
	budget    int // nodes that each table may make
	tables    []*table
	displaced uint64
	_         [64 - 8]byte // keeps the locks of two shards out of one cache line
}

// maxShards is how many locks there are at most, one for each bit of a word.
const maxShards = 64

// NewMemory makes the backend that keeps its counters in the memory of this
// process. It starts no goroutine, and a decision on one limit allocates nothing
// but the entries of a sliding log.
//
// Options:
//
//	max_keys   how many clients (pairs of key and scope) to remember for each
//	           algorithm and period (int, 1 to 2^30, default DefaultMaxKeys). Memory
//	           grows with those in use, to 39 bytes for each of max_keys at most (a
//	           sliding log takes 16 bytes more for each unit of its limit, up to 2 kB).
//
// Clients are forgotten when their limit is whole again. While no more than four
// fifths of max_keys have used something, nobody is forgotten before. Beyond, a
// newcomer takes the place of the one who has used the least, out of a small
// group that a secret hash chooses, and goes on from what that one had used,
// though it always has one request left. Clients that are being limited keep
// their places, so a flood of made-up keys frees none of them. The price is that
// newcomers in such a flood get fewer requests than the limit, and that those
// who come to a group where all are limited share one place. Stats counts how
// often places changed.
func NewMemory(options map[string]any) (Backend, error) {
	read := reader("memory", options)
	maxKeys := read.Integer("max_keys", DefaultMaxKeys, 1, 1<<30)
	if err := read.Finish(everyName); err != nil {
		return nil, err
	}
	return newMemory(maxKeys, steadyClock()), nil
}

// newMemory divides the nodes that max_keys needs among the shards. A group of
// four keys on average fills 1.21 nodes on average.
func newMemory(maxKeys int, now func() int64) *memory {
	shards := 1
	for shards < maxShards && shards*1024 < maxKeys {
		shards *= 2
	}
	m := &memory{now: now, seed: maphash.MakeSeed(), shards: make([]shard, shards)}
	for i := range m.shards {
		m.shards[i].budget = max(2, (maxKeys*303/1000+shards-1)/shards)
	}
	return m
}

// steadyClock counts from the wall clock's time at the start with the monotonic
// clock, so that a wall clock that is set never moves a window.
func steadyClock() func() int64 {
	start := time.Now()
	base := start.UnixMicro()
	return func() int64 { return base + time.Since(start).Microseconds() }
}

// hashPair mixes the hashes of key and scope. The seed is random, so nobody
// outside can choose keys that meet. It is never 0.
func hashPair(seed maphash.Seed, key, scope string) uint64 {
	high, low := bits.Mul64(maphash.String(seed, key)^0x9e3779b97f4a7c15, maphash.String(seed, scope)^0xd1b54a32d192ed03)
	return max(1, high^low)
}

func (m *memory) hash(key, scope string) uint64 { return hashPair(m.seed, key, scope) }

// shard finds the shard of a hash by its upper bits; tables use the lower ones.
func (m *memory) shard(hash uint64) int {
	return int(hash >> 58 & uint64(len(m.shards)-1))
}

func (m *memory) Take(ctx context.Context, quotas []Quota, verdicts []Verdict) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := checkAll(quotas, verdicts); err != nil {
		return err
	}
	if m.closed.Load() {
		return ErrClosed
	}
	if len(quotas) == 1 && quotas[0].Ban == 0 {
		m.takeOne(&quotas[0], &verdicts[0])
		return nil
	}
	m.takeAll(quotas, verdicts)
	return nil
}

// takeOne is the way of almost all requests.
func (m *memory) takeOne(q *Quota, v *Verdict) {
	hash := m.hash(q.Key, q.Scope)
	s := &m.shards[m.shard(hash)]
	s.mu.Lock()
	defer s.mu.Unlock()
	// Read under the lock, time never runs back for a key: a request that was
	// held up with an older time would be refused what is its due.
	now := m.now()
	t := s.table(now, q)
	var one state
	at := t.look(now, hash, q, &one)
	answer := t.take(now, &one, q.charge())
	*v = verdict(answer)
	s.settle(now, t, at, hash, q, &one, answer)
}

// trial is a quota of a Take that is being decided.
type trial struct {
	hash  uint64
	table *table
	after state
	// answer is the algorithm's.
	answer window.Verdict
}

// takeAll decides one quota after the other, and charges them when none denied.
func (m *memory) takeAll(quotas []Quota, verdicts []Verdict) {
	var few [8]trial // so that usually nothing is allocated
	trials := slices.Grow(few[:0], len(quotas))[:len(quotas)]
	var shards uint64
	for i := range quotas {
		trials[i].hash = m.hash(quotas[i].Key, quotas[i].Scope)
		shards |= 1 << m.shard(trials[i].hash)
	}
	m.lock(shards)
	defer m.unlock(shards)
	now := m.now()
	granted := true
	for i := range quotas {
		v := m.try(now, quotas, trials, i)
		verdicts[i] = verdict(v)
		granted = granted && (v.Allowed || quotas[i].Shadow)
	}
	for i := range quotas {
		q, t := &quotas[i], &trials[i]
		if q.Ban != 0 {
			if struck(quotas, verdicts, i) {
				verdicts[i] = m.strike(now, q, t)
			}
			continue
		}
		var before state
		at := t.table.look(now, t.hash, q, &before)
		if granted {
			m.shards[m.shard(t.hash)].settle(now, t.table, at, t.hash, q, &t.after, t.answer)
			continue
		}
		// Nothing is charged, so what remains is what there was.
		verdicts[i].left(verdict(t.table.take(now, &before, q.peek())))
	}
}

// try decides one of several quotas, on what an earlier one of the same Take
// leaves if the two share their counter.
func (m *memory) try(now int64, quotas []Quota, trials []trial, i int) window.Verdict {
	q, t := &quotas[i], &trials[i]
	t.table = m.shards[m.shard(t.hash)].table(now, q)
	t.table.look(now, t.hash, q, &t.after)
	for j := i - 1; j >= 0; j-- {
		if trials[j].table == t.table && trials[j].hash == t.hash {
			t.after = trials[j].after
			break
		}
	}
	t.after.log.Cells = slices.Clone(t.after.log.Cells) // a charge changes them in place
	t.answer = t.table.take(now, &t.after, q.charge())
	return t.answer
}

// strike counts a denial for a ban. A newcomer without room begins at none, in the place
// of the one with the fewest: the count of a stranger must ban nobody. Where all are
// banned it does not count, as none of them must make room.
func (m *memory) strike(now int64, q *Quota, t *trial) Verdict {
	var s state
	at := t.table.look(now, t.hash, q, &s)
	if at.kind == taken && at.limited() {
		return verdict(t.answer)
	}
	if at.kind == taken {
		m.shards[m.shard(t.hash)].displaced++
	}
	v := t.table.take(now, &s, q.strike())
	t.table.put(now, at, t.hash, &s, !v.Allowed)
	return verdict(v)
}

// lock takes the locks of several shards, always in the same order.
func (m *memory) lock(shards uint64) {
	for ; shards != 0; shards &= shards - 1 {
		m.shards[bits.TrailingZeros64(shards)].mu.Lock()
	}
}

func (m *memory) unlock(shards uint64) {
	for ; shards != 0; shards &= shards - 1 {
		m.shards[bits.TrailingZeros64(shards)].mu.Unlock()
	}
}

// table finds the table of a quota's algorithm and period, or makes it.
func (s *shard) table(now int64, q *Quota) *table {
	per, kind := q.micros(), q.kind()
	for _, t := range s.tables {
		if t.per == per && t.algorithm == kind && t.shadow == q.Shadow {
			return t
		}
	}
	t := &table{packing: newPacking(kind, per, now), shadow: q.Shadow, budget: s.budget}
	s.tables = append(s.tables, t)
	return t
}

// settle keeps the state that a charge has led to, unless it means nothing.
func (s *shard) settle(now int64, t *table, at place, hash uint64, q *Quota, after *state, answer window.Verdict) {
	limited := !answer.Allowed || answer.Remaining == 0
	if !answer.Allowed || q.Cost == 0 {
		if at.kind == found && limited && q.Cost > 0 {
			at.mark(true)
		}
		return
	}
	if q.Cost < 0 && t.idle(now, after) { // what was charged just now never is
		if at.kind == found {
			t.drop(at.n, at.i)
		}
		return
	}
	if at.kind == taken {
		s.displaced++
	}
	t.put(now, at, hash, after, limited)
}

// MemoryStats is what a memory backend has done.
type MemoryStats struct {
	// Keys is how many limits are remembered now. Some may be whole again and
	// not be noticed yet.
	Keys int
	// Displaced counts the newcomers that took the place of a limit that was
	// not whole yet, or of refusals that still counted for a ban, because there was
	// no room for both.
	Displaced uint64
}

// Stats tells what a backend of NewMemory has done. It is false for another.
func Stats(backend Backend) (MemoryStats, bool) {
	m, ok := backend.(*memory)
	if !ok {
		return MemoryStats{}, false
	}
	var sum MemoryStats
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		for _, t := range s.tables {
			sum.Keys += int(t.keys)
		}
		sum.Displaced += s.displaced
		s.mu.Unlock()
	}
	return sum, true
}

func (m *memory) Reset(ctx context.Context, key, scope string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if m.closed.Load() {
		return ErrClosed
	}
	hash := m.hash(key, scope)
	s := &m.shards[m.shard(hash)]
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tables {
		if at, known := t.find(hash); known {
			t.drop(at.n, at.i)
		}
	}
	return nil
}

func (m *memory) Close() error {
	m.closed.Store(true)
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		s.tables = nil
		s.mu.Unlock()
	}
	return nil
}

// InProcess tells whether a backend is one of NewMemory, which answers without
// leaving the process: it needs no deadline and nothing to fall back on.
func InProcess(backend Backend) bool {
	_, ok := backend.(*memory)
	return ok
}
