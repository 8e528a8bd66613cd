package ratelimiter

import (
	"slices"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/internal/inprogress"
)

// decision holds what a request met: its quotas, its verdicts and the limits that they
// belong to.
type decision struct {
	verdicts []backends.Verdict
	// quotas and limits have one entry for each verdict. They are nil on the fast path,
	// where the binding provides them; see details.
	quotas []backends.Quota
	limits []limitState
}

// limitState is a limit that a request met, with what depends on the request.
type limitState struct {
	*boundLimit
	key    string // the public key
	banned bool
	stage  int32            // index of the duration of the next ban; see ban.grows
	payer  *payer           // an earlier limit on the same counter
	slot   *inprogress.Slot // the slot of a Concurrent
}

// newPlain makes one allocation for a request of the fast path, its header values
// and its verdicts.
func (b *binding) newPlain() (q *request, texts *headerTexts) {
	switch {
	case len(b.limits) > 1:
		room := new(struct {
			request
			headerTexts
			decision
			verdicts [maxPlain]backends.Verdict
		})
		room.decision.verdicts = room.verdicts[:len(b.limits)]
		room.request.decision = &room.decision
		return &room.request, b.textsIn(&room.headerTexts)
	case b.any():
		room := new(struct {
			request
			headerTexts
		})
		return &room.request, &room.headerTexts
	}
	return new(request), nil
}

func (b *binding) textsIn(room *headerTexts) *headerTexts {
	if b.any() {
		return room
	}
	return nil
}

// newRequest allocates a request of the general path, in one allocation if it has few limits.
func (b *binding) newRequest() (q *request, texts *headerTexts) {
	switch n := len(b.limits); {
	case n == 1 && b.limits[0].listed == nil:
		room := new(struct {
			request
			headerTexts
			decision
			verdicts [1]backends.Verdict
			quotas   [1]backends.Quota
			limits   [1]limitState
		})
		q, texts = &room.request, &room.headerTexts
		q.decision = &room.decision
		*q.decision = decision{room.verdicts[:0], room.quotas[:0], room.limits[:0]}
	case n <= maxPlain:
		room := new(struct {
			request
			headerTexts
			decision
			verdicts [maxPlain]backends.Verdict
			quotas   [maxPlain]backends.Quota
			limits   [maxPlain]limitState
		})
		q, texts = &room.request, &room.headerTexts
		q.decision = &room.decision
		*q.decision = decision{room.verdicts[:0], room.quotas[:0], room.limits[:0]}
	default:
		q, texts = new(request), new(headerTexts)
		q.decision = &decision{make([]backends.Verdict, 0, n), make([]backends.Quota, 0, n), make([]limitState, 0, n)}
	}
	return q, b.textsIn(texts)
}

// addLimits determines the quota of each limit. Limits that are unlimited for this
// request are left out.
func (q *request) addLimits(c *gin.Context) error {
	q.scope = q.scopeOf(c, q.limits[0].scope)
	for i := range q.limits {
		l := &q.limits[i]
		scope := q.scope
		if l.ownKey {
			scope = q.scopeOf(c, l.scope)
		}
		if l.listed == nil {
			q.add(c, l, scope)
		} else if err := q.addList(c, i, scope); err != nil {
			return err
		}
	}
	if q.sharing {
		q.findPayers()
	}
	return nil
}

// add adds one limit, unless it is unlimited for this request.
func (q *request) add(c *gin.Context, l *boundLimit, scope string) {
	quota, key := q.newQuota(c, l, scope)
	if l.limitFunc != nil {
		quota.Limit = min(int64(l.limitFunc(c, key, scope)), backends.MaxLimit)
	}
	if quota.Limit >= 0 {
		q.addQuota(c, l, quota, key)
	}
}

// newQuota returns the quota of a limit for a request, without the number of a limit
// function and without the cost, and the public key.
func (q *request) newQuota(c *gin.Context, l *boundLimit, scope string) (quota backends.Quota, key string) {
	quota, key = l.quota, l.key
	quota.Scope = scope
	if key == "" {
		key, quota.Key = q.keyOf(c, l)
	}
	return quota, key
}

// addQuota completes a quota with the cost of the request and adds it.
func (q *request) addQuota(c *gin.Context, l *boundLimit, quota backends.Quota, key string) {
	if l.costFunc != nil {
		quota.Cost = l.costFunc(c)
	}
	q.decision.quotas = append(q.decision.quotas, quota)
	q.decision.verdicts = append(q.decision.verdicts, backends.Verdict{})
	q.decision.limits = append(q.decision.limits, limitState{boundLimit: l, key: key})
}

// keyOf returns the key that functions determine, as it is reported and as it is stored.
// An empty key means the route.
func (b *binding) keyOf(c *gin.Context, l *boundLimit) (key, stored string) {
	key = joinParts(c, l.limitRule.key, func() string { return "" })
	if key == "" {
		return b.routeName, l.storedKey(b.settings, routeNamespace, b.position, b.routeName)
	}
	return key, l.storedKey(b.settings, keyNamespace, b.position, key)
}

// scopeOf returns the scope of a request.
func (b *binding) scopeOf(c *gin.Context, scope []func(*gin.Context) string) string {
	if len(scope) == 0 {
		return b.clientAddress(c)
	}
	return joinParts(c, scope, func() string { return fallbackMark + b.clientAddress(c) })
}

// clientAddress returns the default scope: the IP address of the client, or the network
// of an IPv6 address.
func (b *binding) clientAddress(c *gin.Context) string {
	return b.limiter.clients.Text(c, maxIPv4Bits, b.settings.ipv6Prefix)
}

// storesQuotas reports whether the request holds its own quotas. On the fast path they
// are those of the binding.
func (q *request) storesQuotas() bool { return q.decision != nil && q.decision.quotas != nil }

// count returns the number of limits that the request met.
func (q *request) count() int {
	switch {
	case q.storesQuotas():
		return len(q.decision.quotas)
	case q.at == 0:
		return 0
	}
	return len(q.limits)
}

// limitOf returns a limit that the request met.
func (q *request) limitOf(i int) *boundLimit {
	if q.storesQuotas() {
		return q.decision.limits[i].boundLimit
	}
	return &q.limits[i]
}

// quotaOf returns the quota of a limit. On the fast path it has no scope.
func (q *request) quotaOf(i int) *backends.Quota {
	if q.storesQuotas() {
		return &q.decision.quotas[i]
	}
	return &q.limits[i].quota
}

func (q *request) verdictOf(i int) *backends.Verdict {
	if q.decision == nil {
		return &q.verdict
	}
	return &q.decision.verdicts[i]
}

// details returns the quotas, verdicts and limits of a request on either path. They are
// empty if the request met no limit.
func (q *request) details() *decision {
	switch {
	case q.storesQuotas():
		return q.decision
	case q.at == 0:
		return &decision{}
	}
	d := &decision{quotas: make([]backends.Quota, len(q.limits)), limits: make([]limitState, len(q.limits))}
	for i := range q.limits {
		l := &q.limits[i]
		d.quotas[i], d.limits[i] = l.quota, limitState{boundLimit: l, key: l.key}
		d.quotas[i].Scope = q.scope
	}
	if q.decision == nil {
		d.verdicts = []backends.Verdict{q.verdict}
	} else {
		d.verdicts = q.decision.verdicts
	}
	return d
}

// canReject reports whether any limit can reject the request, even if the backend has
// failed.
func (q *request) canReject() bool {
	enforced := func(quota backends.Quota) bool { return !quota.Shadow }
	return !q.neverReject && (q.plain || q.decision != nil && slices.ContainsFunc(q.decision.quotas, enforced))
}

// exceeded reports whether the request is over a limit that is not a shadow limit.
func (q *request) exceeded() bool {
	return !q.verdict.Allowed && !q.isShadow(q.closest)
}

func (q *request) isShadow(i int) bool { return q.quotaOf(i).Shadow }

// findClosest finds the limit that is closest to rejecting.
func (q *request) findClosest() {
	q.closest = 0
	for i := 1; i < len(q.decision.verdicts); i++ {
		if q.standing(i).stricter(q.standing(q.closest)) {
			q.closest = i
		}
	}
	q.verdict = q.decision.verdicts[q.closest]
}
