package ratelimiter

import (
	"context"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/internal/headers"
)

// This file implements RATELIMITER_FALLBACK_LIMITS. When a request has been decided in
// the memory of this process because the backend is unavailable, these limits apply to it
// as well. Like default limits, they are checked after the first RateLimit that was
// decided that way.

// newFallbackRule creates the rule of the fallback limits, or returns nil. They only use
// the scope of the default options, which have been validated before.
func newFallbackRule(limits []Limit, defaultOptions []Option) *rule {
	if len(limits) == 0 {
		return nil
	}
	asDefaults := &rule{limits: make([]limitRule, 1)}
	asDefaults.apply(ConfigDefaultOptions, defaultOptions)
	r := &rule{local: true, configured: &configured{}}
	for _, l := range limits {
		r.limits = append(r.limits, limitRule{
			namespace: fallbackNamespace, limit: l.Limit, per: l.Per, cost: 1, inList: true, scope: asDefaults.limits[0].scope,
			name:      "fallback-" + headers.PolicyName(l.Per),
			tentative: true, // so that a refund reaches the memory of this process
		})
	}
	return r
}

// takeFollowing applies the limits that follow a binding: the fallback limits and the
// default limits. It returns false if they reject the request.
func (b *binding) takeFollowing(c *gin.Context, q *request) (proceed bool) {
	if q.needsFallbackLimits() {
		if !b.limiter.take(c, b.limiter.bindingFor(c, b.settings, b.settings.fallbackRule, b), q) {
			return false
		}
		q = lastRequest(c)
	}
	return b.takeDefaults(c, q)
}

// needsFallbackLimits reports whether the fallback decided a request that could have been
// rejected, and the fallback limits have not been applied to it yet.
func (q *request) needsFallbackLimits() bool {
	if q.settings.fallbackRule == nil || q.at == 0 || q.decision == nil || !q.decision.verdicts[0].Fallback || !q.canReject() {
		return false
	}
	for e := q; e != nil; e = e.earlier {
		if e.local && e.limiter == q.limiter {
			return false
		}
	}
	return true
}

// takeLocal charges the fallback memory at the full limit. It marks the receipts as
// backends.NewFallback does, so that a refund reaches the same memory.
func (s *settings) takeLocal(ctx context.Context, quotas []backends.Quota, verdicts []backends.Verdict) error {
	if err := s.local.Take(ctx, quotas, verdicts); err != nil {
		return err
	}
	for i := range quotas {
		verdicts[i].Receipt, verdicts[i].Fallback = -verdicts[i].Receipt, true
	}
	return nil
}
