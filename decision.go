package ratelimiter

import (
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter/backends"
)

// decision is one question to the backend and the answer. The request keeps it,
// for FromContext and for the middlewares behind, and a copy of the context may
// outlive the request: so a decision is never changed afterwards or used again.
// Only what has been taken for it is, under a lock.
type decision struct {
	settings *settings
	earlier  *decision // of the middleware before, if any
	// quotas are those asked, with a verdict for each, and behind them those that
	// are unlimited for this request. There is something about all of them.
	quotas   []backends.Quota
	verdicts []backends.Verdict
	about    []about
	skipped  *passed       // set if WithSkip said so
	closest  int           // to refusing, of the verdicts
	at       time.Duration // when it was decided, since 1970
	// taken is what the request has been charged since, which does change.
	taken atomic.Pointer[taken]
}

// about is what the backend need not know of a quota.
type about struct {
	limit  *ruleLimit
	key    string
	order  uint8 // of the limit, in its rule
	number uint8 // of its name, among those that would be the same; 0 for the first
	// routed tells that the key is the route, onRoute which place there is kept for
	// the limit, 0 for the first; see keepApart.
	routed  bool
	onRoute uint8
	banned  bool
	inX     bool // in the X-RateLimit headers, or was until a stricter one was
}

// name is what the limit is called on this request.
func (a *about) name() string { return numbered(a.limit.name, int(a.number)) }

// single is room for one limit, which is what most requests have.
type single struct {
	quotas   [1]backends.Quota
	verdicts [1]backends.Verdict
	about    [1]about
}

// newDecision makes room for the limits of a rule, and for the values of headers
// if any are to be sent: with one limit in one allocation, as small as can be, as
// allocations are most of what a request costs.
func newDecision(c *gin.Context, s *settings, rule *rule) (d *decision, values *headerValues) {
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
	d.settings, d.earlier = s, decided(c)
	return d, values
}

// add asks for what a request costs of a limit, unless it is unlimited for this
// request.
func (d *decision) add(c *gin.Context, rule *rule, i int, key key, scope string) {
	l := &rule.limits[i]
	limit := l.limit
	if l.ask != nil {
		limit = min(int64(l.ask(c, key.shown, scope)), backends.MaxLimit)
	}
	q := d.quota(l, key, scope)
	q.Limit = limit
	if l.cost != nil {
		q.Cost = l.cost(c)
	}
	d.quotas = append(d.quotas, q)
	d.about = append(d.about, about{limit: l, key: key.shown, order: uint8(min(i, math.MaxUint8)), routed: key.route})
	if limit < 0 {
		return
	}
	if asked, last := len(d.verdicts), len(d.quotas)-1; asked < last {
		d.quotas[asked], d.quotas[last] = d.quotas[last], d.quotas[asked]
		d.about[asked], d.about[last] = d.about[last], d.about[asked]
	}
	d.verdicts = append(d.verdicts, backends.Verdict{})
}

// quota is what is the same in all that a limit asks of a key and scope.
func (d *decision) quota(l *ruleLimit, key key, scope string) backends.Quota {
	q := backends.Quota{
		Key: key.stored, Scope: scope,
		Algorithm: d.settings.algorithm, Limit: l.limit, Per: l.per, Burst: l.burst, Cost: 1,
		Shadow: l.shadow, Tentative: l.tentative,
	}
	if l.algorithm != nil {
		q.Algorithm = *l.algorithm
	}
	return q
}

// asked are the quotas without those that are unlimited.
func (d *decision) asked() []backends.Quota { return d.quotas[:len(d.verdicts)] }

// decide asks the backend and lets the request go on, or answers it.
func (d *decision) decide(c *gin.Context, rule *rule, values *headerValues) {
	d.keepApart(rule)
	if len(d.verdicts) == 0 {
		c.Set(contextKey{}, d) // see keepApart
		return
	}
	if d.settings.closed.Load() {
		d.failed(c, rule, backends.ErrClosed)
		return
	}
	if err := c.Request.Context().Err(); err != nil {
		d.failed(c, rule, err)
		return
	}
	d.callApart()
	d.settings.seen.note(d)
	asked := d.settings.observing.question(d.settings)
	waited, err := d.ask(c, rule)
	if err != nil {
		d.settings.observing.failed(c, d, rule, asked, waited, err)
		if d.failed(c, rule, err); !c.IsAborted() {
			d.verdicts = nil
			c.Set(contextKey{}, d) // see keepApart
		}
		return
	}
	now := time.Now()
	d.at = time.Duration(now.UnixNano())
	d.findClosest()
	d.settings.observing.decided(c, d, rule, asked, waited, now)
	if values != nil && !d.quotas[d.closest].Shadow {
		d.writeHeaders(c.Writer.Header(), rule, values)
	}
	c.Set(contextKey{}, d)
	if d.exceeded() && !rule.never {
		d.refuse(c, rule)
	}
}

// ask asks the backend, and waits for the request's turn if the rule says so.
func (d *decision) ask(c *gin.Context, rule *rule) (waited time.Duration, err error) {
	if rule.wait == 0 {
		return 0, d.take(c.Request.Context(), d.asked(), d.verdicts, 1)
	}
	if waited, err = d.inTurn(c, rule.wait); err == nil {
		d.strike(c.Request.Context())
	}
	return waited, err
}

// made tells whether the backend has decided.
func (d *decision) made() bool { return d.at != 0 }

func (d *decision) findClosest() {
	d.closest = 0
	for i := 1; i < len(d.verdicts); i++ {
		if d.standing(i).closer(d.standing(d.closest)) {
			d.closest = i
		}
	}
}

// exceeded tells whether any limit was that is not a shadow.
func (d *decision) exceeded() bool {
	return !d.verdicts[d.closest].Allowed && !d.quotas[d.closest].Shadow
}

// refuses tells whether any limit may refuse the request.
func (d *decision) refuses(rule *rule) bool {
	return !rule.never && slices.ContainsFunc(d.asked(), func(q backends.Quota) bool { return !q.Shadow })
}

// giveBack returns what this and the middlewares before have taken for a request
// that is refused now: it costs nothing. What cannot be returned stays charged,
// which is strict but safe.
func (d *decision) giveBack(c *gin.Context) {
	for ; d != nil; d = d.earlier {
		_ = d.refund(c)
	}
}

// violated lists the names of the limits that refused.
func (d *decision) violated() (names []string) {
	for i := range d.verdicts {
		if !d.verdicts[i].Allowed && !d.quotas[i].Shadow {
			names = append(names, d.about[i].name())
		}
	}
	return names
}
