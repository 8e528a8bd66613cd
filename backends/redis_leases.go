//go:build !ratelimiter_noredis

package backends

import (
	"strings"
	"sync"
)

const (
	leaseShards    = 16
	leasesPerShard = 1024
	// leaseShare bounds a lease: to a tenth of the limit.
	leaseShare = 10
)

// leases are units that Redis has charged in advance for this process, which spends them
// without calling Redis.
//
// Only limits with aligned windows have leases, and a lease ends with the window in which
// it was charged. Such a limit counts a unit the same at any moment of its window, so
// spending a unit later admits nothing that could not have been charged then. Units not
// spent by the end of the window are lost.
type leases struct {
	size   int64 // units to take at once, including the requested one
	shards [leaseShards]leaseShard
}

type leaseShard struct {
	mu    sync.Mutex
	stock map[leaseID]*lease
	// resets counts the resets by this process. Units charged before a reset are gone.
	resets uint64
}

// leaseID identifies a limit of a key and scope. A changed limit has no lease.
type leaseID struct {
	hash  uint64
	id    counterID
	limit int64
}

// lease is a stock of units.
type lease struct {
	quota   Quota
	units   int64
	verdict Verdict // on the last of the units, when they were charged
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

// extra returns how many units to take in addition to the requested one.
func (l *leases) extra(q *Quota) int64 {
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

// spend takes a unit from the stock, and reports whether there was one.
func (l *leases) spend(hash uint64, q *Quota, v *Verdict) bool {
	if l.extra(q) == 0 {
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
	v.ResetAfter -= clock - held.at.received
	return true
}

// prepareCall lets a call request more than one unit.
func (l *leases) prepareCall(c *call) {
	c.extra = l.extra(&c.quotas[0])
	s, _ := l.find(c.hash, &c.quotas[0])
	s.mu.Lock()
	c.resets = s.resets
	s.mu.Unlock()
}

// store adds the leased units of a call to the stock.
func (l *leases) store(c *call) {
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
		for other := range s.stock { // any one; its units are lost
			delete(s.stock, other)
			break
		}
	}
	quota := *q
	quota.Key, quota.Scope = strings.Clone(q.Key), strings.Clone(q.Scope) // they may be parts of a long request
	s.stock[id] = &lease{quota: quota, units: c.leased, verdict: c.lastLeased, at: c.at, ends: ends}
}

// drop removes the units of a key and scope that is reset.
func (l *leases) drop(key, scope string) {
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

// unspent empties the stock and returns quotas that refund it.
func (l *leases) unspent() (refunds []Quota) {
	clock := sinceStart()
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		for id, held := range s.stock {
			if held.units > 0 && held.at.latest(clock) < held.ends {
				refund := held.quota
				refund.Cost = -held.units
				refunds = append(refunds, refund)
			}
			delete(s.stock, id)
		}
		s.mu.Unlock()
	}
	return refunds
}
