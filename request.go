package ratelimiter

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter/backends"
)

// request is the decision of one RateLimit on one request. The gin.Context keeps it for
// FromContext and for later RateLimits, and a copy of the context may outlive the
// request. Therefore it is never reused and does not change after the decision, except
// for the ledger, which has a lock.
type request struct {
	*binding
	earlier  *request // the decision of the previous RateLimit, if any
	scope    string
	at       int64            // time of the decision in Unix microseconds; 0 if there was none
	verdict  backends.Verdict // of the limit that is closest to rejecting
	closest  int              // the index of that limit
	decision *decision        // nil on the fast path with a single limit
	ledger   atomic.Pointer[ledger]
}

// contextKey is the key under which a gin.Context keeps the last request of the chain.
type contextKey struct{}

// lastRequest returns the decision of the last RateLimit on a request, if any.
func lastRequest(c *gin.Context) *request {
	if c.Keys == nil { // the usual case, and cheaper than Get
		return nil
	}
	value, _ := c.Get(contextKey{})
	q, _ := value.(*request)
	return q
}

// keep stores the request in the context. Assigning a new map is cheaper than Set.
func (q *request) keep(c *gin.Context) {
	if c.Keys == nil {
		c.Keys = map[any]any{contextKey{}: q}
		return
	}
	c.Set(contextKey{}, q)
}

// limit applies one rule to a request.
func (r *RateLimiter) limit(c *gin.Context, rule *rule) {
	s := r.settings.Load()
	if s == nil {
		answerError(c, http.StatusInternalServerError, ErrNotInitialised)
		return
	}
	if !s.enabled {
		return
	}
	earlier := lastRequest(c)
	r.take(c, r.bindingFor(c, s, rule, earlier.boundTo()), earlier)
}

// take applies one binding to a request, and returns false if it was rejected.
func (r *RateLimiter) take(c *gin.Context, b *binding, earlier *request) (proceed bool) {
	if b.plain && !r.observers.any() && !b.settings.closed.Load() && !b.settings.bans.known() {
		return b.takePlain(c)
	}
	return b.takeGeneral(c, earlier)
}

func (q *request) boundTo() *binding {
	if q == nil {
		return nil
	}
	return q.binding
}

// maxPlain is the maximum number of limits on the fast path.
const maxPlain = 4

// takePlain is the fast path: fixed limits on one key and scope, counted in memory,
// without options that need more.
func (b *binding) takePlain(c *gin.Context) (proceed bool) {
	if c.Request.Context().Err() != nil {
		return b.takeGeneral(c, nil)
	}
	q, texts := b.newPlain()
	q.binding, q.scope = b, b.scopeOf(c, b.limits[0].scope)
	var err error
	if q.decision == nil {
		q.at, err = b.settings.memory.TakeOne(&b.limits[0].quota, q.scope, &q.verdict)
	} else {
		err = q.takeMultiple()
	}
	if err != nil {
		q.at = 0
		return q.failed(c, err)
	}
	q.keep(c)
	if texts != nil {
		q.writeHeaders(c.Writer.Header(), texts)
	}
	if !q.verdict.Allowed {
		q.reject(c)
	}
	return q.verdict.Allowed
}

// takeMultiple decides several limits on the fast path.
func (q *request) takeMultiple() (err error) {
	var quotas [maxPlain]backends.Quota
	n := len(q.limits)
	for i := range q.limits {
		quotas[i] = q.limits[i].quota
		quotas[i].Scope = q.scope
	}
	q.at, err = q.settings.memory.TakeAll(quotas[:n], q.decision.verdicts)
	q.findClosest()
	return err
}

// takeGeneral is the general path of a request.
func (b *binding) takeGeneral(c *gin.Context, earlier *request) (proceed bool) {
	if b.replaced || b.skips(c) {
		q := &request{binding: b, earlier: earlier}
		if !b.replaced {
			b.limiter.observers.skipped(q)
		}
		q.keep(c)
		return b.takeFollowing(c, q)
	}
	q, texts := b.newRequest()
	q.binding, q.earlier = b, earlier
	if err := q.addLimits(c); err != nil {
		answerError(c, http.StatusInternalServerError, err)
		return false
	}
	if len(q.decision.quotas) == 0 { // unlimited for this request
		q.keep(c)
		return b.takeFollowing(c, q)
	}
	if b.isConcurrent() {
		return q.holdSlot(c, texts)
	}
	if !q.decide(c, texts) {
		return false
	}
	if b.countIf == nil || q.at == 0 || !b.onRoute {
		return b.takeFollowing(c, q)
	}
	return q.countAfter(c, b.countIf)
}

func (r *rule) skips(c *gin.Context) bool {
	for _, skip := range r.skip {
		if skip(c) {
			return true
		}
	}
	return false
}

// decide calls the backend, and answers the request if it is rejected.
func (q *request) decide(c *gin.Context, texts *headerTexts) (proceed bool) {
	if q.settings.closed.Load() {
		return q.failed(c, backends.ErrClosed)
	}
	if err := c.Request.Context().Err(); err != nil {
		return q.failed(c, err)
	}
	q.limiter.known.addSeen(q)
	watched := q.limiter.observers.begin(q.settings)
	waited, err := q.ask(c)
	if err != nil {
		q.limiter.observers.failed(c.Request.Context(), q, watched, waited, err)
		return q.failed(c, err)
	}
	now := time.Now()
	if q.at == 0 {
		q.at = now.UnixMicro()
	}
	q.findClosest()
	q.limiter.observers.decided(q, watched, waited, now)
	if texts != nil && !q.decision.quotas[q.closest].Shadow {
		q.writeHeaders(c.Writer.Header(), texts)
	}
	q.keep(c)
	if q.exceeded() && !q.neverReject {
		q.reject(c)
		return false
	}
	return true
}

// ask calls the backend, and waits for the request's turn if the rule has WithWait.
func (q *request) ask(c *gin.Context) (waited time.Duration, err error) {
	if q.local {
		return 0, q.settings.takeLocal(c.Request.Context(), q.decision.quotas, q.decision.verdicts)
	}
	if q.isConcurrent() {
		return q.takeSlot(c)
	}
	if q.longestWait > 0 {
		return q.takeInTurn(c)
	}
	if memory := q.settings.memory; memory != nil && q.ban == nil && !q.settings.bans.known() {
		q.at, err = memory.TakeAll(q.decision.quotas, q.decision.verdicts)
		return 0, err
	}
	ctx := c.Request.Context()
	err = q.settings.takeWithBans(ctx, q.decision.quotas, q.decision.limits, q.decision.verdicts, 1)
	if err == nil && q.ban != nil && q.ban.grows() {
		q.recordRejection(ctx)
	}
	return 0, err
}

// failed applies RATELIMITER_ON_ERROR if there is no decision, and reports whether the
// request may continue. Limits that never reject let it continue in any case.
func (q *request) failed(c *gin.Context, err error) (proceed bool) {
	switch {
	case errors.Is(err, backends.ErrClosed):
	case !q.canReject():
		q.keep(c)
		return true
	case errors.Is(c.Request.Context().Err(), context.Canceled):
		q.earlier.refundAll(c)
		c.AbortWithStatus(statusClientClosedRequest) // the client has left, so this is not an error
		return false
	case c.Request.Context().Err() != nil:
	case q.settings.onError == onErrorAllow:
		q.keep(c)
		return true
	}
	q.earlier.refundAll(c)
	q.earlier.rewriteHeaders(c)
	q.answerUnavailable(c, fmt.Errorf("the rate limiter could not decide on %s: %w", q.routeName, err))
	return false
}

// statusClientClosedRequest is the status that nginx logs for a client that has
// disconnected.
const statusClientClosedRequest = 499
