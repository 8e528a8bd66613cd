// Package logging writes with log/slog whom the limits reject and how the backend
// fares, in so few records that an attack does not fill the disk.
//
// A client is one scope at one limit on one key. There is a record when it begins
// to be rejected and a summary when it is rejected no more, however many requests
// are between them:
//
//	level  message                                    attributes
//	INFO   rate limit: client rejected                 route name key scope limit per retry_after
//	WARN   rate limit: client banned                  the same
//	INFO   rate limit: client rejected no more         route name key scope rejected since until banned
//	INFO   rate limit: client would be rejected        of shadows and others that reject nobody, as above
//	INFO   rate limit: client would be rejected no more
//	WARN   rate limit: other clients rejected          rejected would_be_rejected since until
//	WARN   rate limit: backend fails, limiting in memory    route error
//	ERROR  rate limit: backend fails                  route error
//	INFO   rate limit: backend answers again          since lasted decisions
//
// Rejections are what limits are for, so they are no warnings. The names are those
// of ratelimiter.Info. The route of a summary is that of the last rejection;
// retry_after is missing where waiting does not help.
//
// A client is rejected no more when it was not for a while: for the period of the
// limit, at least a minute and at most ten; see WithQuietPeriod. The backend answers
// again when it has answered and not failed for ten seconds since its last failure;
// lasted is until that answer.
//
// Over time at most 60 records about clients are written a minute, see WithMaxRecords,
// and 1000 clients are followed at once, see WithMaxClients. What is rejected beyond
// that is added up and told once a minute, as "other clients". Each rejection is in
// one summary or in one such sum. Records about the backend are few by nature.
//
// Scopes are masked: an address shows its network, anything else no more than
// three characters, and a keyed hash behind that tells clients apart; see
// WithSecret and WithFullScopes. Keys and routes are written as they are, so
// put into a key what is limited, and into the scope who.
package logging

import (
	"context"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/internal/mask"
)

// Log is a ratelimiter.Observer that writes records. New makes one, for one
// RateLimiter: it takes all events for those of one backend. Its methods are safe
// for use by many goroutines at once.
//
// While nobody is rejected and the backend answers, it has no goroutine and no
// timer, and a request that is allowed costs one atomic load.
type Log struct {
	logger     *slog.Logger // nil for that of slog.Default at the time
	scope      func(string) string
	quiet      time.Duration // 0 for that of the limit
	maxClients int64

	seed     maphash.Seed
	shards   [shards]shard
	followed atomic.Int64 // in all shards
	budget   budget
	outage   outage

	closed   atomic.Bool
	sweeping sync.Mutex // held while summaries are written
	alarm    alarm
}

var _ ratelimiter.Observer = (*Log)(nil)

// Option changes what New makes.
type Option func(*settings)

type settings struct {
	fullScopes             bool
	secret                 string
	quiet                  time.Duration
	maxClients, maxRecords int64
}

// WithFullScopes writes scopes as they are, such as whole addresses, which may be
// personal data.
func WithFullScopes() Option { return func(s *settings) { s.fullScopes = true } }

// WithSecret sets the key of the hashes in masked scopes, so that several
// processes, and one that was started again, write the same for one client.
// Whoever knows the secret can find out who is meant, by trying. Without one, or
// with an empty one, the key is a random one of the process, which nobody knows; the
// dashboard shows the same hashes then.
func WithSecret(secret string) Option { return func(s *settings) { s.secret = secret } }

// WithQuietPeriod sets how long a client must not have been rejected to count as one
// that is rejected no more. Less than a second counts as a second; 0 or less means
// the default, the period of the limit, but from one minute to ten.
func WithQuietPeriod(quiet time.Duration) Option { return func(s *settings) { s.quiet = quiet } }

// WithMaxClients sets how many clients are followed at once, which bounds the
// memory. 0 or less means the default of 1000.
func WithMaxClients(clients int) Option { return func(s *settings) { s.maxClients = int64(clients) } }

// WithMaxRecords sets how many records about clients are written in a minute. It
// is a rate: as many may come at once after a calm minute, and summaries, which
// are paid for beforehand, when they are due. One client takes two or three, so 1
// counts as 2. 0 or less means the default of 60.
func WithMaxRecords(perMinute int) Option {
	return func(s *settings) { s.maxRecords = int64(perMinute) }
}

// New makes a Log that writes to logger, or if that is nil to slog.Default() as
// it is at the time. It is for RATELIMITER_OBSERVER or RateLimiter.AddObserver.
//
// The records are written in the request that is the first to be rejected, so a
// handler that is slow delays that one and nobody else; summaries are written in
// a goroutine of their own, where what a handler panics with is thrown away.
func New(logger *slog.Logger, options ...Option) *Log {
	var s settings
	for _, option := range options {
		option(&s)
	}
	l := &Log{logger: logger, maxClients: 1000, seed: maphash.MakeSeed()}
	if s.maxClients > 0 {
		l.maxClients = s.maxClients
	}
	if s.quiet > 0 {
		l.quiet = max(s.quiet, time.Second)
	}
	l.budget = budget{start: time.Now(), perMinute: 60}
	if s.maxRecords > 0 {
		l.budget.perMinute = max(s.maxRecords, recordsPerClient)
	}
	switch {
	case s.fullScopes:
		l.scope = func(scope string) string { return scope }
	case s.secret != "":
		l.scope = mask.WithSecret(s.secret).Scope
	default:
		l.scope = mask.New().Scope
	}
	for i := range l.shards {
		l.shards[i].clients = map[id]*client{}
	}
	return l
}

// Observe is told of decisions by a RateLimiter.
func (l *Log) Observe(event ratelimiter.Event) {
	failed := event.Fallback || event.Outcome == ratelimiter.BackendError
	rejected := event.Outcome == ratelimiter.Rejected || event.Outcome == ratelimiter.Shadowed || event.Outcome == ratelimiter.Banned
	// Only what is allowed shows that the backend has answered: a denial may have
	// been remembered by this process.
	answered := event.Outcome == ratelimiter.Allowed && !failed
	if !(failed || rejected || answered && l.outage.on.Load()) || l.closed.Load() {
		return
	}
	now := time.Now()
	// Everything is noted before anything is written, which may take long or panic.
	fails := failed && l.outage.noteFailure(&event, now)
	if answered {
		l.schedule(l.outage.noteAnswer(now.Add(-event.BackendLatency), now))
	}
	if rejected {
		c, what, due := l.record(&event, now)
		l.schedule(due)
		l.logTransition(&c, what)
	}
	if fails {
		l.logOutage(&event)
	}
}

// Close writes the summaries of all clients that are followed, and the sum of the
// others. Events after it are ignored. It returns when the last record is
// written, and always nil. Close the RateLimiter, or remove the Log from it, before.
func (l *Log) Close() error {
	if l.closed.Swap(true) {
		return nil
	}
	l.alarm.end()
	l.sweeping.Lock()
	defer l.sweeping.Unlock()
	l.sweep(time.Now(), true)
	return nil
}

func (l *Log) to() *slog.Logger {
	if l.logger == nil {
		return slog.Default()
	}
	return l.logger
}

func (l *Log) enabled(level slog.Level) bool { return l.to().Enabled(context.Background(), level) }
