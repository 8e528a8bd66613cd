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

// takeScript decides everything.
var takeScript = &script{
	Script: redis.NewScript(takeSource), source: takeSource, args: takeArgs, readReply: readTakeReply,
}

// takeWords puts groups into the form that take.lua reads.
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
			args = first.appendQuotas(args, members, true) // they count what the others deny
		}
	}
	return args
}

// appendQuotas adds those members that are bans, or those that are not.
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

// manner is how a quota is charged: 1 for forced units, and the receipt of those
// that are given back.
func mode(q *Quota) int64 {
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

// undecidable is how often a decision was granted for which no window was found.
const undecidable = -2

// takeAnswer is the answer of a script. It leaves those decisions undecided whose
// calendar windows were not sent, as the clocks of this process and of the server are
// far apart. They are asked for again, with the windows around the server's time.
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

// answer replays a decision as Redis has made it, on what was there before.
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

// answerAll is for a call of several quotas.
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

// disagreement cannot be, unless script and algorithms differ.
func disagreement(granted int64) error {
	return fmt.Errorf("redis granted %d charges, which does not follow from the state it returned", granted)
}

// stateIn finds the state of one limit among those of its key.
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
