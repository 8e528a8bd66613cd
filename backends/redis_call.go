//go:build !ratelimiter_noredis

package backends

import (
	"context"
	"hash/maphash"
	"slices"
	"time"
)

// call is a Take, or the part of a Take for one node, on its way to Redis. It owns copies
// of everything, because the caller may give up before the answer arrives.
type call struct {
	quotas   []Quota
	subjects [][]int // indices of the quotas of each key and scope
	hash     uint64  // of the first key and scope
	// template is set if the call is plain, so that scripts/plain.lua may decide it.
	template *template
	// dryRun asks for a verdict without charging anything.
	dryRun bool
	// serverTime is a recent time of the server in µs, or 0 if none is known; see
	// appendQuotas.
	serverTime int64
	// extra is how many units to lease in addition to the requested one.
	extra int64
	// resets is the number of resets before the call; see leases.
	resets    uint64
	ctx       context.Context
	deadline  time.Time // zero for none
	abandoned bool      // the caller has given up; guarded by the queue
	changes   []uint32  // for each subject, before the call was sent; see denials

	done  chan struct{} // receives when the answer has arrived
	next  *call         // next call of the same group
	alone [1]*call      // a batch with only this call

	// The answer:
	verdicts []Verdict
	err      error
	states   []numbers // of each quota after a denial; nil if allowed
	at       moment    // the time of states
	// The number of leased units, and the verdict after the last of them.
	leased     int64
	lastLeased Verdict
}

var subjectSeed = maphash.MakeSeed()

// hashSubject returns a hash of a key and scope, which is constant for the life of the
// process.
func hashSubject(key, scope string) uint64 {
	return maphash.String(subjectSeed, key)*0x9e3779b97f4a7c15 ^ maphash.String(subjectSeed, scope)
}

// newCall returns a call with copies of the quotas, of which there must be at least one.
func newCall(ctx context.Context, quotas []Quota, dryRun bool) *call {
	c := &call{done: make(chan struct{}, 1)}
	c.alone[0] = c
	c.fill(ctx, hashSubject(quotas[0].Key, quotas[0].Scope), quotas, dryRun)
	return c
}

// pooledCall is newCall, but reuses the memory of finished calls.
func (r *redisBackend) pooledCall(ctx context.Context, hash uint64, quotas []Quota) *call {
	c, ok := r.calls.Get().(*call)
	if !ok {
		return newCall(ctx, quotas, false)
	}
	c.fill(ctx, hash, quotas, false)
	return c
}

// release makes the memory of a call available again. It must be called by the last user of
// the call. If the caller has given up, that is the flight, so the caller must not call it.
func (r *redisBackend) release(c *call) {
	clear(c.quotas) // drops references to strings
	*c = call{done: c.done, alone: c.alone, quotas: c.quotas[:0], verdicts: c.verdicts[:0], changes: c.changes[:0]}
	r.calls.Put(c)
}

// singleSubject is the subjects of a call with a single quota.
var singleSubject = [][]int{{0}}

func (c *call) fill(ctx context.Context, hash uint64, quotas []Quota, dryRun bool) {
	c.quotas = append(c.quotas, quotas...)
	for i := range c.quotas {
		c.quotas[i].prepared = nil // it would make equal quotas differ
	}
	c.verdicts = slices.Grow(c.verdicts, len(quotas))[:len(quotas)]
	clear(c.verdicts)
	c.hash, c.dryRun = hash, dryRun
	c.ctx = ctx
	c.deadline, _ = ctx.Deadline()
	if len(quotas) > 1 {
		c.subjects = subjectsOf(quotas)
		return
	}
	c.subjects = singleSubject
	if !dryRun {
		c.template = templateOf(&c.quotas[0])
	}
}

// group is a decision that one or more calls request. Redis decides it once, and grants it
// to as many of them as it can.
type group struct {
	first, last *call // linked by next
	size        int64
	block       int // see sortByTemplate
}

// times returns how often the decision is requested.
func (g *group) times() int64 { return g.size + g.first.extra }

func (g *group) add(c *call) {
	g.last.next, g.last = c, c
	g.size++
}

// mergeable reports whether a call can share a decision with equal ones.
func (c *call) mergeable() bool {
	q := &c.quotas[0]
	return len(c.quotas) == 1 && q.Cost > 0 && !q.Forced && !q.Shadow && q.Ban == 0 && !c.dryRun
}

// mergesWith reports whether two calls can share a decision.
func (c *call) mergesWith(other *call) bool {
	return c.hash == other.hash && c.mergeable() && other.mergeable() && c.quotas[0] == other.quotas[0]
}

// mergeCalls puts equal calls into groups, in the order of their arrival.
func mergeCalls(calls []*call) []group {
	if len(calls) == 1 {
		return []group{{first: calls[0], last: calls[0], size: 1}}
	}
	groups := make([]group, 0, min(len(calls), maxBatch))
	var latest [256]int32 // last group with these low bits of the hash, plus one
	var before []int32    // for each group, the previous value of latest
	for _, c := range calls {
		c.next = nil
		slot := &latest[c.hash%256]
		at := *slot
		for at > 0 && !groups[at-1].first.mergesWith(c) {
			at = before[at-1]
		}
		if at > 0 {
			groups[at-1].add(c)
			continue
		}
		groups, before = append(groups, group{first: c, last: c, size: 1}), append(before, *slot)
		*slot = int32(len(groups))
	}
	return groups
}
