package dashboard

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
)

// maxScope is how many bytes of a scope are remembered. Parts of scopes are 128 bytes at
// most, and few have several.
const maxScope = 160

// scopeText is a scope in a place of its own: the one of a request would keep all of the
// request's headers alive.
type scopeText struct {
	length uint8
	cut    bool
	bytes  [maxScope]byte
}

func (t *scopeText) set(scope string) {
	t.length = uint8(copy(t.bytes[:], scope))
	t.cut = len(scope) > maxScope
}

func (t *scopeText) String() string {
	return strings.ToValidUTF8(string(t.bytes[:t.length]), "")
}

const (
	shards         = 8
	perShard       = 32
	rejectedPeriod = 5 * time.Minute
)

// rejected knows who is rejected most, of any number of clients, in fixed space: by the
// algorithm Space-Saving of Metwally, Agrawal and El Abbadi ("Efficient computation of
// frequent and top-k elements in data streams", 2005), in shards so that rejections wait
// for each other less. In each shard a client with more than 1/32 of its rejections is
// never missed. What is shown of a client is the least that it can be.
//
// It forgets: every five minutes it begins anew, and keeps the five minutes before.
type rejected struct {
	shards [shards]rejectedShard

	mu            sync.Mutex
	since, before time.Time // when this period began, and the one before
}

type rejectedShard struct {
	mu       sync.Mutex
	now, old rejectedPart
}

// rejectedPart has hashes and counts apart from the rest, as they are looked through
// for each rejection.
type rejectedPart struct {
	used   int
	hashes [perShard]uint64
	counts [perShard]uint64
	more   [perShard]rejectedClient
}

type rejectedClient struct {
	scope  scopeText
	over   uint64 // how much of the count may be another client's
	where  seriesKey
	banned bool // the last time
}

func (r *rejected) begin(now time.Time) { r.since, r.before = now, now }

func (r *rejected) add(hash uint64, e *ratelimiter.Event) {
	shard := &r.shards[hash%shards]
	shard.mu.Lock()
	shard.now.add(hash, e)
	shard.mu.Unlock()
}

func (p *rejectedPart) add(hash uint64, e *ratelimiter.Event) {
	at := slices.Index(p.hashes[:p.used], hash)
	if at < 0 {
		at = p.place()
		p.hashes[at] = hash
		p.more[at].over = p.counts[at]
		p.more[at].scope.set(e.Scope)
	}
	p.counts[at]++
	client := &p.more[at]
	client.where = seriesKey{e.Route, e.Name, e.Per, e.Shadow}
	client.banned = e.Outcome == ratelimiter.Banned
}

// place is a free place, or that of the client with the lowest count, which the
// newcomer inherits.
func (p *rejectedPart) place() int {
	if p.used < perShard {
		p.used++
		return p.used - 1
	}
	lowest := 0
	for i, count := range p.counts {
		if count < p.counts[lowest] {
			lowest = i
		}
	}
	return lowest
}

// advance begins a new period if it is time.
func (r *rejected) advance(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.since) < rejectedPeriod {
		return
	}
	for i := range r.shards {
		shard := &r.shards[i]
		shard.mu.Lock()
		shard.old, shard.now = shard.now, rejectedPart{}
		shard.mu.Unlock()
	}
	r.before, r.since = r.since, now
}

// rejectedCount is a client and how often it was rejected.
type rejectedCount struct {
	rejectedClient
	least uint64 // the count, without what may be another client's
}

// most lists who was rejected most since a time, the most first.
func (r *rejected) most(limit int) (list []rejectedCount, since time.Time) {
	r.mu.Lock()
	since = r.before
	r.mu.Unlock()
	for i := range r.shards {
		shard := &r.shards[i]
		shard.mu.Lock()
		list = append(list, shard.sum()...)
		shard.mu.Unlock()
	}
	slices.SortFunc(list, func(a, b rejectedCount) int {
		return cmp.Or(cmp.Compare(b.least, a.least), strings.Compare(a.scope.String(), b.scope.String()))
	})
	return list[:min(limit, len(list))], since
}

// sum adds both periods.
func (s *rejectedShard) sum() (list []rejectedCount) {
	at := map[uint64]int{}
	for _, part := range []*rejectedPart{&s.now, &s.old} {
		for i := range part.used {
			more := part.more[i]
			least := part.counts[i] - more.over
			if known, ok := at[part.hashes[i]]; ok {
				list[known].least += least
				list[known].over += more.over
				continue
			}
			at[part.hashes[i]] = len(list)
			list = append(list, rejectedCount{more, least})
		}
	}
	return list
}

// near is how many clients are remembered as the closest to a limit.
const near = 5

// closest knows which clients have used the most of a limit, while somebody looks. A
// client is forgotten when all of its limit is back.
type closest struct {
	mu   sync.Mutex
	list [near]nearClient
	used int
}

type nearClient struct {
	hash             uint64
	scope            scopeText
	limit, remaining int64
	reset            int64 // nanoseconds since 1970
}

// share is how much of the limit is used, from 0 to 1.
func (c *nearClient) share() float64 { return shareOf(c.limit, c.remaining) }

func shareOf(limit, remaining int64) float64 {
	if limit <= 0 {
		return 1
	}
	return max(0, 1-float64(remaining)/float64(limit))
}

// most is the most that can remain of a limit.
func most(info *ratelimiter.Info) int64 { return cmp.Or(info.Burst, info.Limit) }

// note remembers how a client stands. It is a sample: where another request is just
// being noted, this one is left out.
func (c *closest) note(hash uint64, info *ratelimiter.Info) {
	if !c.mu.TryLock() {
		return
	}
	defer c.mu.Unlock()
	at := c.used - 1
	for at >= 0 && c.list[at].hash != hash {
		at--
	}
	if at < 0 {
		if at = c.place(shareOf(most(info), info.Remaining)); at < 0 {
			return
		}
		c.list[at].hash = hash
		c.list[at].scope.set(info.Scope)
	}
	one := &c.list[at]
	one.limit, one.remaining, one.reset = most(info), info.Remaining, info.Reset.UnixNano()
}

// place is a free place, or that of a client with a lower share; -1 if there is none.
func (c *closest) place(share float64) int {
	if c.used < near {
		c.used++
		return c.used - 1
	}
	lowest := 0
	for i := range c.list {
		if c.list[i].share() < c.list[lowest].share() {
			lowest = i
		}
	}
	if c.list[lowest].share() >= share {
		return -1
	}
	return lowest
}

// now lists the clients, the closest first, and forgets those whose limit is whole.
func (c *closest) now(at time.Time) []nearClient {
	c.mu.Lock()
	defer c.mu.Unlock()
	left := slices.DeleteFunc(c.list[:c.used], func(one nearClient) bool { return one.reset <= at.UnixNano() })
	c.used = len(left)
	list := slices.Clone(left)
	slices.SortFunc(list, func(a, b nearClient) int {
		return cmp.Or(cmp.Compare(b.share(), a.share()), strings.Compare(a.scope.String(), b.scope.String()))
	})
	return list
}

// forget forgets a client, whose limit was reset.
func (c *closest) forget(hash uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.used = len(slices.DeleteFunc(c.list[:c.used], func(one nearClient) bool { return one.hash == hash }))
}

func (c *closest) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.used = 0
}
