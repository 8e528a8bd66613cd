package backends

import (
	"context"
	"math"
	"sync"
	"sync/atomic"

	"github.com/gin-ratelimiter/ratelimiter/internal/window"
)

// DefaultMaxKeys is the default of the option max_keys of NewMemory. With all of them in
// use, each algorithm and period takes about 40 MB.
const DefaultMaxKeys = 1 << 20

// Memory is the backend returned by NewMemory. All methods are safe for concurrent use.
type Memory struct {
	clock  clock
	closed atomic.Bool
	shards []shard // the length is a power of two
}

// shard holds a part of the keys, with a lock of its own. It fills a cache line, with the
// padding at the end: wherever the array of shards begins, no cache line holds data of two
// locks.
type shard struct {
	mu        sync.Mutex
	latest    int64 // time of the last decision
	tables    []*table
	budget    int // most nodes of each table
	evictions uint64
	_         [8]byte
}

// maxShards is the most shards, one for each bit of a word.
const maxShards = 64

// NewMemory returns a *Memory, which keeps its counters in the memory of this process. It
// starts no goroutine. Decisions do not allocate, except for the entries of a sliding log.
//
// Options:
//
//	max_keys   how many clients (pairs of key and scope) to store for each algorithm
//	           and period (int, 1 to 2^30, default DefaultMaxKeys). Memory grows with
//	           the clients in use, up to 40 bytes times max_keys. A sliding log takes
//	           16 bytes more for each unit of its limit, up to 2 kB.
//
// A client is removed once its full limit is available again. While no more than four
// fifths of max_keys are in use, none is evicted earlier. Beyond that, a new client evicts
// the client that has used the least within a small group, chosen by a secret hash. The new
// client starts with the usage of the evicted one, but always gets at least one request.
// Clients at their limit are not evicted, so a flood of made-up keys does not free any of
// them. During such a flood, new clients get fewer requests than their limit, and those in
// a group where every client is at its limit share one entry. Stats reports the number of
// evictions.
func NewMemory(options map[string]any) (Backend, error) {
	read := newReader("memory", options)
	maxKeys := read.Integer("max_keys", DefaultMaxKeys, 1, 1<<30)
	if err := read.Finish(everyName); err != nil {
		return nil, err
	}
	return newMemory(maxKeys), nil
}

// newMemory divides the nodes needed for maxKeys among the shards.
func newMemory(maxKeys int) *Memory {
	shards := 1
	for shards < maxShards && shards*1024 < maxKeys {
		shards *= 2
	}
	m := &Memory{shards: make([]shard, shards)}
	m.clock.steady, m.clock.readBoth = systemClock()
	for i := range m.shards {
		m.shards[i].budget = nodeBudget(maxKeys, shards)
	}
	return m
}

// nodeBudget returns how many nodes each shard needs for its part of maxKeys. A group with
// four keys on average needs 1.21 nodes on average.
func nodeBudget(maxKeys, shards int) int {
	const nodesPerKey = 0.303
	return max(2, int(math.Ceil(float64(maxKeys)*nodesPerKey/float64(shards))))
}

// shard selects a shard by the upper bits of a hash; tables use the lower bits.
func (m *Memory) shard(hash uint64) int {
	return int(hash >> 58 & uint64(len(m.shards)-1))
}

// Take implements Backend.
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

// TakeOne is Take for a single quota. It uses scope instead of q.Scope and does not modify
// q, so many requests can share one prepared quota. at is the time of the decision on the
// wall clock, in microseconds since the Unix epoch.
func (m *Memory) TakeOne(q *Quota, scope string, v *Verdict) (at int64, err error) {
	now, err := m.takeOne(q, scope, v)
	if err != nil {
		return 0, err
	}
	return m.clock.wall(now), nil
}

// TakeAll is Take without a context. at is the time of the decision, as for TakeOne.
func (m *Memory) TakeAll(quotas []Quota, verdicts []Verdict) (at int64, err error) {
	now, err := m.takeAll(quotas, verdicts)
	if err != nil {
		return 0, err
	}
	return m.clock.wall(now), nil
}

func (m *Memory) takeOne(q *Quota, scope string, v *Verdict) (now int64, err error) {
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
	// Reading the clock is slow, so it happens before locking.
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

// notBefore returns the time of a decision. It reads the clock again if another decision
// came between reading the clock and locking: with the older time it would deny what is
// already allowed, and decisions would not be in order of time.
func (s *shard) notBefore(now int64, c *clock) int64 {
	if now < s.latest {
		now = c.steady()
	}
	s.latest = now
	return now
}

// table returns the table of an algorithm and period, and creates it if needed.
func (s *shard) table(id counterID, now int64) *table {
	for _, t := range s.tables {
		if t.id == id {
			return t
		}
	}
	return s.addTable(id, now)
}

// addTable is not inlined: it is rarely called, and inlining it would take registers from
// the common path.
//
//go:noinline
func (s *shard) addTable(id counterID, now int64) *table {
	t := newTable(id, now, s.budget)
	s.tables = append(s.tables, t)
	return t
}

// charge decides a charge on an existing entry.
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

// admit decides a charge for a key without an entry, and stores an entry if the charge is
// allowed.
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

// put stores the entry of a new client.
func (s *shard) put(now int64, t *table, at place, hash uint64, w words, limited bool) {
	if at.kind == occupied {
		s.evictions++
	}
	t.put(now, at, hash, w, limited)
}

// set converts a verdict from the microseconds of package window.
func (v *Verdict) set(w window.Verdict) {
	v.Allowed = w.Allowed()
	v.Fallback = false
	v.Remaining = w.Remaining
	v.ResetAfter = micros(w.ResetAfter)
	v.RetryAfter = micros(w.RetryAfter)
	v.Receipt = w.Receipt
}

// MemoryStats are statistics of a memory backend.
type MemoryStats struct {
	// Keys is the number of stored limits. It may include some whose full limit is already
	// available again.
	Keys int
	// Evictions counts the limits that were evicted before their full limit was available
	// again, including rejections that still counted towards a ban.
	Evictions uint64
}

// Stats returns the statistics of a backend created by NewMemory. For any other backend, it
// returns false.
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

// Reset implements Backend.
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

// Close implements Backend. It clears all counters.
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

// InProcess reports whether a backend was created by NewMemory. Such a backend decides
// without leaving the process, so it needs no timeout and no fallback.
func InProcess(backend Backend) bool {
	_, ok := backend.(*Memory)
	return ok
}
