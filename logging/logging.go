// Package logging writes rejections and outages of the backend to log/slog, in so few
// records that an attack does not fill the disk.
//
// A client is one scope at one limit on one key. It has a record when it is first rejected,
// and a summary when it is no longer rejected, however many requests are in between:
//
//	level  message                                              attributes
//	INFO   rate limit: client rejected                          route name key scope limit per retry_after
//	WARN   rate limit: client banned                            the same
//	INFO   rate limit: client no longer rejected                route name key scope rejected since until banned
//	INFO   rate limit: client would be rejected                 as above, for limits that do not reject
//	INFO   rate limit: client would no longer be rejected       as above, for limits that do not reject
//	WARN   rate limit: other clients rejected                   rejected would_be_rejected since until
//	WARN   rate limit: backend unavailable, limiting in memory  route error
//	ERROR  rate limit: backend unavailable                      route error
//	INFO   rate limit: backend available again                  since lasted decisions
//
// Rejections are what limits are for, so they are not warnings. Attributes have the names
// of the fields of ratelimiter.Info. The route in a summary is that of the last rejection.
// retry_after is missing if waiting does not help.
//
// A client counts as no longer rejected after a quiet period: the period of the limit, but
// at least one minute and at most ten; see WithQuietPeriod. The backend counts as available
// once it has answered and then not failed for ten seconds; lasted is the time from the
// first failure to that answer, and decisions is the number of decisions made without the
// backend.
//
// At most 60 records per minute are written about clients (WithMaxRecords), and at most
// 1000 clients are tracked at a time (WithMaxClients). Rejections beyond that are added up
// and reported once a minute as "other clients". Every rejection is in exactly one summary
// or sum. Records about the backend are not limited, because there are few.
//
// Scopes are masked: an address shows its network, anything else at most three characters,
// followed by a keyed hash that distinguishes clients; see WithSecret and WithFullScopes.
// Keys and routes are written in full, so a key should say what is limited and the scope
// who is limited.
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

// Log is a ratelimiter.Observer that writes records. Use New to create one for each
// RateLimiter, because it assumes that all events are about the same backend. All methods
// are safe for concurrent use.
//
// While no client is rejected and the backend is available, a Log has no goroutine and no
// timer, and an allowed request costs a single atomic load.
type Log struct {
	logger     *slog.Logger // nil means the current slog.Default
	scope      func(string) string
	quiet      time.Duration // 0 means the period of the limit
	maxClients int64

	seed    maphash.Seed
	shards  [shards]shard
	tracked atomic.Int64 // in all shards
	budget  budget
	outage  outage

	closed   atomic.Bool
	sweeping sync.Mutex // held while summaries are written
	alarm    alarm
}

var _ ratelimiter.Observer = (*Log)(nil)

// Option is an option of New.
type Option func(*settings)

type settings struct {
	fullScopes             bool
	secret                 string
	quiet                  time.Duration
	maxClients, maxRecords int64
}

// WithFullScopes writes scopes without masking, for example whole addresses, which may be
// personal data.
func WithFullScopes() Option { return func(s *settings) { s.fullScopes = true } }

// WithSecret sets the key of the hashes in masked scopes, so that the hash of a client is
// the same in several processes and after a restart. Anyone who knows the secret can find
// out scopes by trying. The default, which an empty secret also selects, is a random key of
// the process; the dashboard then shows the same hashes as the log.
func WithSecret(secret string) Option { return func(s *settings) { s.secret = secret } }

// WithQuietPeriod sets how long a client must not be rejected to count as no longer
// rejected. Less than a second means one second. 0 or less means the default: the period of
// the limit, but at least one minute and at most ten.
func WithQuietPeriod(quiet time.Duration) Option { return func(s *settings) { s.quiet = quiet } }

// WithMaxClients sets how many clients are tracked at a time, which bounds the memory. 0 or
// less means the default of 1000.
func WithMaxClients(clients int) Option { return func(s *settings) { s.maxClients = int64(clients) } }

// WithMaxRecords sets how many records per minute are written about clients. It is a rate:
// after a quiet minute, that many may be written at once. The summary of a client is
// charged together with its first record. A client needs two or three records, so 1 means
// 2. 0 or less means the default of 60.
func WithMaxRecords(perMinute int) Option {
	return func(s *settings) { s.maxRecords = int64(perMinute) }
}

// New returns a Log that writes to logger, or to the current slog.Default() if logger is
// nil. Set it as RATELIMITER_OBSERVER, or pass it to RateLimiter.AddObserver.
//
// The first record about a client is written in its request, so a slow handler delays that
// request, but no other. Summaries are written in a goroutine of their own, which recovers
// from panics of the handler.
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

// Observe implements ratelimiter.Observer.
func (l *Log) Observe(event ratelimiter.Event) {
	failed := event.Fallback || event.Outcome == ratelimiter.BackendError
	rejected := event.Outcome == ratelimiter.Rejected || event.Outcome == ratelimiter.Shadowed || event.Outcome == ratelimiter.Banned
	// Only an allowed request shows that the backend has answered, because a denial may
	// come from a cache.
	answered := event.Outcome == ratelimiter.Allowed && !failed
	if !(failed || rejected || answered && l.outage.on.Load()) || l.closed.Load() {
		return
	}
	now := time.Now()
	// All state is updated before anything is written, because the handler may block or
	// panic.
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

// Close writes the summaries of all tracked clients and the sum of the others. It returns
// nil when the last record is written. Later events are ignored. Close the RateLimiter, or
// remove the Log from it, before calling Close.
func (l *Log) Close() error {
	if l.closed.Swap(true) {
		return nil
	}
	l.alarm.stop()
	l.sweeping.Lock()
	defer l.sweeping.Unlock()
	l.sweep(time.Now(), true)
	return nil
}

func (l *Log) currentLogger() *slog.Logger {
	if l.logger == nil {
		return slog.Default()
	}
	return l.logger
}

func (l *Log) enabled(level slog.Level) bool {
	return l.currentLogger().Enabled(context.Background(), level)
}
