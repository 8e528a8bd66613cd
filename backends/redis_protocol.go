//go:build !ratelimiter_noredis

package backends

import (
	_ "embed" // for the script
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

//go:embed scripts/take.lua
var takeSource string

// takeScript decides any call.
var takeScript = &script{
	Script: redis.NewScript(takeSource), source: takeSource, args: takeArgs, readReply: readTakeReply,
}

// takeArgs encodes groups for take.lua.
func takeArgs(groups []group) []any {
	keys := 0
	for i := range groups {
		keys += len(groups[i].first.subjects)
	}
	args := make([]any, 3, 3+keys+10*len(groups))
	args[2] = keys
	for i := range groups {
		first := groups[i].first
		for _, members := range first.subjects {
			q := &first.quotas[members[0]]
			args = append(args, redisKey(q.Key, q.Scope))
		}
	}
	for i := range groups {
		first, times := groups[i].first, groups[i].times()
		if first.dryRun {
			times = 0
		}
		args = append(args, times, len(first.subjects))
		for _, members := range first.subjects {
			args = append(args, len(members))
			args = first.appendQuotas(args, members, false)
			args = first.appendQuotas(args, members, true) // last, because they count denials by the others
		}
	}
	return args
}

// appendQuotas appends either the bans or all other quotas among the members.
func (c *call) appendQuotas(args []any, members []int, bans bool) []any {
	for _, member := range members {
		q := &c.quotas[member]
		switch {
		case (q.Ban != 0) != bans:
		case bans:
			args = append(args, idOf(q).name()+"=", q.Limit, q.micros(), q.Cost, microsUp(q.Ban), 0)
		case q.Calendar != nil:
			args = append(args, idOf(q).name()+"=", q.Limit, q.micros(), q.Cost, calendarBounds(q, c.serverTime), mode(q))
		default:
			args = append(args, idOf(q).name()+"=", q.Limit, q.micros(), q.Cost, q.Burst, mode(q))
		}
	}
	return args
}

// mode returns how to charge a quota: 1 for forced units, or the receipt of a refund.
func mode(q *Quota) int64 {
	switch {
	case q.Cost < 0:
		return q.Receipt
	case q.Forced:
		return 1
	}
	return 0
}

// redisKey joins a key and scope. The length at the end distinguishes pairs that would
// otherwise be joined to the same text, such as ("a:b", "c") and ("a", "b:c").
func redisKey(key, scope string) string {
	return key + ":" + scope + ":" + strconv.Itoa(len(key))
}

// undecidable is the number of grants that take.lua returns if no calendar window matched.
const undecidable = -2

// readTakeReply implements script.readReply. A decision is undecided if none of its
// calendar windows was current, because the clocks of this process and the server are too
// far apart. It is sent again, with the windows around the time of the server.
func readTakeReply(groups []group, reply string, order int) (undecided []group, err error) {
	size := 0
	for i := range groups {
		size += 1 + len(groups[i].first.subjects)
	}
	now, words, err := parseReply(reply, size)
	if err != nil {
		return nil, err
	}
	var texts []string
	for i := range groups {
		g := &groups[i]
		granted, err := words.granted()
		if err != nil {
			return nil, err
		}
		texts = texts[:0]
		for range g.first.subjects {
			texts = append(texts, words.next())
		}
		if granted == undecidable {
			g.first.serverTime = now
			undecided = append(undecided, *g)
			continue
		}
		err = g.replay(now, granted, texts)
		for c := g.first; c != nil; c = c.next {
			c.err, c.at.now, c.at.order = err, now, order+i
		}
	}
	return undecided, nil
}

// replay repeats a decision of Redis on the states before it, to find the verdicts.
func (g *group) replay(now, granted int64, texts []string) error {
	first := g.first
	switch {
	case granted < 0:
		q := &first.quotas[0]
		return fmt.Errorf("the Redis value of key %q and scope %q was not written by the rate limiter; delete it, or set another RATELIMITER_KEY_PREFIX", q.Key, q.Scope)
	case len(first.quotas) == 1 && first.quotas[0].Ban == 0:
		return g.replayOne(now, granted, texts[0])
	default:
		return first.replayAll(now, granted, texts)
	}
}

// replayAll is replay for a call with several quotas.
func (c *call) replayAll(now, granted int64, texts []string) error {
	ledgers := make(ledgerSet, len(texts))
	for i, members := range c.subjects {
		if err := ledgers.load(subjectOf(&c.quotas[members[0]]), texts[i]); err != nil {
			return err
		}
	}
	allowed := ledgers.charge(now, c.quotas, c.verdicts)
	if !c.dryRun && allowed != (granted == 1) {
		return disagreement(granted)
	}
	if allowed && !c.dryRun {
		return nil
	}
	ledgers.rollBack(now, c.quotas, c.verdicts)
	if !c.dryRun {
		ledgers.countRejections(now, c.quotas, c.verdicts)
	}
	c.states = make([]numbers, len(c.quotas))
	for i := range c.quotas {
		q := &c.quotas[i]
		c.states[i] = ledgers[subjectOf(q)].current(idOf(q))
	}
	return nil
}

// disagreement is impossible as long as the scripts and package window are equivalent.
func disagreement(granted int64) error {
	return fmt.Errorf("redis granted %d charges, which does not follow from the state it returned", granted)
}

// findState returns the state of one limit in the value of its key, or nil.
func findState(text string, id counterID) (numbers, error) {
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
