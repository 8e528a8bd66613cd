package backends

import (
	"math/bits"

	"github.com/gin-ratelimiter/ratelimiter/internal/window"
)

// ways is how many entries a node holds, so that it fills two cache lines.
const entriesPerNode = 5

// load is how many entries a group holds on average before the table grows.
const entriesPerGroup = 4

// node is five entries of a table: the hashes of key and scope, and the states. The
// first entry is all in the first cache line, the states of the others are the second.
// It holds no pointer, so the garbage collector has nothing to look at.
type node struct {
	hash [entriesPerNode]uint64 // 0 for a free entry
	next uint32                 // the overflow node that continues the group, 0 for none
	// limited has a bit for each entry that had nothing left when it was last
	// asked.
	limited uint32
	state   [entriesPerNode]words
}

// isLimited tells whether an entry is being limited.
func (n *node) isLimited(i int) bool { return n.limited>>i&1 == 1 }

// mark notes whether an entry is being limited. It writes only what changes, which
// leaves the cache line as it is for most requests.
func (n *node) mark(i int, limited bool) {
	if n.isLimited(i) != limited {
		n.limited ^= 1 << i
	}
}

// place is where the entry of a key goes that has none.
type place struct {
	n    *node
	i    int
	kind placeKind
}

type placeKind uint8

const (
	free     placeKind = iota // there is room here
	overflow                  // in a new node behind n
	occupied                  // there is no room: in the place of this entry
)

// table holds the states of one algorithm and period within a shard: a hash
// table that grows by one group at a time (linear hashing, Litwin, VLDB 1980),
// so that no request ever waits for a large copy. A key belongs to one group
// alone, a chain of nodes that is almost always a single one.
//
// The budget of nodes bounds it. When that is used up and a group is full, a
// newcomer takes the place of the entry that has used the least, of those in its
// group that are not limited, and continues from what that one had used. So the
// least that anybody in the group has used never falls, however many newcomers
// are made up. Where all are limited, newcomers share the last place of the
// group, with one request each, and the others stay.
type table struct {
	// What a key that is found needs comes first, to be in one cache line.
	groups uint32 // how many there are
	keys   uint32 // entries in use
	heads  arena
	codec
	extra        arena
	nextSweep    uint32 // the group that is swept next
	overflowMade uint32 // overflow nodes, with the one numbered 0 that stands for none
	freeNode     uint32 // the first of those that are free, 0 for none
	budget       int    // nodes that may still be made
}

func newTable(id counterID, now int64, budget int) *table {
	return &table{codec: newCodec(id, now), budget: budget}
}

// arena is a list of nodes that grows without moving them.
type arena struct{ chunks []*[nodesPerChunk]node }

// chunk is how many nodes are allocated at once: 8 kB.
const nodesPerChunk = 64

func (a *arena) at(i uint32) *node { return &a.chunks[i/nodesPerChunk][i%nodesPerChunk] }

// reach makes sure that node i is there, which is at most one beyond the last.
func (a *arena) ensure(i uint32) {
	if i/nodesPerChunk == uint32(len(a.chunks)) {
		a.chunks = append(a.chunks, new([nodesPerChunk]node))
	}
}

// group finds the group of a hash. Groups are split in order, so those before
// the last split already use one bit more of the hash.
func (t *table) group(hash uint64) uint32 {
	mask := uint32(1)<<bits.Len32(t.groups-1) - 1
	g := uint32(hash) & mask
	if g >= t.groups {
		g &= mask >> 1
	}
	return g
}

// find finds the entry of a hash; the node is nil if there is none.
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

// room finds where a hash that is not in the table would go. It changes nothing
// but the number of groups, from none to one.
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
			if n.hash[i] == 0 || t.expires(n.state[i]) <= now {
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

// begin is the state in which a newcomer begins at a place: that of nobody, or, if
// it takes the place of another, what that one has used, or just enough less that
// there is room for this one charge. Rejections that count for a ban are never
// inherited, and a refund finds nothing. The words are released by the caller.
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

// put stores the state of a newcomer at a place that room has just found.
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

// replace writes the state of an entry.
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

// dropIfFull frees an entry whose limit is full again.
func (t *table) dropIfFull(now int64, n *node, i int) {
	if t.expires(n.state[i]) <= now {
		t.drop(n, i)
	}
}

// extend puts an empty node behind n.
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

// split makes one more group, with the keys of an older one that belong there.
func (t *table) split(now int64) {
	source := t.groups & (uint32(1)<<(bits.Len32(t.groups)-1) - 1)
	type entry struct {
		hash    uint64
		state   words
		limited bool
	}
	var array [4 * entriesPerNode]entry // so that usually nothing is allocated
	moved := array[:0]
	head := t.heads.at(source)
	for n := head; ; n = t.extra.at(n.next) {
		for i, hash := range n.hash {
			switch {
			case hash == 0:
			case t.expires(n.state[i]) <= now:
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

// sweep frees what has expired in one group, a different one each time, so that
// idle keys leave as fast as new ones come.
func (t *table) sweep(now int64) {
	t.nextSweep++
	if t.nextSweep >= t.groups {
		t.nextSweep = 0
	}
	head := t.heads.at(t.nextSweep)
	for n := head; ; n = t.extra.at(n.next) {
		for i, hash := range n.hash {
			if hash != 0 && t.expires(n.state[i]) <= now {
				t.drop(n, i)
			}
		}
		if n.next == 0 {
			break
		}
	}
	t.unlink(head)
}

// unlink takes empty nodes out of the chain behind head.
func (t *table) unlink(head *node) {
	for n := head; n.next != 0; {
		index := n.next
		behind := t.extra.at(index)
		if behind.hash != [entriesPerNode]uint64{} {
			n = behind
			continue
		}
		n.next = behind.next
		behind.next, t.freeNode = t.freeNode, index
	}
}
