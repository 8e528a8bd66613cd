package ratelimiter

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
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
	d, values := newDecision(s, rule)
	for i := range rule.limits {
		d.add(c, rule, &rule.limits[i], key, scope)
	}
	d.decide(c, rule, values)
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

// decision is one question to the backend and the answer. The request keeps it,
// for FromContext and for the middlewares behind, and a copy of the context may
// outlive the request: so a decision is never changed afterwards or used again.
type decision struct {
	settings *settings
	earlier  *decision // of the middleware before, if any
	// quotas are those asked, with a verdict for each, and behind them those that
	// are unlimited for this request.
	quotas   []backends.Quota
	verdicts []backends.Verdict
	about    []about
	closest  int           // to refusing, of the verdicts
	at       time.Duration // when it was decided, since 1970
}

// about is what the backend need not know of a quota.
type about struct {
	limit *ruleLimit
	key   string
}

// single is room for one limit, which is what most requests have.
type single struct {
	quotas   [1]backends.Quota
	verdicts [1]backends.Verdict
	about    [1]about
}

// newDecision makes room for the limits of a rule, and for the values of headers
// if any are to be sent: with one limit in one allocation, as small as can be, as
// allocations are most of what a request costs.
func newDecision(s *settings, rule *rule) (d *decision, values *headerValues) {
	x, standard := rule.sends(s)
	n := len(rule.limits)
	var one *single
	switch {
	case n > 1:
		room := new(struct {
			decision
			headerValues
		})
		d, values = &room.decision, &room.headerValues
		d.quotas, d.verdicts, d.about = make([]backends.Quota, 0, n), make([]backends.Verdict, 0, n), make([]about, 0, n)
	case x || standard:
		room := new(struct {
			decision
			single
			headerValues
		})
		d, one, values = &room.decision, &room.single, &room.headerValues
	default:
		room := new(struct {
			decision
			single
		})
		d, one = &room.decision, &room.single
	}
	if one != nil {
		d.quotas, d.verdicts, d.about = one.quotas[:0], one.verdicts[:0], one.about[:0]
	}
	d.settings = s
	return d, values
}

// add asks for one unit of a limit, unless it is unlimited for this request.
func (d *decision) add(c *gin.Context, rule *rule, l *ruleLimit, key key, scope string) {
	limit := l.limit
	if l.ask != nil {
		limit = min(int64(l.ask(c, key.shown, scope)), backends.MaxLimit)
	}
	q := backends.Quota{
		Key: key.stored, Scope: scope,
		Algorithm: d.settings.algorithm, Limit: limit, Per: l.per, Burst: l.burst, Cost: 1,
	}
	if rule.algorithm != nil {
		q.Algorithm = *rule.algorithm
	}
	d.quotas = append(d.quotas, q)
	if limit < 0 {
		return
	}
	asked, last := len(d.verdicts), len(d.quotas)-1
	if asked < last {
		d.quotas[asked], d.quotas[last] = d.quotas[last], d.quotas[asked]
	}
	d.verdicts = append(d.verdicts, backends.Verdict{})
	d.about = append(d.about, about{l, key.shown})
}

// asked are the quotas without those that are unlimited.
func (d *decision) asked() []backends.Quota { return d.quotas[:len(d.verdicts)] }

// decide asks the backend and lets the request go on, or answers it.
func (d *decision) decide(c *gin.Context, rule *rule, values *headerValues) {
	d.earlier = decided(c)
	if len(d.verdicts) == 0 {
		// Those behind must find their counters where they are on other requests.
		c.Set(contextKey{}, d)
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
	d.keepApart()
	if err := d.settings.decider.Take(c.Request.Context(), d.asked(), d.verdicts); err != nil {
		d.failed(c, err)
		return
	}
	d.at = time.Duration(time.Now().UnixNano())
	d.findClosest()
	if values != nil {
		d.writeHeaders(c.Writer.Header(), rule, values)
	}
	c.Set(contextKey{}, d)
	if d.exceeded() && !rule.never {
		d.refuse(c, rule)
	}
}

func (d *decision) findClosest() {
	for i := 1; i < len(d.verdicts); i++ {
		if d.outcome(i).closer(d.outcome(d.closest)) {
			d.closest = i
		}
	}
}

// exceeded tells whether any limit was.
func (d *decision) exceeded() bool { return !d.verdicts[d.closest].Allowed }

// refuse answers a request that is over a limit.
func (d *decision) refuse(c *gin.Context, rule *rule) {
	c.Abort()
	d.earlier.giveBack(c)
	q, v := &d.quotas[d.closest], &d.verdicts[d.closest]
	writeRetryAfter(c, q, v)
	if rule.overLimit != nil {
		c.Status(http.StatusTooManyRequests)
		rule.overLimit(c)
		return
	}
	document := d.about[d.closest].limit.refusal
	if violated := d.violated(); document == nil || len(violated) > 1 {
		document = refusal(q.Limit, q.Per, violated...)
	}
	answer(c, http.StatusTooManyRequests, document)
}

// keepApart gives a limit a counter of its own where a middleware before, on the
// same request, has one on the same key, scope, algorithm and period: a request
// would be charged twice in one counter otherwise.
func (d *decision) keepApart() {
	if d.earlier == nil {
		return
	}
	for i := range d.asked() {
		q := &d.quotas[i]
		place := 1
		for e := d.earlier; e != nil; e = e.earlier {
			place += sharing(q, e.quotas)
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

// giveBack returns what this and the middlewares before have taken for a request
// that is refused now: it costs nothing. What cannot be returned stays charged,
// which is strict but safe.
func (d *decision) giveBack(c *gin.Context) {
	for ; d != nil; d = d.earlier {
		if len(d.verdicts) == 0 || d.exceeded() {
			continue // nothing was charged
		}
		taken := slices.Clone(d.asked())
		for i := range taken {
			taken[i].Cost = -taken[i].Cost
		}
		// Also for a client that has just left.
		ctx := context.WithoutCancel(c.Request.Context())
		_ = d.settings.decider.Take(ctx, taken, make([]backends.Verdict, len(taken)))
	}
}

// violated lists the names of the limits that refused.
func (d *decision) violated() (names []string) {
	for i := range d.verdicts {
		if !d.verdicts[i].Allowed && !d.quotas[i].Shadow {
			names = append(names, d.about[i].limit.name)
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
