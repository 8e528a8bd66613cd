package backends

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/internal/window"
)

// DefaultMaxKeys is how many pairs of key and scope the memory backend holds
// when its option max_keys is not given.
const DefaultMaxKeys = 1 << 20

// memory keeps the counters in the process. One lock is held for a whole Take,
// and the clock is read while it is held, so that decisions happen in the order
// of their times.
type memory struct {
	now     func() int64 // microseconds since the Unix epoch, never backwards
	maxKeys int

	mu       sync.Mutex
	closed   bool
	subjects map[subject]*counters
}

// subject is who is limited in what.
type subject struct{ key, scope string }

// counters are all limits of one subject: few, so they are searched in order.
type counters struct {
	list    []counter
	expires int64 // when all of it means nothing any more
}

// counter is the state of one limit. Which of the four is in use depends on the
// algorithm.
type counter struct {
	id      counterID
	fixed   window.Fixed
	sliding window.Sliding
	bucket  window.Bucket
	log     window.Log
}

// counterID tells the limits of a subject apart. The limit itself is not part
// of it, so that a limit that changes keeps its history.
type counterID struct {
	algorithm Algorithm
	shadow    bool
	per       int64
}

// NewMemory makes the backend that keeps its counters in the memory of this
// process. It starts no goroutine and holds a bounded number of keys.
//
// Options:
//
//	max_keys   most pairs of key and scope to remember (int, 1 or more, default DefaultMaxKeys)
//
// When the table is full, a newcomer takes the place of a pair that has expired
// or, among a few looked at, is the next to expire.
func NewMemory(options map[string]any) (Backend, error) {
	read := reader("memory", options)
	maxKeys := read.Integer("max_keys", DefaultMaxKeys, 1, 1<<31-1)
	if err := read.Finish(everyName); err != nil {
		return nil, err
	}
	return newMemory(maxKeys, steadyClock()), nil
}

func newMemory(maxKeys int, now func() int64) *memory {
	return &memory{now: now, maxKeys: maxKeys, subjects: make(map[subject]*counters)}
}

// steadyClock counts from the wall clock's time at the start with the monotonic
// clock, so that a wall clock that is set never moves a window.
func steadyClock() func() int64 {
	start := time.Now()
	base := start.UnixMicro()
	return func() int64 { return base + time.Since(start).Microseconds() }
}

func (m *memory) Take(ctx context.Context, quotas []Quota, verdicts []Verdict) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := checkAll(quotas, verdicts); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	now := m.now()
	trials := make([]counter, len(quotas))
	allowed := true
	for i := range quotas {
		q := &quotas[i]
		trials[i] = m.latest(q, quotas[:i], trials)
		v := trials[i].take(now, q.charge())
		allowed = allowed && (v.Allowed || q.Shadow)
		verdicts[i] = verdict(v)
	}
	for i := range quotas {
		if q := &quotas[i]; !allowed {
			verdicts[i] = m.uncharged(now, q, verdicts[i])
		} else if verdicts[i].Allowed && q.Cost != 0 {
			m.store(now, q, trials[i])
		}
	}
	return nil
}

// latest is a copy of a quota's counter, as an earlier quota of the same Take
// would leave it if the two share it.
func (m *memory) latest(q *Quota, earlier []Quota, trials []counter) counter {
	for i := len(earlier) - 1; i >= 0; i-- {
		if trials[i].id == idOf(q) && earlier[i].Key == q.Key && earlier[i].Scope == q.Scope {
			return trials[i].clone()
		}
	}
	return m.load(q)
}

// uncharged is the verdict of a quota of which nothing was taken because a
// quota beside it denied: what remains is what there was.
func (m *memory) uncharged(now int64, q *Quota, v Verdict) Verdict {
	c := m.load(q)
	peek := q.charge()
	peek.Cost, peek.Forced = 0, false
	left := verdict(c.take(now, peek))
	v.Remaining, v.ResetAfter = left.Remaining, left.ResetAfter
	return v
}

func idOf(q *Quota) counterID { return counterID{q.Algorithm, q.Shadow, q.micros()} }

// clone copies the cells too, which a charge may change in place.
func (c *counter) clone() counter {
	clone := *c
	clone.log.Cells = slices.Clone(c.log.Cells)
	return clone
}

// take lets the algorithm decide.
func (c *counter) take(now int64, charge window.Charge) (v window.Verdict) {
	switch c.id.algorithm {
	case FixedWindow:
		c.fixed, v = c.fixed.Take(now, charge)
	case SlidingLog:
		c.log, v = c.log.Take(now, charge)
	case TokenBucket:
		c.bucket, v = c.bucket.Take(now, charge)
	default:
		c.sliding, v = c.sliding.Take(now, charge)
	}
	return v
}

// expires is when the counter means nothing any more.
func (c *counter) expires() int64 {
	switch c.id.algorithm {
	case FixedWindow:
		return c.fixed.Expires(c.id.per)
	case SlidingLog:
		return c.log.Expires(c.id.per)
	case TokenBucket:
		return c.bucket.Expires()
	default:
		return c.sliding.Expires(c.id.per)
	}
}

// load returns a copy of a quota's counter, a fresh one if there is none.
func (m *memory) load(q *Quota) counter {
	id := idOf(q)
	if all := m.subjects[subject{q.Key, q.Scope}]; all != nil {
		for i := range all.list {
			if all.list[i].id == id {
				return all.list[i].clone()
			}
		}
	}
	return counter{id: id}
}

// store keeps what a charge has made of a quota's counter.
func (m *memory) store(now int64, q *Quota, c counter) {
	who := subject{q.Key, q.Scope}
	all := m.subjects[who]
	if all == nil {
		m.makeRoom(now)
		all = &counters{}
		m.subjects[who] = all
	}
	found := false
	all.expires = 0
	for i := range all.list {
		if all.list[i].id == c.id {
			all.list[i], found = c, true
		}
		all.expires = max(all.expires, all.list[i].expires())
	}
	if !found {
		all.list = append(all.list, c)
		all.expires = max(all.expires, c.expires())
	}
}

// makeRoom looks at a few subjects, in the random order of a Go map, and drops
// those that have expired; in a full table it drops the next to expire, if none
// has. This is how idle keys leave without a goroutine that sweeps.
func (m *memory) makeRoom(now int64) {
	const looks = 8
	looked := 0
	var soonest subject
	soonestAt := int64(1<<63 - 1)
	for who, all := range m.subjects {
		if all.expires <= now {
			delete(m.subjects, who)
		} else if all.expires < soonestAt {
			soonest, soonestAt = who, all.expires
		}
		if looked++; looked == looks {
			break
		}
	}
	if len(m.subjects) >= m.maxKeys {
		delete(m.subjects, soonest)
	}
}

func (m *memory) Reset(ctx context.Context, key, scope string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	delete(m.subjects, subject{key, scope})
	return nil
}

func (m *memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.subjects = nil
	return nil
}

// InProcess tells whether a backend is one of NewMemory, which answers without
// leaving the process: it needs no deadline and nothing to fall back on.
func InProcess(backend Backend) bool {
	_, ok := backend.(*memory)
	return ok
}
