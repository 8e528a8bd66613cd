//go:build !ratelimiter_noredis

package backends

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// denialTTL is how long a denial is cached at most, so that resets and refunds by other
	// processes take effect soon.
	denialTTL = 10 * time.Second

	// Bounds of the cache.
	denialShards      = 16
	denialStripes     = 256
	denialsPerShard   = 1024
	denialsPerSubject = 16
)

// denials caches the states on which Redis has denied. Other processes can only add to
// these states, so a state that denies now is also denied by Redis, until time frees it.
// Resets and refunds by other processes are not visible here.
type denials struct {
	shards [denialShards]denialShard
	count  atomic.Uint64 // decisions denied from the cache
}

type denialShard struct {
	mu     sync.Mutex
	denied map[uint64][]denial // by hash of key and scope
	events [denialStripes]events
}

// events records changes that this process makes to a group of keys and scopes. An answer
// that may be older than a change is not cached.
type events struct {
	changes        uint32 // number of charges, refunds and resets
	pendingRefunds int32  // refunds and resets in progress
}

func (s *denialShard) eventsOf(hash uint64) *events {
	return &s.events[hash/denialShards%denialStripes]
}

// denial is a state of one limit that was denied on.
type denial struct {
	id    counterID
	state numbers
	at    moment
	until int64 // when the denied charge is allowed, on the server's clock
}

// neverEnds is the end of a denial for a limit that did not deny its part of the call.
const neverEnds = math.MaxInt64

// endOf returns when a charge that was denied is allowed. From then on, others may have been
// allowed in the meantime, so the state is out of date, also for a lower limit.
func endOf(state numbers, q *Quota, now int64) int64 {
	charge := q.charge()
	if v := state.verdict(now, idOf(q), &charge); v.RetryAfter > 0 {
		return now + v.RetryAfter
	}
	return neverEnds
}

// processStart is the zero of the local clock.
var processStart = time.Now()

func sinceStart() time.Duration { return time.Since(processStart) }

// moment is a time of the server, with the local times at which the command was sent and
// the answer received. One hour after sent, the server's clock shows at most now plus an
// hour; one hour after received, it shows at least that.
type moment struct {
	now            int64 // µs
	order          int   // position among the decisions at that time
	sent, received time.Duration
}

// notOlderThan reports whether m is at least as new as other. Answers may overtake each
// other.
func (m moment) notOlderThan(other moment) bool {
	if m.sent >= other.received || m.now != other.now {
		return m.sent >= other.received || m.now > other.now
	}
	return m.order >= other.order
}

func (m moment) latest(clock time.Duration) int64 {
	return m.now + (clock - m.sent + time.Microsecond - 1).Microseconds()
}

func (m moment) earliest(clock time.Duration) int64 {
	return m.now + (clock - m.received).Microseconds()
}

func newDenials() *denials {
	d := &denials{}
	for i := range d.shards {
		d.shards[i].denied = map[uint64][]denial{}
	}
	return d
}

func (d *denials) shard(hash uint64) *denialShard { return &d.shards[hash%denialShards] }

// deny decides a Take that Redis would deny, and reports whether it did. It needs a cached
// denial for each quota.
func (d *denials) deny(quotas []Quota, verdicts []Verdict) bool {
	clock := sinceStart()
	denied, banned := false, d.banned(quotas, clock)
	for i := range quotas {
		q := &quotas[i]
		if q.Tentative && !banned || sharesCounter(quotas[:i], q) {
			return false
		}
		known, ok := d.find(hashSubject(q.Key, q.Scope), q)
		if !ok || !known.isCurrent(clock) {
			return false
		}
		charge := q.charge()
		v := known.state.verdict(known.at.latest(clock), known.id, &charge)
		denied = denied || !v.Allowed() && !q.Shadow
		if v.Allowed() && (len(quotas) == 1 || q.Ban != 0 && q.Cost != 0) {
			return false // Redis has to count the denial towards a ban
		}
		// RetryAfter must be long enough by the server's clock.
		now := known.at.earliest(clock)
		v = known.state.verdict(now, known.id, &charge)
		verdicts[i] = verdict(v)
		if v.Allowed() {
			peek := q.peek()
			verdicts[i].setRemaining(verdict(known.state.verdict(now, known.id, &peek)))
		}
	}
	if denied {
		d.count.Add(1)
	}
	return denied
}

// banned reports whether the cache holds a ban. Refunds do not end a ban.
func (d *denials) banned(quotas []Quota, clock time.Duration) bool {
	for i := range quotas {
		q := &quotas[i]
		if q.Ban == 0 {
			continue
		}
		known, ok := d.find(hashSubject(q.Key, q.Scope), q)
		charge := q.charge()
		if ok && !known.state.verdict(known.at.latest(clock), known.id, &charge).Allowed() {
			return true
		}
	}
	return false
}

// denyOne is deny for a Take with a single quota.
func (d *denials) denyOne(hash uint64, q *Quota, v *Verdict) bool {
	if q.Tentative || q.Shadow {
		return false
	}
	known, ok := d.find(hash, q)
	if !ok {
		return false
	}
	clock, charge := sinceStart(), q.charge()
	if !known.isCurrent(clock) || known.state.verdict(known.at.latest(clock), known.id, &charge).Allowed() {
		return false
	}
	*v = verdict(known.state.verdict(known.at.earliest(clock), known.id, &charge))
	d.count.Add(1)
	return true
}

// CachedDenials returns how many calls a backend of NewRedis has denied from its cache,
// without calling Redis. For any other backend, it returns false.
func CachedDenials(backend Backend) (uint64, bool) {
	r, ok := backend.(*redisBackend)
	if !ok || r.denials == nil {
		return 0, ok
	}
	return r.denials.count.Load(), true
}

// find returns the cached denial for the limit of a quota.
func (d *denials) find(hash uint64, q *Quota) (denial, bool) {
	s := d.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.denied) == 0 || s.eventsOf(hash).pendingRefunds > 0 {
		return denial{}, false // others may already see that it is free
	}
	list := s.denied[hash]
	for i := range list {
		if list[i].id == idOf(q) {
			return list[i], true
		}
	}
	return denial{}, false
}

// isCurrent reports whether the denial is recent and has not ended.
func (d *denial) isCurrent(clock time.Duration) bool {
	return clock-d.at.sent < denialTTL && d.at.latest(clock) < d.until
}

// sharesCounter reports whether a quota shares its counter with any of the others.
func sharesCounter(others []Quota, q *Quota) bool {
	return slices.ContainsFunc(others, func(other Quota) bool {
		return subjectOf(&other) == subjectOf(q) && idOf(&other) == idOf(q)
	})
}

// hasRefund reports whether any of the given quotas refunds units.
func (c *call) hasRefund(members []int) bool {
	for _, member := range members {
		if c.quotas[member].Cost < 0 {
			return true
		}
	}
	return false
}

// hashOf returns the hash of a subject of the call.
func (c *call) hashOf(subject int) uint64 {
	if subject == 0 {
		return c.hash
	}
	q := &c.quotas[c.subjects[subject][0]]
	return hashSubject(q.Key, q.Scope)
}

// callStarts notes the changes that the answer to a call must not be older than.
func (d *denials) callStarts(c *call) {
	for i, members := range c.subjects {
		hash := c.hashOf(i)
		s := d.shard(hash)
		s.mu.Lock()
		e := s.eventsOf(hash)
		c.changes = append(c.changes, e.changes)
		if c.hasRefund(members) {
			e.pendingRefunds++
		}
		s.mu.Unlock()
	}
}

// callEnds caches the states of a denied call, and removes those that the call has changed
// or may have changed.
func (d *denials) callEnds(c *call, answered bool) {
	for i, members := range c.subjects {
		hash := c.hashOf(i)
		s := d.shard(hash)
		s.mu.Lock()
		e := s.eventsOf(hash)
		if c.hasRefund(members) {
			e.pendingRefunds--
		}
		switch {
		case !answered || c.states == nil:
			e.changes++
			delete(s.denied, hash)
		case e.pendingRefunds == 0 && c.changes[i] == e.changes:
			for _, member := range members {
				q, state := &c.quotas[member], c.states[member]
				s.add(hash, denial{idOf(q), state, c.at, endOf(state, q, c.at.now)})
			}
		}
		s.mu.Unlock()
	}
}

func (s *denialShard) add(hash uint64, latest denial) {
	list := s.denied[hash]
	if list == nil && len(s.denied) >= denialsPerShard {
		for other := range s.denied { // any one
			delete(s.denied, other)
			break
		}
	}
	at := slices.IndexFunc(list, func(old denial) bool { return old.id == latest.id })
	switch {
	case at >= 0:
		if latest.at.notOlderThan(list[at].at) {
			list[at] = latest
		}
	case len(list) >= denialsPerSubject:
		list[0] = latest
	default:
		list = append(list, latest)
	}
	s.denied[hash] = list
}

// beginReset must be called before a key and scope are reset, and done afterwards.
func (d *denials) beginReset(key, scope string) (done func()) {
	hash := hashSubject(key, scope)
	s := d.shard(hash)
	e := s.eventsOf(hash)
	s.mu.Lock()
	e.pendingRefunds++
	s.mu.Unlock()
	return func() {
		s.mu.Lock()
		e.pendingRefunds--
		e.changes++
		delete(s.denied, hash)
		s.mu.Unlock()
	}
}
