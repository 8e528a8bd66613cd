//go:build !ratelimiter_noredis

package backends

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// script decides groups of calls.
type script struct {
	*redis.Script // only used for its hash
	source        string
	// args returns the arguments of EVALSHA: two empty places for the command and the hash,
	// then the number of keys, the keys and the arguments.
	args func(groups []group) []any
	// readReply writes the verdicts of the calls in groups, and returns the groups that are
	// undecided. order is the position of the first group among the decisions at the same
	// time.
	readReply func(groups []group, reply string, order int) (undecided []group, err error)
}

// part is what one script call decides.
type part struct {
	script  *script
	groups  []group
	command noRetryCmd
}

// noRetryCmd is a command that the client must not retry: a decision whose answer was lost
// may have been made, and would be charged twice.
type noRetryCmd struct{ *redis.StringCmd }

func (noRetryCmd) NoRetry() bool { return true }

// send decides calls in one round trip, plus another for those that turn out not to be
// plain or whose calendar windows did not match.
func (r *redisBackend) send(ctx context.Context, calls []*call) {
	clock := sinceStart()
	plain, others := r.splitPlain(mergeCalls(calls), clock)
	parts := r.appendParts(make([]part, 0, 2), plainScript, plain)
	parts = r.appendParts(parts, takeScript, others)
	undecided := roundTrip(ctx, r.client, parts)
	if len(undecided) == 0 {
		return
	}
	for i := range undecided {
		r.notPlain.mark(undecided[i].first.hash, clock)
	}
	fail(roundTrip(ctx, r.client, r.appendParts(nil, takeScript, undecided)), errClock)
}

// errClock means that the server's clock left a calendar window between two round trips.
var errClock = errors.New("the clock of redis jumped to another calendar window during the decision")

// splitPlain separates groups that are plain, as far as is known, from the others. Plain
// groups with the same template are adjacent.
func (r *redisBackend) splitPlain(groups []group, clock time.Duration) (plain, others []group) {
	for i := range groups {
		if first := groups[i].first; first.template != nil && r.notPlain.has(first.hash, clock) {
			first.template = nil
		}
	}
	sortByTemplate(groups)
	n := 0
	for n < len(groups) && groups[n].first.template == nil {
		n++
	}
	return groups[n:], groups[:n]
}

// appendParts appends script calls for groups: one call for all of them, or one for each if
// their keys may be on different nodes.
func (r *redisBackend) appendParts(parts []part, script *script, groups []group) []part {
	if !r.oneKeyPerCall && len(groups) > 0 {
		return append(parts, part{script: script, groups: groups})
	}
	for i := range groups {
		parts = append(parts, part{script: script, groups: groups[i : i+1]})
	}
	return parts
}

// roundTrip makes one round trip, and a second one if the server does not know the scripts.
// It returns the groups that are undecided.
func roundTrip(ctx context.Context, client redis.UniversalClient, parts []part) (undecided []group) {
	for i := range parts {
		p := &parts[i]
		args := p.script.args(p.groups)
		args[0], args[1] = "evalsha", p.script.Hash()
		p.command = noRetryCmd{redis.NewStringCmd(ctx, args...)}
	}
	unknown, undecided := exec(ctx, client, parts)
	if len(unknown) == 0 {
		return undecided
	}
	for i := range unknown { // all at once: a node after a failover knows none of them
		p := &unknown[i]
		args := append([]any{"eval", p.script.source}, p.command.Args()[2:]...)
		p.command = noRetryCmd{redis.NewStringCmd(ctx, args...)}
	}
	_, rest := exec(ctx, client, unknown)
	return append(undecided, rest...)
}

// exec sends the commands in one round trip and reads the answers. It returns the parts
// whose script the server does not know, so that nothing was decided.
func exec(ctx context.Context, client redis.UniversalClient, parts []part) (unknown []part, undecided []group) {
	sent := sinceStart()
	sendAll(ctx, client, parts)
	received := sinceStart()
	order := 0
	for i := range parts {
		p := &parts[i]
		for j := range p.groups {
			for c := p.groups[j].first; c != nil; c = c.next {
				c.at = moment{sent: sent, received: received}
			}
		}
		reply, err := p.command.Result()
		var left []group
		if err == nil {
			left, err = p.script.readReply(p.groups, reply, order)
		}
		if err != nil {
			fail(p.groups, err)
		}
		if redis.HasErrorPrefix(err, "NOSCRIPT") {
			unknown = append(unknown, *p)
		}
		undecided = append(undecided, left...)
		order += len(p.groups)
	}
	return unknown, undecided
}

func sendAll(ctx context.Context, client redis.UniversalClient, parts []part) {
	if len(parts) == 1 {
		_ = client.Process(ctx, parts[0].command)
		return
	}
	pipeline := client.Pipeline()
	for i := range parts {
		_ = pipeline.Process(ctx, parts[i].command)
	}
	_, _ = pipeline.Exec(ctx)
}

// fail sets the error of all calls in groups.
func fail(groups []group, err error) {
	for i := range groups {
		groups[i].fail(err)
	}
}

func (g *group) fail(err error) {
	for c := g.first; c != nil; c = c.next {
		c.err = err
	}
}

// replyWords is the unread rest of a reply.
type replyWords string

// parseReply reads the time at the start of a reply. size is the expected number of words
// after it.
func parseReply(reply string, size int) (now int64, rest replyWords, err error) {
	if n := strings.Count(reply, " ") - 1; n != size {
		return 0, "", fmt.Errorf("redis answered %.80q, which has %d words after the time instead of %d", reply, n, size)
	}
	rest = replyWords(reply)
	seconds, err := strconv.ParseInt(rest.next(), 10, 64)
	micros, wrong := strconv.ParseInt(rest.next(), 10, 64)
	if err := errors.Join(err, wrong); err != nil {
		return 0, "", fmt.Errorf("redis answered %.80q, which does not begin with a time: %w", reply, err)
	}
	return seconds*1_000_000 + micros, rest, nil
}

func (w *replyWords) next() string {
	word, rest, _ := strings.Cut(string(*w), " ")
	*w = replyWords(rest)
	return word
}

// granted reads how many times a group was granted.
func (w *replyWords) granted() (int64, error) {
	word := w.next()
	n, err := strconv.ParseInt(word, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("redis answered %.80q instead of the number of granted charges: %w", word, err)
	}
	return n, nil
}
