package logging

import (
	"hash/maphash"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
)

// shards are many enough that rejections on many processors seldom meet.
const shards = 16

// shard holds the clients that are followed, those of whom a record was written.
type shard struct {
	mu      sync.Mutex
	clients map[id]*client
	others  others
}

// id is a client: who, at what.
type id struct {
	name, key, scope string
	per              time.Duration
	shadowed         bool // would be rejected, and is not
}

// client is what is known of one that is being rejected.
type client struct {
	id
	route             string // of the last rejection, as are limit and retryAfter
	limit             int64
	retryAfter        time.Duration
	since, last       time.Time
	rejected          uint64
	banned, banLogged bool
	quiet             time.Duration
}

// others are the rejections that no client is followed for.
type others struct {
	rejected, shadowed uint64
	since              time.Time // zero while there are none
}

// news is what a rejection begins.
type transition uint8

const (
	noTransition transition = iota
	startsRejection
	startsBan
)

// recordsPerClient are the first one and the summary.
const recordsPerClient = 2

// note counts a rejection, and tells what it begins, and when there is something to
// be written about it later.
func (l *Log) record(e *ratelimiter.Event, now time.Time) (c client, what transition, due time.Time) {
	banned := e.Outcome == ratelimiter.Banned
	if !l.enabled(levelOf(banned)) {
		return c, noTransition, due
	}
	is := id{e.Name, e.Key, e.Scope, e.Per, e.Outcome == ratelimiter.Shadowed}
	s := &l.shards[maphash.String(l.seed, e.Scope)%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.clients[is]
	switch {
	case found != nil:
	case l.closed.Load():
		return c, noTransition, due
	case !l.follows(now):
		return c, noTransition, s.others.count(is.shadowed, now)
	default:
		// The texts may be pieces of longer ones, which would stay in memory.
		is.key, is.scope = strings.Clone(is.key), strings.Clone(is.scope)
		found = &client{id: is, since: now, quiet: l.quietFor(is.per), banLogged: banned}
		s.clients[is] = found
		what, due = startsRejection, now.Add(found.quiet)
		if banned {
			what = startsBan
		}
	}
	found.route, found.limit, found.retryAfter = e.Route, e.Limit, e.RetryAfter
	found.rejected++
	if now.After(found.last) {
		found.last = now
	}
	found.banned = found.banned || banned
	if banned && !found.banLogged && l.budget.take(now, 1) {
		found.banLogged, what = true, startsBan
	}
	if what == noTransition {
		return c, noTransition, due
	}
	return *found, what, due
}

func levelOf(ban bool) slog.Level {
	if ban {
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// follows tells whether there is room for one more client, and takes it.
func (l *Log) follows(now time.Time) bool {
	if l.followed.Add(1) <= l.maxClients && l.budget.take(now, recordsPerClient) {
		return true
	}
	l.followed.Add(-1)
	return false
}

// quietFor is how long a client must be quiet. Within the period of a limit
// clients come back to be rejected again; but one of a day must not take up room
// for a day.
func (l *Log) quietFor(per time.Duration) time.Duration {
	if l.quiet > 0 {
		return l.quiet
	}
	return min(max(per, time.Minute), 10*time.Minute)
}

// count returns when the sum is due, if it was begun.
func (o *others) count(shadowed bool, now time.Time) (due time.Time) {
	if o.since.IsZero() {
		o.since, due = now, now.Add(othersInterval)
	}
	if shadowed {
		o.shadowed++
	} else {
		o.rejected++
	}
	return due
}

// sumEvery is how often others are told of.
const othersInterval = time.Minute

// take removes the clients that have been quiet, or all. next is when the next
// of those that stay may have been.
func (s *shard) take(now time.Time, all bool, taken []client) (_ []client, next time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for is, c := range s.clients {
		end := c.last.Add(c.quiet)
		if all || !end.After(now) {
			taken = append(taken, *c)
			delete(s.clients, is)
			continue
		}
		next = sooner(next, end)
	}
	return taken, next
}

// othersSince is when the sum of others was begun.
func (l *Log) othersSince() (since time.Time) {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		since = sooner(since, s.others.since)
		s.mu.Unlock()
	}
	return since
}

// takeOthers begins a new sum.
func (l *Log) takeOthers() (sum others) {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		sum.rejected += s.others.rejected
		sum.shadowed += s.others.shadowed
		sum.since = sooner(sum.since, s.others.since)
		s.others = others{}
		s.mu.Unlock()
	}
	return sum
}

// sooner is the earlier of two times that are not zero.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
