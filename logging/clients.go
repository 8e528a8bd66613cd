package logging

import (
	"hash/maphash"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
)

// shards is enough that rejections on different processors rarely contend for a lock.
const shards = 16

// shard holds the tracked clients: those with a record that has no summary yet.
type shard struct {
	mu      sync.Mutex
	clients map[id]*client
	others  others
}

// id identifies a client: one scope at one limit on one key.
type id struct {
	name, key, scope string
	per              time.Duration
	shadowed         bool // would be rejected, but is not
}

// client is the state of a tracked client.
type client struct {
	id
	route             string // route, limit and retryAfter are those of the last rejection
	limit             int64
	retryAfter        time.Duration
	since, last       time.Time
	rejected          uint64
	banned, banLogged bool
	quiet             time.Duration
}

// others counts the rejections of clients that are not tracked.
type others struct {
	rejected, shadowed uint64
	since              time.Time // zero if there are none
}

// transition is a change in the state of a client.
type transition uint8

const (
	noTransition transition = iota
	startsRejection
	startsBan
)

// recordsPerClient counts the first record and the summary.
const recordsPerClient = 2

// record counts a rejection. It returns the transition that the rejection causes, and when
// something is due to be written because of it.
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
	case !l.track(now):
		return c, noTransition, s.others.count(is.shadowed, now)
	default:
		// The strings may be parts of longer ones, which would stay in memory.
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

// track reports whether another client can be tracked, and reserves its place and
// records.
func (l *Log) track(now time.Time) bool {
	if l.tracked.Add(1) <= l.maxClients && l.budget.take(now, recordsPerClient) {
		return true
	}
	l.tracked.Add(-1)
	return false
}

// quietFor returns how long a client must be quiet. Within the period of the limit, clients
// come back to be rejected again; but a daily limit must not occupy a place for a day.
func (l *Log) quietFor(per time.Duration) time.Duration {
	if l.quiet > 0 {
		return l.quiet
	}
	return min(max(per, time.Minute), 10*time.Minute)
}

// count returns when the sum is due, if this rejection is its first.
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

// othersInterval is how often the rejections of other clients are reported.
const othersInterval = time.Minute

// take removes and returns the clients that have been quiet long enough, or all. next is
// when the next of the remaining ones may be quiet.
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

// othersSince returns when the current sum began.
func (l *Log) othersSince() (since time.Time) {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		since = sooner(since, s.others.since)
		s.mu.Unlock()
	}
	return since
}

// takeOthers returns the sum and starts a new one.
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

// sooner returns the earlier of two times, ignoring zero times.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
