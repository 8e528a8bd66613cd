package backends

import (
	_ "embed" // for the script
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

//go:embed scripts/take.lua
var takeSource string

// takeScript decides. It is only asked for its digest: how it is run is in
// redis.go.
var takeScript = redis.NewScript(takeSource)

// group is a decision that one or more callers ask for. Redis is asked once, and
// grants it to as many of them as it can.
type group struct{ calls []*call }

// mergeCalls puts equal calls into one group, in the order in which they came.
func mergeCalls(calls []*call) []group {
	groups := make([]group, 0, len(calls))
	var known map[Quota]int
	for _, c := range calls {
		q := &c.quotas[0]
		if c.joinable() && len(calls) > 1 {
			if at, ok := known[*q]; ok {
				groups[at].calls = append(groups[at].calls, c)
				continue
			}
			if known == nil {
				known = make(map[Quota]int, len(calls))
			}
			known[*q] = len(groups)
		}
		groups = append(groups, group{calls: []*call{c}})
	}
	return groups
}

// joinable tells whether a call can be decided together with equal ones.
func (c *call) joinable() bool {
	q := &c.quotas[0]
	return len(c.quotas) == 1 && q.Cost > 0 && !q.Forced && !q.Shadow && q.Ban == 0 && !c.trial
}

// joins tells whether a call is decided together with another.
func (c *call) joins(other *call) bool {
	return c.joinable() && other.joinable() && c.quotas[0] == other.quotas[0]
}

// question puts groups into the form that take.lua reads.
func question(groups []group) (keys []string, args []any) {
	args = make([]any, 0, 10*len(groups))
	for i := range groups {
		first := groups[i].calls[0]
		times := int64(len(groups[i].calls)) + first.more
		if first.trial {
			times = 0
		}
		args = append(args, times, len(first.subjects))
		for _, members := range first.subjects {
			q := &first.quotas[members[0]]
			keys = append(keys, redisKey(q.Key, q.Scope))
			args = append(args, len(members))
			args = appendQuotas(args, first.quotas, members, false)
			args = appendQuotas(args, first.quotas, members, true) // they count what the others deny
		}
	}
	return keys, args
}

// appendQuotas adds those members that are bans, or those that are not.
func appendQuotas(args []any, quotas []Quota, members []int, bans bool) []any {
	for _, member := range members {
		q := &quotas[member]
		switch {
		case (q.Ban != 0) != bans:
		case bans:
			args = append(args, idOf(q).name()+"=", q.Limit, q.micros(), q.Cost, microsUp(q.Ban), 0)
		default:
			args = append(args, idOf(q).name()+"=", q.Limit, q.micros(), q.Cost, q.Burst, manner(q))
		}
	}
	return args
}

// manner is how a quota is charged: 1 for forced units, and the receipt of those
// that are given back.
func manner(q *Quota) int64 {
	switch {
	case q.Cost < 0:
		return q.Receipt
	case q.Forced:
		return 1
	}
	return 0
}

// redisKey joins key and scope. The length at the end keeps pairs apart whose
// joined texts are the same, as ("a:b", "c") and ("a", "b:c").
func redisKey(key, scope string) string {
	return key + ":" + scope + ":" + strconv.Itoa(len(key))
}

// answer gives the calls of groups their verdicts, from what take.lua returned.
func answer(groups []group, reply string) error {
	words := strings.Split(reply, " ")
	size := 2
	for i := range groups {
		size += 1 + len(groups[i].calls[0].subjects)
	}
	if len(words) != size {
		return fmt.Errorf("redis answered %.80q, %d words and not %d", reply, len(words), size)
	}
	seconds, err := strconv.ParseInt(words[0], 10, 64)
	micros, wrong := strconv.ParseInt(words[1], 10, 64)
	if err := errors.Join(err, wrong); err != nil {
		return fmt.Errorf("redis answered %.80q, which begins with no time: %w", reply, err)
	}
	now, words := seconds*1_000_000+micros, words[2:]
	for i := range groups {
		granted, err := strconv.ParseInt(words[0], 10, 64)
		if err != nil {
			return fmt.Errorf("redis answered %.80q, and how often it granted is no number: %w", reply, err)
		}
		subjects := len(groups[i].calls[0].subjects)
		groups[i].answer(now, granted, words[1:1+subjects])
		for _, c := range groups[i].calls {
			c.at.now, c.at.order = now, i
		}
		words = words[1+subjects:]
	}
	return nil
}

// answer replays a decision as Redis has made it, on what was there before.
func (g *group) answer(now, granted int64, texts []string) {
	first := g.calls[0]
	err := error(nil)
	switch {
	case granted < 0:
		q := &first.quotas[0]
		err = fmt.Errorf("the value of the Redis key of %q and %q is none of the rate limiter's; use another RATELIMITER_KEY_PREFIX, or delete it", q.Key, q.Scope)
	case len(first.quotas) == 1 && first.quotas[0].Ban == 0:
		err = g.answerOne(now, granted, texts[0])
	default:
		err = first.answerAll(now, granted, texts)
	}
	fail([]group{*g}, err)
}

// answerOne is for calls of one quota.
func (g *group) answerOne(now, granted int64, text string) error {
	q := &g.calls[0].quotas[0]
	id := idOf(q)
	state, err := stateIn(text, id)
	if err != nil {
		return err
	}
	charge, peek := q.charge(), q.peek()
	var allowed int64
	for _, c := range g.calls {
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
			c.states = []numbers{state}
		}
	}
	first := g.calls[0]
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

// answerAll is for a call of several quotas.
func (c *call) answerAll(now, granted int64, texts []string) error {
	books := make(ledgers, len(texts))
	for i, members := range c.subjects {
		if err := books.open(subjectOf(&c.quotas[members[0]]), texts[i]); err != nil {
			return err
		}
	}
	allowed := books.charge(now, c.quotas, c.verdicts)
	if !c.trial && allowed != (granted == 1) {
		return disagreement(granted)
	}
	if allowed && !c.trial {
		return nil
	}
	books.uncharge(now, c.quotas, c.verdicts)
	if !c.trial {
		books.strike(now, c.quotas, c.verdicts)
	}
	c.states = make([]numbers, len(c.quotas))
	for i := range c.quotas {
		q := &c.quotas[i]
		c.states[i] = books[subjectOf(q)].now(idOf(q))
	}
	return nil
}

// fail gives all calls the same error.
func fail(groups []group, err error) {
	for i := range groups {
		for _, c := range groups[i].calls {
			c.err = err
		}
	}
}

// disagreement cannot be, unless script and algorithms differ.
func disagreement(granted int64) error {
	return fmt.Errorf("redis decided otherwise (%d granted) than the state says that it has returned", granted)
}

// stateIn finds the state of one limit among those of its key.
func stateIn(text string, id counterID) (numbers, error) {
	name := id.name()
	for text != "" {
		entry, rest, _ := strings.Cut(text, ";")
		if state, ok := strings.CutPrefix(entry, name); ok && strings.HasPrefix(state, "=") {
			return parseNumbers(state[1:], id.algorithm)
		}
		text = rest
	}
	return nil, nil
}
