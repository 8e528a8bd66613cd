package backends

import (
	"context"
	"hash/maphash"
	"slices"
	"time"
)

// call is a Take, or the part of one that is on one node, on its way to Redis.
// It has copies of everything: whoever asked may have left when the answer comes.
type call struct {
	quotas   []Quota
	subjects [][]int // the quotas of each key and scope
	hash     uint64  // of the first key and scope
	// kind is set where the call is plain: scripts/plain.lua may decide it.
	template *template
	// trial asks what the answer would be, and charges nothing.
	dryRun bool
	// around is a time near that of the server, in µs, as far as one was told. It is 0 for
	// the time of this process; see appendQuotas.
	serverTime int64
	// more is how many units to lease beside what is asked for.
	extra int64
	// resets is how many there had been when it was asked; see leases.
	resets    uint64
	ctx       context.Context
	deadline  time.Time // zero for none
	abandoned bool      // nobody waits for it any more; guarded by the queue
	changes   []uint32  // of each subject, before it was sent; see denials

	done  chan struct{} // tells that the answer is here
	next  *call         // of the same group
	alone [1]*call      // a batch of this call alone

	// The answer:
	verdicts []Verdict
	err      error
	states   []numbers // as a denial has left them, one for each quota; nil when granted
	at       moment    // when these were so
	// What was leased, and the verdict after the last of it.
	leased     int64
	lastLeased Verdict
}

var subjectSeed = maphash.MakeSeed()

// hashSubject is the same for the same key and scope, as long as the process lives.
func hashSubject(key, scope string) uint64 {
	return maphash.String(subjectSeed, key)*0x9e3779b97f4a7c15 ^ maphash.String(subjectSeed, scope)
}

// newCall copies the quotas, of which there is one at least.
func newCall(ctx context.Context, quotas []Quota, dryRun bool) *call {
	c := &call{done: make(chan struct{}, 1)}
	c.alone[0] = c
	c.fill(ctx, hashSubject(quotas[0].Key, quotas[0].Scope), quotas, dryRun)
	return c
}

// pooledCall is newCall with memory of calls that are over.
func (r *redisBackend) pooledCall(ctx context.Context, hash uint64, quotas []Quota) *call {
	c, ok := r.calls.Get().(*call)
	if !ok {
		return newCall(ctx, quotas, false)
	}
	c.fill(ctx, hash, quotas, false)
	return c
}

// release is called by the last who uses a call. That is never the one who asked,
// if he has left before the answer: the flight still has it then.
func (r *redisBackend) release(c *call) {
	clear(c.quotas) // which hold texts of others
	*c = call{done: c.done, alone: c.alone, quotas: c.quotas[:0], verdicts: c.verdicts[:0], changes: c.changes[:0]}
	r.calls.Put(c)
}

// onlySubject are the subjects of a call of one quota.
var singleSubject = [][]int{{0}}

func (c *call) fill(ctx context.Context, hash uint64, quotas []Quota, dryRun bool) {
	c.quotas = append(c.quotas, quotas...)
	for i := range c.quotas {
		c.quotas[i].prepared = nil // which would tell equal quotas apart
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

// group is a decision that one or more callers ask for. Redis is asked once, and
// grants it to as many of them as it can.
type group struct {
	first, last *call // and those between, by their next
	size        int64
	block       int // see sortByKind
}

// times is how often a decision is asked for.
func (g *group) times() int64 { return g.size + g.first.extra }

func (g *group) add(c *call) {
	g.last.next, g.last = c, c
	g.size++
}

// joinable tells whether a call can be decided together with equal ones.
func (c *call) mergeable() bool {
	q := &c.quotas[0]
	return len(c.quotas) == 1 && q.Cost > 0 && !q.Forced && !q.Shadow && q.Ban == 0 && !c.dryRun
}

// joins tells whether a call is decided together with another.
func (c *call) mergesWith(other *call) bool {
	return c.hash == other.hash && c.mergeable() && other.mergeable() && c.quotas[0] == other.quotas[0]
}

// mergeCalls puts equal calls into one group, in the order in which they came.
func mergeCalls(calls []*call) []group {
	if len(calls) == 1 {
		return []group{{first: calls[0], last: calls[0], size: 1}}
	}
	groups := make([]group, 0, min(len(calls), maxBatch))
	var latest [256]int32 // of the groups whose hash ends in so many bits, one more than its number
	var before []int32    // of each group, the one that was the latest then
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
