package ratelimiter

import (
	"context"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/internal/headers"
)

// This file is about RATELIMITER_FALLBACK_LIMITS: limits that a request is asked about once
// it was decided in the memory of this process, as the backend is away. They are like
// default limits, behind the first limits of the request that were decided so.

// newFallbackRule makes the rule of these limits, nil for none. Of the options of the
// default limits, which were checked, the scope alone is for them.
func newFallbackRule(limits []Limit, defaultOptions []Option) *rule {
	if len(limits) == 0 {
		return nil
	}
	asDefaults := &rule{limits: make([]limitRule, 1)}
	asDefaults.apply(ConfigDefaultOptions, defaultOptions)
	r := &rule{local: true, configured: &configured{}}
	for _, l := range limits {
		r.limits = append(r.limits, limitRule{
			namespace: ofFallback, limit: l.Limit, per: l.Per, cost: 1, inList: true, scope: asDefaults.limits[0].scope,
			name:      "fallback-" + headers.PolicyName(l.Per),
			tentative: true, // or a refund would not know that it is for this memory
		})
	}
	return r
}

// takeBehind asks what is asked behind the limits of a binding: those of the fallback, and
// the default limits. It reports whether they do not reject the request.
func (b *binding) takeBehind(c *gin.Context, q *request) (goesOn bool) {
	if q.needsFallbackLimits() {
		if !b.limiter.take(c, b.limiter.bindingFor(c, b.settings, b.settings.fallbackRule, b), q) {
			return false
		}
		q = lastRequest(c)
	}
	return b.takeDefaults(c, q)
}

// needsFallbackLimits reports whether the fallback has decided a request that could have been
// rejected, and its limits were not asked before.
func (q *request) needsFallbackLimits() bool {
	if q.settings.fallbackRule == nil || q.at == 0 || q.several == nil || !q.several.verdicts[0].Fallback || !q.rejects() {
		return false
	}
	for e := q; e != nil; e = e.earlier {
		if e.local && e.limiter == q.limiter {
			return false
		}
	}
	return true
}

// takeLocal asks the memory that is fallen back on, without a share. Its receipts are
// those of backends.NewFallback, so that refunds find their way back.
func (s *settings) takeLocal(ctx context.Context, quotas []backends.Quota, verdicts []backends.Verdict) error {
	if err := s.local.Take(ctx, quotas, verdicts); err != nil {
		return err
	}
	for i := range quotas {
		verdicts[i].Receipt, verdicts[i].Fallback = -verdicts[i].Receipt, true
	}
	return nil
}
