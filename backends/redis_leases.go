package backends

import (
	"strings"
	"sync"
)

const (
	leaseShards    = 16
	leasesPerShard = 1024
	// leaseShare is which part of a limit a process leases at most.
	leaseShare = 10
)

// leases are units that Redis has charged for this process beforehand. It spends
// them without asking.
//
// They are only taken from limits whose windows are aligned, and end with the
// window in which they were charged. Such a limit counts a unit the same whenever
// in its window it was charged, so spending one later admits nothing that could
// not have been charged at that moment. What is not spent is lost until then.
type leases struct {
	size   int64 // units that are leased at once, with the one that is asked for
	shards [leaseShards]leaseShard
}

type leaseShard struct {
	mu    sync.Mutex
	stock map[leaseID]*lease
	// resets counts those of this process: what was charged before one is gone.
	resets uint64
}

// leaseID is which limit of which key and scope units are for. A limit that was
// changed has no lease.
type leaseID struct {
	hash  uint64
	id    counterID
	limit int64
}

// lease is units in stock.
type lease struct {
	of      Quota
	units   int64
	verdict Verdict // of the last of them, at the moment when they were charged
	at      moment
	ends    int64 // on the server's clock, µs
}

func newLeases(size int64) *leases {
	l := &leases{size: size}
	for i := range l.shards {
		l.shards[i].stock = map[leaseID]*lease{}
	}
	return l
}

// more is how many units to take beside the one that is asked for.
func (l *leases) more(q *Quota) int64 {
	aligned := q.Algorithm == SlidingWindow || q.Algorithm == FixedWindow
	if !aligned || q.Calendar != nil || q.Cost != 1 || q.Forced || q.Shadow || q.Ban != 0 {
		return 0
	}
	return max(0, min(l.size, q.Limit/leaseShare)-1)
}

func (l *leases) find(hash uint64, q *Quota) (*leaseShard, leaseID) {
	id := leaseID{hash, idOf(q), q.Limit}
	return &l.shards[id.hash%leaseShards], id
}

// spend takes one unit from the stock, and tells whether there was one.
func (l *leases) spend(hash uint64, q *Quota, v *Verdict) bool {
	if l.more(q) == 0 {
		return false
	}
	clock := sinceStart()
	s, id := l.find(hash, q)
	s.mu.Lock()
	defer s.mu.Unlock()
	held := s.stock[id]
	if held == nil {
		return false
	}
	if held.units == 0 || held.at.latest(clock) >= held.ends {
		delete(s.stock, id)
		return false
	}
	held.units--
	*v = held.verdict
	v.Remaining += held.units
	v.ResetAfter -= clock - held.at.told
	return true
}

// before lets a call ask for more than one unit.
func (l *leases) before(c *call) {
	c.more = l.more(&c.quotas[0])
	s, _ := l.find(c.hash, &c.quotas[0])
	s.mu.Lock()
	c.resets = s.resets
	s.mu.Unlock()
}

// keep puts units into the stock that were charged for a call.
func (l *leases) keep(c *call) {
	q := &c.quotas[0]
	s, id := l.find(c.hash, q)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.resets != s.resets {
		return
	}
	ends := (c.at.now/id.id.per + 1) * id.id.per
	if held := s.stock[id]; held != nil && held.ends == ends {
		held.units += c.leased
		held.verdict, held.at = c.lastLeased, c.at
		return
	}
	if len(s.stock) >= leasesPerShard {
		for other := range s.stock { // any, whose units are lost
			delete(s.stock, other)
			break
		}
	}
	of := *q
	of.Key, of.Scope = strings.Clone(q.Key), strings.Clone(q.Scope) // which may be pieces of a long request
	s.stock[id] = &lease{of: of, units: c.leased, verdict: c.lastLeased, at: c.at, ends: ends}
}

// forget drops what is in stock for a key and scope that is reset: there is
// nothing any more that it was charged to.
func (l *leases) forget(key, scope string) {
	hash := hashSubject(key, scope)
	s := &l.shards[hash%leaseShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resets++
	for id := range s.stock {
		if id.hash == hash {
			delete(s.stock, id)
		}
	}
}

// unspent empties the stock, and returns what would give it back.
func (l *leases) unspent() (refunds []Quota) {
	clock := sinceStart()
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		for id, held := range s.stock {
			if held.units > 0 && held.at.latest(clock) < held.ends {
				refund := held.of
				refund.Cost = -held.units
				refunds = append(refunds, refund)
			}
			delete(s.stock, id)
		}
		s.mu.Unlock()
	}
	return refunds
}
