//go:build !ratelimiter_noredis

package backends

import (
	"cmp"
	_ "embed" // for the script
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/internal/window"
	"github.com/redis/go-redis/v9"
)

//go:embed scripts/plain.lua
var plainSource string

// plainScript decides plain calls: one limit on a key that holds nothing else.
var plainScript = &script{
	Script: redis.NewScript(plainSource), source: plainSource, args: plainArgs, readReply: readPlainReply,
}

// template holds what plain decisions on different keys have in common. They are made in
// one block of the script call.
type template struct {
	algorithm          Algorithm
	per                time.Duration
	limit, burst, cost int64

	args [6]any // arguments of plain.lua: the name with =, the limit, and four numbers
}

// templates caches recent templates by hash. An application has few of them, unless a limit
// or cost depends on the request.
var templates [4096]atomic.Pointer[template]

// templateOf returns the template of a quota, or nil if the quota is not plain.
func templateOf(q *Quota) *template {
	if q.Cost <= 0 || q.Limit == 0 || q.Forced || q.Shadow || q.Ban != 0 || q.Calendar != nil || q.Algorithm == SlidingLog {
		return nil
	}
	hash := uint64(q.Limit)*0x9e3779b97f4a7c15 + uint64(q.Per)*0xd1b54a32d192ed03 + uint64(q.Cost)*0x8cb92ba72f3d8dd7
	hash += uint64(q.Burst)*0xaef17502108ef2d9 + uint64(q.Algorithm)*0xe7037ed1a0b428db
	slot := &templates[hash>>52]
	known := slot.Load()
	if known == nil || !known.matches(q) {
		if known = newTemplate(q); known != nil {
			slot.Store(known)
		}
	}
	return known
}

func (k *template) matches(q *Quota) bool {
	return k.limit == q.Limit && k.per == q.Per && k.cost == q.Cost && k.burst == q.Burst && k.algorithm == q.Algorithm
}

func newTemplate(q *Quota) *template {
	id := idOf(q)
	t := &template{algorithm: q.Algorithm, per: q.Per, limit: q.Limit, burst: q.Burst, cost: q.Cost}
	values := [4]int64{id.per, q.Cost}
	if q.Algorithm == TokenBucket {
		var step, full bool
		values[0], values[1], step = priceOf(q.Cost, id.per, q.Limit)
		values[2], values[3], full = priceOf(q.Capacity(), id.per, q.Limit)
		if !step || !full {
			return nil
		}
	}
	t.args[0], t.args[1] = id.name()+"=", strconv.FormatInt(q.Limit, 10)
	for i, number := range values {
		t.args[2+i] = strconv.FormatInt(number, 10)
	}
	return t
}

// priceOf returns the time that units of a bucket cost: micros + rest/limit µs. ok is false
// if that exceeds the largest debt of a bucket.
func priceOf(units, per, limit int64) (micros, rest int64, ok bool) {
	high, low := bits.Mul64(uint64(units), uint64(per))
	if high >= uint64(limit) {
		return 0, 0, false
	}
	quotient, remainder := bits.Div64(high, low, uint64(limit))
	return int64(quotient), int64(remainder), quotient < uint64(window.MaxDebt)
}

// notPlainKeys remembers until the end of the minute which keys turned out not to be plain,
// so that they go directly to take.lua. It may forget some earlier.
type notPlainKeys [1024]atomic.Uint64

func (m *notPlainKeys) slot(hash uint64) *atomic.Uint64 { return &m[hash%uint64(len(m))] }

func (m *notPlainKeys) has(hash uint64, clock time.Duration) bool {
	return m.slot(hash).Load() == minuteMark(hash, clock)
}

func (m *notPlainKeys) mark(hash uint64, clock time.Duration) {
	m.slot(hash).Store(minuteMark(hash, clock))
}

// minuteMark returns a hash in which the bits that select the slot are replaced by the
// number of the minute.
func minuteMark(hash uint64, clock time.Duration) uint64 {
	return hash&^1023 | 512 | uint64(clock/time.Minute)%512
}

// sortByTemplate moves groups with the same template next to each other, after those that
// are not plain. Blocks keep the order of their first groups.
func sortByTemplate(groups []group) {
	if !slices.ContainsFunc(groups, func(g group) bool { return !g.sameTemplate(&groups[0]) }) {
		return // the usual case
	}
	var blocks []group // first group of each
	for i := range groups {
		g := &groups[i]
		if g.block = slices.IndexFunc(blocks, g.sameTemplateAs); g.block < 0 {
			g.block = len(blocks)
			blocks = append(blocks, *g)
		}
	}
	slices.SortStableFunc(groups, func(a, b group) int {
		if plain := a.first.template != nil; plain != (b.first.template != nil) {
			if plain {
				return 1
			}
			return -1
		}
		return cmp.Compare(a.block, b.block)
	})
}

func (g *group) sameTemplateAs(other group) bool { return g.sameTemplate(&other) }

func (g *group) sameTemplate(other *group) bool {
	return g.first.template == other.first.template && g.times() == other.times()
}

// plainArgs encodes groups for plain.lua, in blocks with the same template.
func plainArgs(groups []group) []any {
	args := make([]any, 3, 3+len(groups)+8)
	args[2] = len(groups)
	for i := range groups {
		q := &groups[i].first.quotas[0]
		args = append(args, redisKey(q.Key, q.Scope))
	}
	for begin := 0; begin < len(groups); {
		end := begin + 1
		for end < len(groups) && groups[end].sameTemplate(&groups[begin]) {
			end++
		}
		args = append(args, end-begin, groups[begin].times())
		args = append(args, groups[begin].first.template.args[:]...)
		begin = end
	}
	return args
}

// readPlainReply implements script.readReply.
func readPlainReply(groups []group, reply string, order int) (undecided []group, err error) {
	now, words, err := parseReply(reply, 2*len(groups))
	if err != nil {
		return nil, err
	}
	for i := range groups {
		g := &groups[i]
		if strings.HasPrefix(string(words), "- ") {
			_, _ = words.next(), words.next()
			undecided = append(undecided, *g)
			continue
		}
		granted, err := words.granted()
		if err != nil {
			return nil, err
		}
		err = g.replayOne(now, granted, words.next())
		for c := g.first; c != nil; c = c.next {
			c.err, c.at.now, c.at.order = err, now, order+i
		}
	}
	return undecided, nil
}

// replayOne repeats the decision of Redis on one quota, on the state before it, to find the
// verdicts.
func (g *group) replayOne(now, granted int64, text string) error {
	q := &g.first.quotas[0]
	id := idOf(q)
	state, err := findState(text, id)
	if err != nil {
		return err
	}
	charge, peek := q.charge(), q.peek()
	var allowed int64
	var denied []numbers
	for c := g.first; c != nil; c = c.next {
		next, v := state.take(now, id, &charge)
		c.verdicts[0] = verdict(v)
		switch {
		case c.dryRun:
			c.states = []numbers{state}
			c.verdicts[0].setRemaining(verdict(state.verdict(now, id, &peek)))
		case v.Allowed():
			state = next
			allowed++
		default:
			if denied == nil {
				denied = []numbers{state}
			}
			c.states = denied
		}
	}
	first := g.first
	if leased := granted - allowed; first.extra > 0 && leased > 0 {
		charge.Cost *= leased
		first.leased, first.lastLeased = leased, verdict(state.verdict(now, id, &charge))
		allowed += leased
	}
	if allowed != granted && !q.Shadow {
		return disagreement(granted)
	}
	return nil
}
