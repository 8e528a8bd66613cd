package dashboard

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
)

// maxScope is how many bytes of a scope are kept. A part of a scope has at most 128 bytes,
// and few scopes have several parts.
const maxScope = 160

// scopeText is a copy of a scope. The string itself may be a part of the request's headers
// and would keep them in memory.
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

// rejected finds the clients that are rejected most, among any number of clients and in
// fixed space, with the algorithm Space-Saving of Metwally, Agrawal and El Abbadi
// ("Efficient computation of frequent and top-k elements in data streams", 2005). Shards
// keep rejections from waiting for one another. A client with more than 1/32 of the
// rejections of its shard is always found. The count shown is a lower bound.
//
// Every five minutes a new period begins, and the period before is kept.
type rejected struct {
	shards [shards]rejectedShard

	mu            sync.Mutex
	since, before time.Time // the start of this period, and of the one before
}

type rejectedShard struct {
	mu       sync.Mutex
	now, old rejectedPart
}

// rejectedPart keeps hashes and counts apart from the rest, because each rejection
// searches them.
type rejectedPart struct {
	used   int
	hashes [perShard]uint64
	counts [perShard]uint64
	more   [perShard]rejectedClient
}

type rejectedClient struct {
	scope  scopeText
	over   uint64 // how much of the count may belong to other clients
	where  seriesKey
	banned bool // at the latest rejection
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

// place is a free place or, if there is none, the place of the client with the lowest
// count. A new client inherits that count.
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

// advance starts a new period when it is time.
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
	least uint64 // the count without what may belong to other clients
}

// rejections are those of two periods.
type rejections struct {
	since   time.Time
	total   uint64
	evicted bool            // clients are missing from the list
	clients []rejectedCount // those with the most rejections first
}

// all lists the clients of both periods.
func (r *rejected) all() (found rejections) {
	r.mu.Lock()
	found.since = r.before
	r.mu.Unlock()
	for i := range r.shards {
		shard := &r.shards[i]
		shard.mu.Lock()
		shard.addTo(&found)
		shard.mu.Unlock()
	}
	slices.SortFunc(found.clients, func(a, b rejectedCount) int {
		return cmp.Or(cmp.Compare(b.least, a.least), strings.Compare(a.scope.String(), b.scope.String()))
	})
	return found
}

func (s *rejectedShard) addTo(found *rejections) {
	at := map[uint64]int{}
	for _, part := range []*rejectedPart{&s.now, &s.old} {
		for i := range part.used {
			more := part.more[i]
			least := part.counts[i] - more.over
			found.total += part.counts[i] // what one client inherits, another one lost
			found.evicted = found.evicted || more.over > 0
			if known, ok := at[part.hashes[i]]; ok {
				found.clients[known].least += least
				found.clients[known].over += more.over
				continue
			}
			at[part.hashes[i]] = len(found.clients)
			found.clients = append(found.clients, rejectedCount{more, least})
		}
	}
}
