package ratelimiter

import (
	"slices"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/internal/inprogress"
)

// several holds what a request met: its quotas, its verdicts and the limits that they
// belong to.
type several struct {
	verdicts []backends.Verdict
	// quotas and asked have one entry for each verdict. They are nil on the fast path,
	// where the binding provides them; see details.
	quotas []backends.Quota
	asked  []asked
}

// asked is a limit that a request met, with what depends on the request.
type asked struct {
	*boundLimit
	key    string // the public key
	banned bool
	stage  int32             // index of the duration of the next ban; see ban.grows
	payer  *payer            // an earlier limit that has charged the same counter
	place  *inprogress.Place // the slot of a Concurrent
}

// newPlain allocates a request of the fast path at once, together with its header values
// and its verdicts.
func (b *binding) newPlain() (q *request, texts *headerTexts) {
	switch {
	case len(b.limits) > 1:
		room := new(struct {
			request
			headerTexts
			several
			verdicts [maxPlain]backends.Verdict
		})
		room.several.verdicts = room.verdicts[:len(b.limits)]
		room.request.several = &room.several
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

// newRequest allocates a request of the general path, at once if it has few limits.
func (b *binding) newRequest() (q *request, texts *headerTexts) {
	switch n := len(b.limits); {
	case n == 1 && b.limits[0].listed == nil:
		room := new(struct {
			request
			headerTexts
			several
			verdicts [1]backends.Verdict
			quotas   [1]backends.Quota
			asked    [1]asked
		})
		q, texts = &room.request, &room.headerTexts
		q.several = &room.several
		*q.several = several{room.verdicts[:0], room.quotas[:0], room.asked[:0]}
	case n <= maxPlain:
		room := new(struct {
			request
			headerTexts
			several
			verdicts [maxPlain]backends.Verdict
			quotas   [maxPlain]backends.Quota
			asked    [maxPlain]asked
		})
		q, texts = &room.request, &room.headerTexts
		q.several = &room.several
		*q.several = several{room.verdicts[:0], room.quotas[:0], room.asked[:0]}
	default:
		q, texts = new(request), new(headerTexts)
		q.several = &several{make([]backends.Verdict, 0, n), make([]backends.Quota, 0, n), make([]asked, 0, n)}
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
		q.askFor(c, l, quota, key)
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

// askFor completes a quota with the cost of the request and adds it.
func (q *request) askFor(c *gin.Context, l *boundLimit, quota backends.Quota, key string) {
	if l.costFunc != nil {
		quota.Cost = l.costFunc(c)
	}
	q.several.quotas = append(q.several.quotas, quota)
	q.several.verdicts = append(q.several.verdicts, backends.Verdict{})
	q.several.asked = append(q.several.asked, asked{boundLimit: l, key: key})
}

// keyOf returns the key that functions determine, as it is shown and as it is stored. An
// empty key means the route.
func (b *binding) keyOf(c *gin.Context, l *boundLimit) (shown, stored string) {
	shown = joinParts(c, l.limitRule.key, func() string { return "" })
	if shown == "" {
		return b.shown, l.storedKey(b.settings, ofRoute, b.position, b.shown)
	}
	return shown, l.storedKey(b.settings, ofKey, b.position, shown)
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
	return b.limiter.clients.Text(c, wholeIPv4, b.settings.ipv6Prefix)
}

// isAsked reports whether the request holds its own quotas. On the fast path they are
// those of the binding.
func (q *request) isAsked() bool { return q.several != nil && q.several.quotas != nil }

// count returns the number of limits that the request met.
func (q *request) count() int {
	switch {
	case q.isAsked():
		return len(q.several.quotas)
	case q.at == 0:
		return 0
	}
	return len(q.limits)
}

// limitOf returns a limit that the request met.
func (q *request) limitOf(i int) *boundLimit {
	if q.isAsked() {
		return q.several.asked[i].boundLimit
	}
	return &q.limits[i]
}

// quotaOf returns the quota of a limit. On the fast path it has no scope.
func (q *request) quotaOf(i int) *backends.Quota {
	if q.isAsked() {
		return &q.several.quotas[i]
	}
	return &q.limits[i].quota
}

func (q *request) verdictOf(i int) *backends.Verdict {
	if q.several == nil {
		return &q.verdict
	}
	return &q.several.verdicts[i]
}

// details returns the quotas, verdicts and limits of a request on either path. They are
// empty if the request met no limit.
func (q *request) details() *several {
	switch {
	case q.isAsked():
		return q.several
	case q.at == 0:
		return &several{}
	}
	d := &several{quotas: make([]backends.Quota, len(q.limits)), asked: make([]asked, len(q.limits))}
	for i := range q.limits {
		l := &q.limits[i]
		d.quotas[i], d.asked[i] = l.quota, asked{boundLimit: l, key: l.key}
		d.quotas[i].Scope = q.scope
	}
	if q.several == nil {
		d.verdicts = []backends.Verdict{q.verdict}
	} else {
		d.verdicts = q.several.verdicts
	}
	return d
}

// rejects reports whether any limit can reject the request, even if the backend has
// failed.
func (q *request) rejects() bool {
	enforced := func(quota backends.Quota) bool { return !quota.Shadow }
	return !q.neverReject && (q.plain || q.several != nil && slices.ContainsFunc(q.several.quotas, enforced))
}

// exceeded reports whether the request is over a limit that is not a shadow limit.
func (q *request) exceeded() bool {
	return !q.verdict.Allowed && !q.isShadow(q.closest)
}

func (q *request) isShadow(i int) bool { return q.quotaOf(i).Shadow }

// findClosest finds the limit that is closest to rejecting.
func (q *request) findClosest() {
	q.closest = 0
	for i := 1; i < len(q.several.verdicts); i++ {
		if q.standing(i).stricter(q.standing(q.closest)) {
			q.closest = i
		}
	}
	q.verdict = q.several.verdicts[q.closest]
}
