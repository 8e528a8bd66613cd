package backends

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/gin-ratelimiter/ratelimiter/internal/window"
)

// DefaultMaxKeys is how many clients the memory backend remembers when its
// option max_keys is not given: about 40 MB for each period, once all are in use.
const DefaultMaxKeys = 1 << 20

// Memory is the backend of NewMemory, which keeps the counters in the process.
type Memory struct {
	clock  clock
	closed atomic.Bool
	shards []shard // a power of two
}

// shard is a part of the keys, with all their limits and a lock of its own. It
// fills a cache line, and the padding is at its end: wherever the array of shards
// begins, what two locks guard is never in one line.
type shard struct {
	mu        sync.Mutex
	latest    int64 // the time of the last decision
	tables    []*table
	budget    int // nodes that each table may make
	evictions uint64
	_         [8]byte
}

// maxShards is how many locks there are at most, one for each bit of a word.
const maxShards = 64

// NewMemory makes the backend that keeps its counters in the memory of this
// process, a *Memory. It starts no goroutine, and a decision allocates nothing but
// the entries of a sliding log.
//
// Options:
//
//	max_keys   how many clients (pairs of key and scope) to remember for each
//	           algorithm and period (int, 1 to 2^30, default DefaultMaxKeys). Memory
//	           grows with those in use, to 40 bytes for each of max_keys at most (a
//	           sliding log takes 16 bytes more for each unit of its limit, up to 2 kB).
//
// Clients are forgotten when their limit is full again. While no more than four
// fifths of max_keys have used something, nobody is forgotten before. Beyond, a
// newcomer takes the place of the client that has used the least, out of a small
// group that a secret hash chooses, and continues from what that one had used,
// though it always has one request left. Clients that are being limited keep
// their places, so a flood of made-up keys frees none of them. The price is that
// newcomers in such a flood get fewer requests than the limit, and that those
// in a group where all are limited share one place. Stats counts these evictions.
func NewMemory(options map[string]any) (Backend, error) {
	read := newReader("memory", options)
	maxKeys := read.Integer("max_keys", DefaultMaxKeys, 1, 1<<30)
	if err := read.Finish(everyName); err != nil {
		return nil, err
	}
	return newMemory(maxKeys), nil
}

// newMemory divides the nodes that max_keys needs among the shards. A group of
// four keys on average fills 1.21 nodes on average.
func newMemory(maxKeys int) *Memory {
	shards := 1
	for shards < maxShards && shards*1024 < maxKeys {
		shards *= 2
	}
	m := &Memory{shards: make([]shard, shards)}
	m.clock.steady, m.clock.readBoth = systemClock()
	for i := range m.shards {
		m.shards[i].budget = max(2, (maxKeys*303/1000+shards-1)/shards)
	}
	return m
}

// shard finds the shard of a hash by its upper bits; tables use the lower ones.
func (m *Memory) shard(hash uint64) int {
	return int(hash >> 58 & uint64(len(m.shards)-1))
}

// Take is described at Backend.
func (m *Memory) Take(ctx context.Context, quotas []Quota, verdicts []Verdict) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var err error
	if len(quotas) == 1 && len(verdicts) > 0 {
		_, err = m.takeOne(&quotas[0], quotas[0].Scope, &verdicts[0])
	} else {
		_, err = m.takeAll(quotas, verdicts)
	}
	return err
}

// TakeOne is Take for one quota whose scope is given beside it, so that one quota
// which was prepared serves all requests at once: q.Scope is not looked at, and q
// not written. at is when the decision was made, in microseconds of the wall clock
// since the Unix epoch.
func (m *Memory) TakeOne(q *Quota, scope string, v *Verdict) (at int64, err error) {
	now, err := m.takeOne(q, scope, v)
	if err != nil {
		return 0, err
	}
	return m.clock.wall(now), nil
}

// TakeAll is Take, and tells when the decision was made, as TakeOne does.
func (m *Memory) TakeAll(quotas []Quota, verdicts []Verdict) (at int64, err error) {
	now, err := m.takeAll(quotas, verdicts)
	if err != nil {
		return 0, err
	}
	return m.clock.wall(now), nil
}

func (m *Memory) takeOne(q *Quota, scope string, v *Verdict) (now int64, err error) {
	if q.Ban != 0 {
		return m.takeBan(q, scope, v)
	}
	key, per, err := q.resolve()
	if err != nil {
		return 0, err
	}
	if m.closed.Load() {
		return 0, ErrClosed
	}
	hash := mixHashes(key, hashText(scope))
	var charge window.Charge
	q.fill(&charge, per)
	// The clock is slow, so it is read before the lock is taken.
	now = m.clock.steady()
	s := &m.shards[m.shard(hash)]
	s.mu.Lock()
	now = s.notBefore(now, &m.clock)
	t := s.table(idWith(q, per), now)
	var answer window.Verdict
	if n, i := t.find(hash); n != nil {
		answer = t.charge(now, n, i, &charge)
		if charge.Cost < 0 {
			t.dropIfFull(now, n, i)
		}
	} else {
		answer = s.admit(now, t, hash, &charge)
	}
	s.mu.Unlock()
	v.set(answer)
	return now, nil
}

// notBefore returns the time of a decision. Whoever was held up between reading the
// clock and taking the lock reads it again: an older time than that of the last
// decision would deny what is due, and order decisions otherwise than they are made.
func (s *shard) notBefore(now int64, c *clock) int64 {
	if now < s.latest {
		now = c.steady()
	}
	s.latest = now
	return now
}

// table finds the table of an algorithm and period, or makes it.
func (s *shard) table(id counterID, now int64) *table {
	for _, t := range s.tables {
		if t.id == id {
			return t
		}
	}
	return s.addTable(id, now)
}

// addTable is not inlined, because it is rare and would crowd the registers of
// those who find their table.
//
//go:noinline
func (s *shard) addTable(id counterID, now int64) *table {
	t := newTable(id, now, s.budget)
	s.tables = append(s.tables, t)
	return t
}

// charge decides on an entry of a table.
func (t *table) charge(now int64, n *node, i int, c *window.Charge) window.Verdict {
	w, v := t.decide(now, n.state[i], c)
	switch {
	case c.Cost == 0:
	case !v.Allowed():
		n.mark(i, true)
	default:
		n.state[i] = w
		n.mark(i, v.Remaining == 0)
	}
	return v
}

// admit decides for a key that has no entry, and makes one unless it would mean
// nothing.
func (s *shard) admit(now int64, t *table, hash uint64, c *window.Charge) window.Verdict {
	at := t.findRoom(now, hash)
	w, v := t.decide(now, t.initialState(now, at, c), c)
	if c.Cost <= 0 || !v.Allowed() {
		t.release(w)
		return v
	}
	s.put(now, t, at, hash, w, v.Remaining == 0)
	return v
}

// put makes an entry for a newcomer.
func (s *shard) put(now int64, t *table, at place, hash uint64, w words, limited bool) {
	if at.kind == occupied {
		s.evictions++
	}
	t.put(now, at, hash, w, limited)
}

// set writes a verdict, translated from the microseconds of the algorithms.
func (v *Verdict) set(w window.Verdict) {
	v.Allowed = w.Allowed()
	v.Fallback = false
	v.Remaining = w.Remaining
	v.ResetAfter = micros(w.ResetAfter)
	v.RetryAfter = micros(w.RetryAfter)
	v.Receipt = w.Receipt
}

// MemoryStats is what a memory backend has done.
type MemoryStats struct {
	// Keys is how many limits are remembered now. Some may be full again and
	// not be noticed yet.
	Keys int
	// Evictions counts the newcomers that took the place of a limit that was
	// not full yet, or of rejections that still counted for a ban, because there was
	// no room for both.
	Evictions uint64
}

// Stats tells what a backend of NewMemory has done. It is false for another.
func Stats(backend Backend) (MemoryStats, bool) {
	m, ok := backend.(*Memory)
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
		sum.Evictions += s.evictions
		s.mu.Unlock()
	}
	return sum, true
}

// Reset is described at Backend.
func (m *Memory) Reset(ctx context.Context, key, scope string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if m.closed.Load() {
		return ErrClosed
	}
	hash := mixHashes(hashText(key), hashText(scope))
	s := &m.shards[m.shard(hash)]
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tables {
		if n, i := t.find(hash); n != nil {
			t.drop(n, i)
		}
	}
	return nil
}

// Close forgets all counters. It is described at Backend.
func (m *Memory) Close() error {
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
	_, ok := backend.(*Memory)
	return ok
}
