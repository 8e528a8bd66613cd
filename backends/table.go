package backends

import (
	"math/bits"

	"github.com/gin-ratelimiter/ratelimiter/internal/window"
)

// entriesPerNode makes a node fill two cache lines.
const entriesPerNode = 5

// entriesPerGroup is how many entries a group holds on average before the table grows.
const entriesPerGroup = 4

// node holds five entries of a table: the hashes of key and scope, and the states. The
// hashes and the state of the first entry are in the first cache line, the other states in
// the second. A node contains no pointer, so the garbage collector does not scan it.
type node struct {
	hash [entriesPerNode]uint64 // 0 for a free entry
	next uint32                 // index of the overflow node that continues the group, 0 for none
	// limited has a bit for each entry that was denied or had no units remaining at its
	// last decision.
	limited uint32
	state   [entriesPerNode]words
}

// isLimited reports whether an entry was denied or had no units remaining at its last
// decision.
func (n *node) isLimited(i int) bool { return n.limited>>i&1 == 1 }

// mark records whether an entry is limited. It writes only on a change, so most
// requests leave the cache line unmodified.
func (n *node) mark(i int, limited bool) {
	if n.isLimited(i) != limited {
		n.limited ^= 1 << i
	}
}

// place is where to store the entry of a new key.
type place struct {
	n    *node
	i    int
	kind placeKind
}

type placeKind uint8

const (
	free     placeKind = iota // a free entry
	overflow                  // a new node after n
	occupied                  // no room: this entry has to be evicted
)

// table holds the states of one algorithm and period within a shard. It is a hash table
// that grows by one group at a time (linear hashing, Litwin, VLDB 1980), so that no request
// has to wait for a large copy. A key belongs to one group, which is a chain of nodes and
// almost always a single node.
//
// A budget of nodes bounds the size. When it is used up and a group is full, a new client
// evicts the entry of the group that has used the least, except for limited entries, and
// starts with the usage of the evicted entry. So the lowest usage in a group never falls,
// however many keys a client makes up. If all entries of the group are limited, new clients
// share the last entry, with one request each, and all other entries stay.
type table struct {
	// Fields used to find a key come first, to share a cache line.
	groups uint32 // number of groups
	keys   uint32 // entries in use
	heads  arena
	codec
	extra        arena
	nextSweep    uint32 // next group to sweep
	overflowMade uint32 // overflow nodes created, including node 0, which stands for none
	freeNode     uint32 // first node of the free list, 0 for none
	budget       int    // nodes that may still be created
}

func newTable(id counterID, now int64, budget int) *table {
	return &table{codec: newCodec(id, now), budget: budget}
}

// arena is a list of nodes that grows without moving them.
type arena struct{ chunks []*[nodesPerChunk]node }

// nodesPerChunk is the number of nodes allocated at once: 8 kB.
const nodesPerChunk = 64

func (a *arena) at(i uint32) *node { return &a.chunks[i/nodesPerChunk][i%nodesPerChunk] }

// ensure makes node i available, which is at most one past the last.
func (a *arena) ensure(i uint32) {
	if i/nodesPerChunk == uint32(len(a.chunks)) {
		a.chunks = append(a.chunks, new([nodesPerChunk]node))
	}
}

// group returns the group of a hash. Groups are split in order, so those before the last
// split already use one more bit of the hash.
func (t *table) group(hash uint64) uint32 {
	mask := uint32(1)<<bits.Len32(t.groups-1) - 1
	g := uint32(hash) & mask
	if g >= t.groups {
		g &= mask >> 1
	}
	return g
}

// find returns the entry of a hash. The node is nil if there is none.
func (t *table) find(hash uint64) (*node, int) {
	if t.groups == 0 {
		return nil, 0
	}
	n := t.heads.at(t.group(hash))
	for {
		for i := range n.hash {
			if n.hash[i] == hash {
				return n, i
			}
		}
		if n.next == 0 {
			return nil, 0
		}
		n = t.extra.at(n.next)
	}
}

// findRoom returns where to store a hash that is not in the table. It creates the first
// group if there is none, and changes nothing else.
func (t *table) findRoom(now int64, hash uint64) place {
	if t.groups == 0 {
		t.groups = 1
		t.heads.ensure(0)
		t.budget--
	}
	var least, last place
	leastUsed := uint64(1<<64 - 1)
	n := t.heads.at(t.group(hash))
	for {
		for i := range n.hash {
			if n.hash[i] == 0 || t.expired(now, n.state[i]) {
				return place{n, i, free}
			}
			last = place{n, i, occupied}
			if n.isLimited(i) {
				continue
			}
			if used := t.used(now, n.state[i]); used < leastUsed {
				least, leastUsed = last, used
			}
		}
		if n.next == 0 {
			break
		}
		n = t.extra.at(n.next)
	}
	switch {
	case t.budget > 0 || t.freeNode != 0:
		return place{n, 0, overflow}
	case least.n == nil:
		return last
	}
	return least
}

// initialState returns the state with which a new client starts at a place. At an occupied
// place it inherits the usage of the evicted entry, reduced if necessary so that this
// charge is allowed. Rejections are never inherited, nor is anything for a refund. The
// caller has to release the state.
func (t *table) initialState(now int64, at place, c *window.Charge) words {
	if at.kind != occupied || c.Cost < 0 || t.id.algorithm == rejections {
		return t.fresh()
	}
	inherited := t.clone(at.n.state[at.i])
	charge := *c
	charge.Cost, charge.Forced = 0, false
	_, v := t.decide(now, inherited, &charge)
	full := capacity(t.id.algorithm, c.Limit, c.Burst)
	if v.Remaining >= c.Cost || c.Cost > full {
		return inherited
	}
	t.release(inherited)
	charge.Cost, charge.Forced = full-c.Cost, true
	w, _ := t.decide(now, words{}, &charge)
	return w
}

// put stores the state of a new client at a place returned by findRoom.
func (t *table) put(now int64, at place, hash uint64, w words, limited bool) {
	if at.kind == overflow {
		at.n, at.i = t.extend(at.n), 0
	} else {
		t.drop(at.n, at.i)
	}
	at.n.hash[at.i], at.n.state[at.i] = hash, w
	at.n.mark(at.i, limited)
	t.keys++
	t.sweep(now)
	if t.keys > entriesPerGroup*t.groups && t.budget > 0 {
		t.split(now)
	}
}

// replace replaces the state of an entry.
func (t *table) replace(n *node, i int, w words) {
	t.release(n.state[i])
	n.state[i] = w
}

// drop frees an entry, if it is in use.
func (t *table) drop(n *node, i int) {
	if n.hash[i] != 0 {
		t.release(n.state[i])
		n.hash[i] = 0
		t.keys--
	}
}

// dropIfFull frees an entry whose full limit is available again.
func (t *table) dropIfFull(now int64, n *node, i int) {
	if t.expired(now, n.state[i]) {
		t.drop(n, i)
	}
}

// extend appends an empty node after n.
func (t *table) extend(n *node) *node {
	index := t.freeNode
	if index != 0 {
		t.freeNode = t.extra.at(index).next
	} else {
		t.overflowMade = max(1, t.overflowMade)
		index = t.overflowMade
		t.extra.ensure(index)
		t.overflowMade++
		t.budget--
	}
	added := t.extra.at(index)
	added.next = 0
	n.next = index
	return added
}

// split adds a group, and moves the keys that belong there from an older one.
func (t *table) split(now int64) {
	source := t.groups & (uint32(1)<<(bits.Len32(t.groups)-1) - 1)
	type entry struct {
		hash    uint64
		state   words
		limited bool
	}
	var array [4 * entriesPerNode]entry // avoids an allocation in the usual case
	moved := array[:0]
	head := t.heads.at(source)
	for n := head; ; n = t.extra.at(n.next) {
		for i, hash := range n.hash {
			switch {
			case hash == 0:
			case t.expired(now, n.state[i]):
				t.drop(n, i)
			default:
				moved = append(moved, entry{hash, n.state[i], n.isLimited(i)})
				n.hash[i] = 0
			}
		}
		if n.next == 0 {
			break
		}
	}
	t.unlink(head)
	t.heads.ensure(t.groups)
	t.groups++
	t.budget--
	for _, e := range moved {
		at := t.findRoom(now, e.hash)
		if at.kind == overflow {
			at.n, at.i = t.extend(at.n), 0
		}
		at.n.hash[at.i], at.n.state[at.i] = e.hash, e.state
		at.n.mark(at.i, e.limited)
	}
}

// sweep frees expired entries in one group, a different one on each call, so that expired
// keys are removed as fast as new ones are added.
func (t *table) sweep(now int64) {
	t.nextSweep++
	if t.nextSweep >= t.groups {
		t.nextSweep = 0
	}
	head := t.heads.at(t.nextSweep)
	for n := head; ; n = t.extra.at(n.next) {
		for i, hash := range n.hash {
			if hash != 0 && t.expired(now, n.state[i]) {
				t.drop(n, i)
			}
		}
		if n.next == 0 {
			break
		}
	}
	t.unlink(head)
}

// unlink removes empty nodes from the chain after head.
func (t *table) unlink(head *node) {
	for n := head; n.next != 0; {
		index := n.next
		behind := t.extra.at(index)
		if behind.hash != [entriesPerNode]uint64{} {
			n = behind
		} else {
			n.next = behind.next
			behind.next, t.freeNode = t.freeNode, index
		}
	}
}
