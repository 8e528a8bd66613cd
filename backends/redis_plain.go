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

// plainScript decides the plain case: one limit on a key that holds nothing else.
var plainScript = &script{
	Script: redis.NewScript(plainSource), source: plainSource, words: plainWords, answer: plainAnswer,
}

// kind is what plain decisions on different keys have in common, so that they can
// be made in one block.
type kind struct {
	algorithm          Algorithm
	per                time.Duration
	limit, burst, cost int64

	args [6]any // what plain.lua is told, as texts: the name with =, the limit, and four numbers
}

// kinds are those asked for lately, each in the place of its hash. An application has
// few of them, unless a limit or a cost is a function of the request.
var kinds [4096]atomic.Pointer[kind]

// kindOf is the kind of a quota that is charged by itself, nil if it is not plain.
func kindOf(q *Quota) *kind {
	if q.Cost <= 0 || q.Limit == 0 || q.Forced || q.Shadow || q.Ban != 0 || q.Calendar != nil || q.Algorithm == SlidingLog {
		return nil
	}
	hash := uint64(q.Limit)*0x9e3779b97f4a7c15 + uint64(q.Per)*0xd1b54a32d192ed03 + uint64(q.Cost)*0x8cb92ba72f3d8dd7
	hash += uint64(q.Burst)*0xaef17502108ef2d9 + uint64(q.Algorithm)*0xe7037ed1a0b428db
	place := &kinds[hash>>52]
	known := place.Load()
	if known == nil || !known.is(q) {
		if known = newKind(q); known != nil {
			place.Store(known)
		}
	}
	return known
}

func (k *kind) is(q *Quota) bool {
	return k.limit == q.Limit && k.per == q.Per && k.cost == q.Cost && k.burst == q.Burst && k.algorithm == q.Algorithm
}

func newKind(q *Quota) *kind {
	id := idOf(q)
	k := &kind{algorithm: q.Algorithm, per: q.Per, limit: q.Limit, burst: q.Burst, cost: q.Cost}
	values := [4]int64{id.per, q.Cost}
	if q.Algorithm == TokenBucket {
		var step, full bool
		values[0], values[1], step = priceOf(q.Cost, id.per, q.Limit)
		values[2], values[3], full = priceOf(q.Capacity(), id.per, q.Limit)
		if !step || !full {
			return nil
		}
	}
	k.args[0], k.args[1] = id.name()+"=", strconv.FormatInt(q.Limit, 10)
	for i, number := range values {
		k.args[2+i] = strconv.FormatInt(number, 10)
	}
	return k
}

// priceOf is what units of a bucket cost in time: micros + rest/limit µs. It is not ok
// where that is more than a bucket can owe.
func priceOf(units, per, limit int64) (micros, rest int64, ok bool) {
	high, low := bits.Mul64(uint64(units), uint64(per))
	if high >= uint64(limit) {
		return 0, 0, false
	}
	quotient, remainder := bits.Div64(high, low, uint64(limit))
	return int64(quotient), int64(remainder), quotient < uint64(window.MaxDebt)
}

// mixed remembers until the end of the minute which keys have turned out not to be
// plain, so that they go to take.lua at once. It may forget some sooner.
type mixed [1024]atomic.Uint64

func (m *mixed) place(hash uint64) *atomic.Uint64 { return &m[hash%uint64(len(m))] }

func (m *mixed) has(hash uint64, clock time.Duration) bool {
	return m.place(hash).Load() == inMinute(hash, clock)
}

func (m *mixed) note(hash uint64, clock time.Duration) {
	m.place(hash).Store(inMinute(hash, clock))
}

// inMinute is a hash with the number of the minute in those of its bits that say
// which place it has.
func inMinute(hash uint64, clock time.Duration) uint64 {
	return hash&^1023 | 512 | uint64(clock/time.Minute)%512
}

// sortByKind puts groups side by side that can be in one block, and those that are not
// plain first. Blocks are in the order in which the first of their groups came.
func sortByKind(groups []group) {
	if !slices.ContainsFunc(groups, func(g group) bool { return !g.alike(&groups[0]) }) {
		return // as mostly
	}
	var blocks []group // the first of each
	for i := range groups {
		g := &groups[i]
		if g.block = slices.IndexFunc(blocks, g.alikeTo); g.block < 0 {
			g.block = len(blocks)
			blocks = append(blocks, *g)
		}
	}
	slices.SortStableFunc(groups, func(a, b group) int {
		if plain := a.first.kind != nil; plain != (b.first.kind != nil) {
			if plain {
				return 1
			}
			return -1
		}
		return cmp.Compare(a.block, b.block)
	})
}

func (g *group) alikeTo(other group) bool { return g.alike(&other) }

func (g *group) alike(other *group) bool {
	return g.first.kind == other.first.kind && g.times() == other.times()
}

// plainWords puts groups into the form that plain.lua reads, in blocks of a kind.
func plainWords(groups []group) []any {
	words := make([]any, 3, 3+len(groups)+8)
	words[2] = len(groups)
	for i := range groups {
		q := &groups[i].first.quotas[0]
		words = append(words, redisKey(q.Key, q.Scope))
	}
	for begin := 0; begin < len(groups); {
		end := begin + 1
		for end < len(groups) && groups[end].alike(&groups[begin]) {
			end++
		}
		words = append(words, end-begin, groups[begin].times())
		words = append(words, groups[begin].first.kind.args[:]...)
		begin = end
	}
	return words
}

// plainAnswer is the answer of a script.
func plainAnswer(groups []group, reply string, order int) (undecided []group, err error) {
	now, words, err := openReply(reply, 2*len(groups))
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
		err = g.answerOne(now, granted, words.next())
		for c := g.first; c != nil; c = c.next {
			c.err, c.at.now, c.at.order = err, now, order+i
		}
	}
	return undecided, nil
}

// answerOne replays a decision of one quota as Redis has made it, on what its key
// held before.
func (g *group) answerOne(now, granted int64, text string) error {
	q := &g.first.quotas[0]
	id := idOf(q)
	state, err := stateIn(text, id)
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
		case c.trial:
			c.states = []numbers{state}
			c.verdicts[0].left(verdict(state.verdict(now, id, &peek)))
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
	if leased := granted - allowed; first.more > 0 && leased > 0 {
		charge.Cost *= leased
		first.leased, first.lastLeased = leased, verdict(state.verdict(now, id, &charge))
		allowed += leased
	}
	if allowed != granted && !q.Shadow && !first.trial {
		return disagreement(granted)
	}
	return nil
}
