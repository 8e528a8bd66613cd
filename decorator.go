package ratelimiter

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
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
// Limits of its own do. With several RateLimiters it is exempt from those of all, as
// the RateLimit of any replaces the default limits of all.
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
	if rule.skips(c) {
		s.observing.skipped(c, s, rule)
		r.passOver(c, s, rule)
		return
	}
	var key key
	var scope string
	d, values := newDecision(c, s, rule)
	for i := range rule.limits {
		if l := &rule.limits[i]; i == 0 || rule.mixed {
			key, scope = r.keyOf(c, s, rule, l), r.scopeOf(c, s, l)
		}
		d.add(c, rule, i, key, scope)
	}
	d.decide(c, rule, values)
	if rule.countIf != nil && d.made() && !c.IsAborted() {
		d.countAfter(c, rule.countIf)
	}
}

// passed is what a middleware leaves behind that WithSkip has passed over.
type passed struct {
	decision
	limiter *RateLimiter
	c       *gin.Context
	rule    *rule
	once    sync.Once
	would   decision
}

// passOver lets limits that are skipped keep their places before those of another
// middleware; see keepApart.
func (r *RateLimiter) passOver(c *gin.Context, s *settings, rule *rule) {
	p := &passed{limiter: r, c: c, rule: rule}
	p.settings, p.earlier, p.skipped = s, decided(c), p
	c.Set(contextKey{}, &p.decision)
}

// places are what the limits would have had. Their keys are only asked for if there is
// another middleware, and once. What panics then was not meant for such a request, and
// has no counter that is shared.
func (p *passed) places() *decision {
	p.once.Do(func() {
		d := &p.would
		d.settings, d.earlier = p.settings, p.earlier
		defer func() {
			if recover() != nil {
				d.quotas, d.about = nil, nil
			}
		}()
		for i := range p.rule.limits {
			l := &p.rule.limits[i]
			key := p.limiter.keyOf(p.c, p.settings, p.rule, l)
			d.quotas = append(d.quotas, d.quota(l, key, ""))
			d.about = append(d.about, about{limit: l, order: uint8(min(i, math.MaxUint8)), routed: key.route})
		}
		d.keepApart(p.rule)
	})
	return &p.would
}

func (r *rule) skips(c *gin.Context) bool {
	for _, skip := range r.skip {
		if skip(c) {
			return true
		}
	}
	return false
}

// key is what is limited: as people read it, and as backends see it.
type key struct {
	shown, stored string
	route         bool // it is that of the route
}

func (r *RateLimiter) keyOf(c *gin.Context, s *settings, rule *rule, l *ruleLimit) key {
	if l.key != nil {
		if shown := together(c, l.key, func() string { return "" }); shown != "" {
			return key{shown: shown, stored: s.storedKey(shown)}
		}
	}
	if last := rule.route.Load(); last != nil && last.is(c) {
		return last.key
	}
	route := r.routes.of(c, s)
	rule.route.Store(route)
	return route.key
}

// refuse answers a request that is over a limit.
func (d *decision) refuse(c *gin.Context, rule *rule) {
	c.Abort()
	if d.earlier != nil {
		d.earlier.giveBack(c)
		d.earlier.writeGivenBack(c.Writer.Header())
	}
	q, v := &d.quotas[d.closest], &d.verdicts[d.closest]
	writeRetryAfter(c, q, v)
	if rule.overLimit != nil {
		c.Status(http.StatusTooManyRequests)
		rule.overLimit(c)
		return
	}
	document := d.about[d.closest].limit.refusal
	violated := d.violated()
	switch {
	case d.about[d.closest].banned:
		document = banRefusal(violated)
	case document == nil || len(violated) > 1 || violated[0] != d.about[d.closest].limit.name:
		document = refusal(q.Limit, q.Per, violated...)
	}
	answer(c, http.StatusTooManyRequests, document)
}

// failed does what RATELIMITER_ON_ERROR says, now that there is no decision. Limits
// that refuse nobody do not begin to because their backend is away.
func (d *decision) failed(c *gin.Context, rule *rule, err error) {
	switch {
	case errors.Is(err, backends.ErrClosed):
	case c.Request.Context().Err() != nil:
		// The request itself is over, and nobody waits for the answer any more.
	case d.settings.onError == onErrorAllow, !d.refuses(rule):
		return
	}
	fail(c, http.StatusServiceUnavailable, fmt.Errorf("the rate limiter could not decide on %s: %w", d.about[0].key, err))
}
