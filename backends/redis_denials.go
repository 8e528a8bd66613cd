package backends

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// trust is how long a denial is believed at most, so that what other processes
	// reset or give back is noticed before long.
	trust = 10 * time.Second

	// What is remembered is bounded by these.
	denialShards     = 16
	denialStripes    = 256
	denialsPerShard  = 1024
	denialsOfSubject = 16
)

// denials remembers on which states Redis has denied. Other processes can only
// add to them, so nothing but time frees them: what such a state denies now,
// Redis denies too. What another process resets or gives back it cannot see.
type denials struct {
	shards [denialShards]denialShard
	count  atomic.Uint64 // of what was denied here
}

type denialShard struct {
	mu     sync.Mutex
	denied map[uint64][]denial // by the hash of key and scope
	events [denialStripes]events
}

// events are what this process has changed of a few keys and scopes: an answer
// that may be older is not remembered.
type events struct {
	changes uint32 // how often something was charged, given back or reset
	freeing int32  // how many refunds and resets are under way
}

func (s *denialShard) eventsOf(hash uint64) *events {
	return &s.events[hash/denialShards%denialStripes]
}

// denial is a state of one limit that was denied on.
type denial struct {
	id    counterID
	state numbers
	at    moment
	until int64 // on the clock of the server, when what was denied is allowed
}

// Of a limit that has allowed its part of a denied question, nothing ends.
const always = math.MaxInt64

// untilOf is when a charge that a state has denied is allowed. Others may have been
// admitted since then, so the state is out of date for lower limits too.
func untilOf(state numbers, q *Quota, now int64) int64 {
	charge := q.charge()
	if v := state.verdict(now, idOf(q), &charge); v.RetryAfter > 0 {
		return now + v.RetryAfter
	}
	return always
}

// began is what our clock counts from.
var began = time.Now()

func sinceStart() time.Duration { return time.Since(began) }

// moment is a time of the server, and when on our clock it was asked for and told.
// An hour after asking the server's clock shows now and an hour, or less; an hour
// after being told it shows that, or more.
type moment struct {
	now         int64 // µs
	order       int   // among all that was decided at that time
	asked, told time.Duration
}

// after tells whether m is not older than another. Answers overtake each other.
func (m moment) after(other moment) bool {
	if m.asked >= other.told || m.now != other.now {
		return m.asked >= other.told || m.now > other.now
	}
	return m.order >= other.order
}

func (m moment) latest(clock time.Duration) int64 {
	return m.now + (clock - m.asked + time.Microsecond - 1).Microseconds()
}

func (m moment) earliest(clock time.Duration) int64 {
	return m.now + (clock - m.told).Microseconds()
}

func newDenials() *denials {
	d := &denials{}
	for i := range d.shards {
		d.shards[i].denied = map[uint64][]denial{}
	}
	return d
}

func (d *denials) shard(hash uint64) *denialShard { return &d.shards[hash%denialShards] }

// deny answers a Take that Redis would deny, and tells whether it has. It needs to
// know of each quota.
func (d *denials) deny(quotas []Quota, verdicts []Verdict) bool {
	clock := sinceStart()
	denied, banned := false, d.banned(quotas, clock)
	for i := range quotas {
		q := &quotas[i]
		if q.Cost < 0 || q.Forced || q.Tentative && !banned || sharing(quotas[:i], q) {
			return false
		}
		known, ok := d.find(hashSubject(q.Key, q.Scope), q)
		if !ok || !known.trusted(clock) {
			return false
		}
		charge := q.charge()
		v := known.state.verdict(known.at.latest(clock), known.id, &charge)
		denied = denied || !v.Allowed() && !q.Shadow
		if v.Allowed() && (len(quotas) == 1 || q.Ban != 0 && q.Cost != 0) {
			return false // a denial counts for a ban in Redis
		}
		// Whoever comes back by our clock must not come too early by the server's.
		now := known.at.earliest(clock)
		v = known.state.verdict(now, known.id, &charge)
		verdicts[i] = verdict(v)
		if v.Allowed() {
			peek := q.peek()
			verdicts[i].left(verdict(known.state.verdict(now, known.id, &peek)))
		}
	}
	if denied {
		d.count.Add(1)
	}
	return denied
}

// banned tells whether a ban is known to be in force, from which no units that are
// given back free anybody.
func (d *denials) banned(quotas []Quota, clock time.Duration) bool {
	for i := range quotas {
		q := &quotas[i]
		if q.Ban == 0 {
			continue
		}
		known, ok := d.find(hashSubject(q.Key, q.Scope), q)
		charge := q.charge()
		if ok && known.trusted(clock) && !known.state.verdict(known.at.latest(clock), known.id, &charge).Allowed() {
			return true
		}
	}
	return false
}

// denyOne is deny for a Take of one quota.
func (d *denials) denyOne(hash uint64, q *Quota, v *Verdict) bool {
	if q.Cost < 0 || q.Forced || q.Tentative || q.Shadow {
		return false
	}
	known, ok := d.find(hash, q)
	if !ok {
		return false
	}
	clock, charge := sinceStart(), q.charge()
	if !known.trusted(clock) || known.state.verdict(known.at.latest(clock), known.id, &charge).Allowed() {
		return false
	}
	*v = verdict(known.state.verdict(known.at.earliest(clock), known.id, &charge))
	d.count.Add(1)
	return true
}

// CachedDenials counts the questions that a backend of NewRedis has denied from
// what it remembers, without asking Redis. It is false for another backend.
func CachedDenials(backend Backend) (uint64, bool) {
	r, ok := backend.(*redisBackend)
	if !ok || r.denials == nil {
		return 0, ok
	}
	return r.denials.count.Load(), true
}

// find finds what was denied of a quota's limit.
func (d *denials) find(hash uint64, q *Quota) (denial, bool) {
	s := d.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.denied) == 0 || s.eventsOf(hash).freeing > 0 {
		return denial{}, false // others may see already that it is free
	}
	list := s.denied[hash]
	for i := range list {
		if list[i].id == idOf(q) {
			return list[i], true
		}
	}
	return denial{}, false
}

// trusted tells whether it was denied not long ago, and would still be denied.
func (d *denial) trusted(clock time.Duration) bool {
	return clock-d.at.asked < trust && d.at.latest(clock) < d.until
}

// sharing tells whether a quota shares its counter with one of others.
func sharing(others []Quota, q *Quota) bool {
	return slices.ContainsFunc(others, func(other Quota) bool {
		return subjectOf(&other) == subjectOf(q) && idOf(&other) == idOf(q)
	})
}

// frees tells whether some of a call's quotas give back what was denied before.
func (c *call) frees(members []int) bool {
	for _, member := range members {
		if c.quotas[member].Cost < 0 {
			return true
		}
	}
	return false
}

// hashOf is that of a subject of a call.
func (c *call) hashOf(subject int) uint64 {
	if subject == 0 {
		return c.hash
	}
	q := &c.quotas[c.subjects[subject][0]]
	return hashSubject(q.Key, q.Scope)
}

// before notes what the answer to a call must not be older than.
func (d *denials) before(c *call) {
	for i, members := range c.subjects {
		hash := c.hashOf(i)
		s := d.shard(hash)
		s.mu.Lock()
		e := s.eventsOf(hash)
		c.changes = append(c.changes, e.changes)
		if c.frees(members) {
			e.freeing++
		}
		s.mu.Unlock()
	}
}

// after remembers a call that was denied, and forgets what another has changed,
// or may have changed.
func (d *denials) after(c *call, answered bool) {
	for i, members := range c.subjects {
		hash := c.hashOf(i)
		s := d.shard(hash)
		s.mu.Lock()
		e := s.eventsOf(hash)
		if c.frees(members) {
			e.freeing--
		}
		switch {
		case !answered || c.states == nil:
			e.changes++
			delete(s.denied, hash)
		case e.freeing == 0 && c.changes[i] == e.changes:
			for _, member := range members {
				q, state := &c.quotas[member], c.states[member]
				s.remember(hash, denial{idOf(q), state, c.at, untilOf(state, q, c.at.now)})
			}
		}
		s.mu.Unlock()
	}
}

func (s *denialShard) remember(hash uint64, latest denial) {
	list := s.denied[hash]
	if list == nil && len(s.denied) >= denialsPerShard {
		for other := range s.denied { // any
			delete(s.denied, other)
			break
		}
	}
	at := slices.IndexFunc(list, func(old denial) bool { return old.id == latest.id })
	switch {
	case at >= 0:
		if latest.at.after(list[at].at) {
			list[at] = latest
		}
	case len(list) >= denialsOfSubject:
		list[0] = latest
	default:
		list = append(list, latest)
	}
	s.denied[hash] = list
}

// resetting is called before a key and scope are reset, what it returns after.
func (d *denials) resetting(key, scope string) (done func()) {
	hash := hashSubject(key, scope)
	s := d.shard(hash)
	e := s.eventsOf(hash)
	s.mu.Lock()
	e.freeing++
	s.mu.Unlock()
	return func() {
		s.mu.Lock()
		e.freeing--
		e.changes++
		delete(s.denied, hash)
		s.mu.Unlock()
	}
}
