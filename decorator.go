package ratelimiter

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter/backends"
)

// RateLimit is the middleware: at most limit requests in per, for each route and
// client address unless options say otherwise. It can stand on a route, on a
// group and, with engine.Use, on all routes registered afterwards.
//
// The limit is an int, a func(*gin.Context) int, or a func(c *gin.Context, key,
// scope string) int, which is called for each request. 0 refuses everybody, a
// negative number (Unlimited) does not limit, and a function may return any
// number: those above backends.MaxLimit count as that. A limit that changes
// applies at once and forgets nothing.
//
// The period is backends.MinPer to backends.MaxPer. RateLimit panics on a wrong
// type or a senseless number, as Gin does for a route that makes no sense.
//
// Where several stand on the way of a request, each has counters of its own, and
// a request that a later one refuses costs the earlier ones nothing. Limits in
// one RateLimit (see WithLimit) are decided in one question to the backend.
//
// A request over the limit is answered 429 with Retry-After and a problem
// document (RFC 9457). It is answered 500 if InitApp was never called.
//
//go:noinline
func (r *RateLimiter) RateLimit(limit any, per time.Duration, options ...Option) gin.HandlerFunc {
	if r == nil {
		panic("ratelimiter: RateLimit was called on a nil *RateLimiter; check the error of New")
	}
	rule := newRule(limit, per, options)
	return func(c *gin.Context) { r.limit(c, rule) }
}

// Exempt marks a route that default and application limits do not hold for.
// Limits of its own do.
//
//go:noinline
func (r *RateLimiter) Exempt() gin.HandlerFunc {
	return func(*gin.Context) {}
}

// limitMark and exemptMark are in the names of the two middlewares above, by
// which a route is known to have them. Neither is inlined, which would put the
// caller's name in place of theirs.
const (
	limitMark  = "gin-ratelimiter/ratelimiter.(*RateLimiter).RateLimit.func"
	exemptMark = "gin-ratelimiter/ratelimiter.(*RateLimiter).Exempt.func"
)

// ownMiddleware finds our middlewares among the handlers of a route.
func ownMiddleware(names []string) (limited, exempt bool) {
	has := func(mark string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return strings.Contains(name, mark) })
	}
	return has(limitMark), has(exemptMark)
}

// limit takes a request through one RateLimit.
func (r *RateLimiter) limit(c *gin.Context, rule *rule) {
	s := r.settings.Load()
	if s == nil {
		fail(c, http.StatusInternalServerError, ErrNotInitialised)
		return
	}
	if !s.enabled {
		return
	}
	key := r.keyOf(c, s, rule)
	scope := ""
	if rule.scope != nil {
		scope = rule.scope(c)
	}
	if scope == "" {
		scope = r.clientAddress(c, s)
	}
	d := newDecision(s, rule)
	for i := range rule.limits {
		d.add(c, &rule.limits[i], key, scope)
	}
	d.decide(c)
	d.free() // after a panic it is simply not used again
}

// key is what is limited: as people read it, and as backends see it.
type key struct{ shown, stored string }

func (r *RateLimiter) keyOf(c *gin.Context, s *settings, rule *rule) key {
	if rule.key != nil {
		if shown := rule.key(c); shown != "" {
			return key{shown, s.storedKey(shown)}
		}
	}
	if last := rule.route.Load(); last != nil && last.is(c) {
		return last.key
	}
	route := r.routes.of(c, s)
	rule.route.Store(route)
	return route.key
}

// decision is one question to the backend and what comes of it.
type decision struct {
	settings *settings
	rule     *rule
	quotas   []backends.Quota
	verdicts []backends.Verdict
	about    []about
	passed   []backends.Quota // those that are unlimited for this request
}

// about is what the backend need not know of a quota.
type about struct{ name, key string }

// decisions are used again, so that a request allocates none.
var decisions = sync.Pool{New: func() any { return &decision{} }}

func newDecision(s *settings, rule *rule) *decision {
	d := decisions.Get().(*decision)
	d.settings, d.rule = s, rule
	return d
}

func (d *decision) free() {
	clear(d.quotas) // they hold strings of the request
	clear(d.about)
	clear(d.passed)
	*d = decision{quotas: d.quotas[:0], verdicts: d.verdicts[:0], about: d.about[:0], passed: d.passed[:0]}
	decisions.Put(d)
}

// add asks for one unit of a limit, unless it is unlimited for this request.
func (d *decision) add(c *gin.Context, l *ruleLimit, key key, scope string) {
	limit := l.limit
	if l.ask != nil {
		limit = min(int64(l.ask(c, key.shown, scope)), backends.MaxLimit)
	}
	q := backends.Quota{
		Key: key.stored, Scope: scope,
		Algorithm: d.settings.algorithm, Limit: limit, Per: l.per, Burst: l.burst, Cost: 1,
	}
	if d.rule.algorithm != nil {
		q.Algorithm = *d.rule.algorithm
	}
	if limit < 0 {
		d.passed = append(d.passed, q)
		return
	}
	d.quotas = append(d.quotas, q)
	d.verdicts = append(d.verdicts, backends.Verdict{})
	d.about = append(d.about, about{l.name, key.shown})
}

// decide asks the backend and lets the request go on, or answers it.
func (d *decision) decide(c *gin.Context) {
	earlier := decided(c)
	if len(d.quotas) == 0 {
		// Those behind must find their counters where they are on other requests.
		c.Set(contextKey{}, &record{info: Info{Limit: Unlimited}, earlier: earlier, passed: slices.Clone(d.passed)})
		return
	}
	if d.settings.closed.Load() {
		d.failed(c, backends.ErrClosed)
		return
	}
	if err := c.Request.Context().Err(); err != nil {
		d.failed(c, err)
		return
	}
	d.keepApart(earlier)
	if err := d.settings.decider.Take(c.Request.Context(), d.quotas, d.verdicts); err != nil {
		d.failed(c, err)
		return
	}
	rec := &record{info: d.closest(), earlier: earlier, settings: d.settings, passed: slices.Clone(d.passed)}
	rec.quotas = append(rec.one[:0], d.quotas...)
	info := &rec.info
	d.writeHeaders(c.Writer.Header(), rec, earlier.closest())
	c.Set(contextKey{}, rec)
	if !info.Exceeded || d.rule.never {
		return
	}
	c.Abort()
	giveBack(c, earlier)
	writeRetryAfter(c, info)
	if d.rule.overLimit != nil {
		c.Status(http.StatusTooManyRequests)
		d.rule.overLimit(c)
		return
	}
	refuse(c, info, d.violated())
}

// keepApart gives a limit a counter of its own where a middleware before, on the
// same request, has one on the same key, scope, algorithm and period: a request
// would be charged twice in one counter otherwise.
func (d *decision) keepApart(earlier *record) {
	for i := range d.quotas {
		q := &d.quotas[i]
		place := 1
		for rec := earlier; rec != nil; rec = rec.earlier {
			place += sharing(q, rec.quotas) + sharing(q, rec.passed)
		}
		q.Key = inPlace(q.Key, min(place, maxPlaces))
	}
}

// sharing counts the quotas that would share their counter with q.
func sharing(q *backends.Quota, others []backends.Quota) (n int) {
	for i := range others {
		if o := &others[i]; o.Scope == q.Scope && o.Algorithm == q.Algorithm && o.Per == q.Per && keyInPlace(q.Key, o.Key) {
			n++
		}
	}
	return n
}

// maxPlaces is how many middlewares on one route keep their counters apart.
const maxPlaces = 4

// inPlace is the key of the first, second, ... middleware of a request that
// limits the same.
func inPlace(key string, place int) string {
	if place == 1 {
		return key
	}
	return key + "#" + strconv.Itoa(place)
}

func keyInPlace(key, stored string) bool {
	return stored == key || len(stored) == len(key)+2 && stored[len(key)] == '#' && stored[:len(key)] == key
}

// giveBack returns what the middlewares before have taken for a request that is
// refused now: it costs nothing. What cannot be returned stays charged, which is
// strict but safe.
func giveBack(c *gin.Context, earlier *record) {
	for rec := earlier; rec != nil; rec = rec.earlier {
		if rec.info.Exceeded || len(rec.quotas) == 0 {
			continue // nothing was charged
		}
		for i := range rec.quotas {
			rec.quotas[i].Cost = -rec.quotas[i].Cost
		}
		_ = rec.settings.decider.Take(c.Request.Context(), rec.quotas, make([]backends.Verdict, len(rec.quotas)))
	}
}

// closest tells of the limit that is closest to refusing, or has refused.
func (d *decision) closest() Info {
	now := time.Now()
	closest := d.infoOf(0, now)
	for i := 1; i < len(d.quotas); i++ {
		if other := d.infoOf(i, now); other.closer(&closest) {
			closest = other
		}
	}
	return closest
}

func (d *decision) infoOf(i int, now time.Time) Info {
	q, v := &d.quotas[i], &d.verdicts[i]
	return Info{
		Name: d.about[i].name, Key: d.about[i].key, Scope: q.Scope,
		Limit: q.Limit, Remaining: v.Remaining,
		Per: q.Per, RetryAfter: v.RetryAfter,
		Reset:    now.Add(v.ResetAfter),
		Exceeded: !v.Allowed,
		Shadow:   q.Shadow,
	}
}

// violated lists the names of the limits that refused.
func (d *decision) violated() (names []string) {
	for i := range d.quotas {
		if !d.verdicts[i].Allowed && !d.quotas[i].Shadow {
			names = append(names, d.about[i].name)
		}
	}
	return names
}

// failed does what RATELIMITER_ON_ERROR says, now that there is no decision.
func (d *decision) failed(c *gin.Context, err error) {
	switch {
	case errors.Is(err, backends.ErrClosed):
	case c.Request.Context().Err() != nil:
		// The request itself is over, and nobody waits for the answer any more.
	case d.settings.onError == onErrorAllow:
		return
	}
	fail(c, http.StatusServiceUnavailable, fmt.Errorf("the rate limiter could not decide on %s: %w", d.about[0].key, err))
}
