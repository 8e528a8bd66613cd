package ratelimiter

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter/backends"
)

// taken is what a request has been charged of each limit that it was asked about.
type taken struct {
	mu       sync.Mutex
	units    []int64
	receipts []int64            // for refunding the last of them
	left     []backends.Verdict // what was left when it was last corrected
	refunded bool               // all of it; nothing is charged after that
}

// payer is a limit that a request was charged by, on a counter that a later limit
// of the same request looks at. The request pays a counter once.
type payer struct {
	*request
	limit int
}

// SetCost says what a request costs in all, total units of 0 to backends.MaxLimit,
// where that is known only afterwards: the tokens of a language model, bytes sent,
// rows read. The difference to what was charged before is charged, even past the
// limit, which time pays back, or refunded. So calling it again with the same total
// changes nothing. See AddCost for a stream.
//
// It is for the limits that have a cost (WithCost). Where none has, it is for
// those of the last RateLimit before the handler. A request that no limit was
// asked about costs nothing. FromContext still returns what was decided before;
// Peek returns what is left now. It is safe for use by many goroutines, also on a
// copy of the context.
func SetCost(c *gin.Context, total int) error {
	if total < 0 || int64(total) > backends.MaxLimit {
		return fmt.Errorf("a request cannot cost %d units; the cost is from 0 to %d", total, backends.MaxLimit)
	}
	return changeCost(c, func(int64) int64 { return int64(total) })
}

// AddCost says that a request costs so many units more, or less if the number is
// negative, than was charged up to now, for example in a loop over the parts of a
// stream. Everything else is as for SetCost. The cost in all stays from 0 to
// backends.MaxLimit.
func AddCost(c *gin.Context, more int) error {
	if int64(more) < -backends.MaxLimit || int64(more) > backends.MaxLimit {
		return fmt.Errorf("a request cannot cost %d units more; the number is from %d to %d", more, -backends.MaxLimit, backends.MaxLimit)
	}
	return changeCost(c, func(paid int64) int64 { return min(max(0, paid+int64(more)), backends.MaxLimit) })
}

// changeCost corrects the cost of a request, on the limits that have one. change is
// given what was paid, and returns what it should be.
func changeCost(c *gin.Context, change func(paid int64) int64) error {
	var chain []*request // the first RateLimit first, as later ones charge the difference
	for q := lastRequest(c); q != nil; q = q.earlier {
		if q.at != 0 {
			chain = append(chain, q)
		}
	}
	slices.Reverse(chain)
	costed := slices.ContainsFunc(chain, (*request).hasCosts)
	for i, q := range chain {
		concerns := func(l *limitRule) bool { return l.hasCost }
		if !costed {
			if i < len(chain)-1 {
				continue
			}
			concerns = func(*limitRule) bool { return true }
		}
		if err := q.correct(c, concerns, change); err != nil {
			return err
		}
	}
	return nil
}

// hasCosts reports whether any limit has a cost of its own.
func (q *request) hasCosts() bool {
	return slices.ContainsFunc(q.details().asked, func(a asked) bool { return a.hasCost })
}

// refund gives back what this RateLimit has taken. Nothing is charged after that. What
// a later limit, which counts the request, has found paid stays charged.
func (q *request) refund(c *gin.Context) error {
	if q.at == 0 {
		return nil
	}
	t := q.ledger()
	kept := make([]bool, len(t.units)) // found out before the lock: later ledgers are locked before earlier ones
	for i := range kept {
		kept[i] = q.pays(i, lastRequest(c))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.refunded {
		return nil
	}
	t.refunded = true
	want := make([]int64, len(t.units))
	for i := range want {
		if kept[i] {
			want[i] = t.units[i]
		}
	}
	return q.charge(c, t, want)
}

// pays reports whether limit i has paid a counter also for a later limit of the request
// that was not refunded.
func (q *request) pays(i int, last *request) bool {
	for e := last; e != nil && e != q; e = e.earlier {
		if !e.sharing || e.isRefunded() {
			continue
		}
		d := e.details()
		for j := range d.asked {
			if e.wasCharged(&d.verdicts[j]) && d.asked[j].payer.includes(q, i) {
				return true
			}
		}
	}
	return false
}

func (q *request) isRefunded() bool {
	t := q.taken.Load()
	if t == nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.refunded
}

// refundAll refunds what this RateLimit and those before have taken for a request
// that is rejected now. What cannot be refunded stays charged, which is strict but safe.
func (q *request) refundAll(c *gin.Context) {
	for ; q != nil; q = q.earlier {
		_ = q.refund(c)
	}
}

// correct makes what some limits have charged what it should be.
func (q *request) correct(c *gin.Context, concerns func(*limitRule) bool, change func(paid int64) int64) error {
	t := q.ledger()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.refunded {
		return nil
	}
	d := q.details()
	want := slices.Clone(t.units)
	for i := range want {
		if concerns(d.asked[i].limitRule) {
			before := d.asked[i].payer.paid(q, want)
			want[i] = max(0, change(before+t.units[i])-before)
		}
	}
	return q.charge(c, t, want)
}

// ledger is what the request has taken, made when it is first needed.
func (q *request) ledger() *taken {
	if t := q.taken.Load(); t != nil {
		return t
	}
	d := q.details()
	t := &taken{units: make([]int64, len(d.verdicts)), receipts: make([]int64, len(d.verdicts)), left: slices.Clone(d.verdicts)}
	for i := range d.verdicts {
		if v := &d.verdicts[i]; q.wasCharged(v) {
			t.units[i], t.receipts[i] = d.quotas[i].Cost, v.Receipt
		}
	}
	q.taken.CompareAndSwap(nil, t)
	return q.taken.Load()
}

// wasCharged reports whether a limit was charged when the request was decided. None
// was where the request exceeded one of them, shadows included.
func (q *request) wasCharged(v *backends.Verdict) bool {
	return q.at != 0 && v.Allowed && !q.exceeded()
}

// leftOf is what is left of a limit.
func (t *taken) leftOf(i int) backends.Verdict {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.left[i]
}

// charge asks the backend for the difference between what was taken and what is
// wanted, in one question. It does not end with the request: a client that has left
// must pay. It is called with the ledger locked.
func (q *request) charge(c *gin.Context, t *taken, want []int64) error {
	d := q.details()
	var changes []backends.Quota
	var of []int
	for i, units := range want {
		if units == t.units[i] {
			continue
		}
		quota := d.quotas[i]
		quota.Cost, quota.Forced, quota.Tentative = units-t.units[i], units > t.units[i], true
		if quota.Cost < 0 {
			quota.Receipt = t.receipts[i]
		}
		changes, of = append(changes, quota), append(of, i)
	}
	if len(changes) == 0 {
		return nil
	}
	verdicts := make([]backends.Verdict, len(changes))
	if err := q.settings.decider.Take(context.WithoutCancel(c.Request.Context()), changes, verdicts); err != nil {
		return fmt.Errorf("the rate limiter could not correct what a request on %s costs: %w", d.asked[of[0]].key, err)
	}
	for n, i := range of {
		t.units[i] = want[i]
		t.left[i] = verdicts[n]
		if changes[n].Cost > 0 {
			t.receipts[i] = verdicts[n].Receipt
		} else {
			q.settings.queues.Free(changes[n].Key, changes[n].Scope)
		}
	}
	return nil
}

// findPayers finds limits of this request, here and in RateLimits before, that
// charge the same counter. The later then charges no more than the difference.
func (q *request) findPayers() {
	s := q.several
	for i := range s.quotas {
		quota := &s.quotas[i]
		before := q.payerOf(quota, i)
		if before == nil {
			continue
		}
		s.asked[i].payer = before
		paid := before.paid(q, nil)
		quota.Cost = max(quota.Cost, paid)
		if !costsTooMuch(quota) { // else it is asked for all of it, and answers that no waiting helps
			quota.Cost -= paid
		}
	}
}

// costsTooMuch reports whether a quota can never be charged what is asked of it.
func costsTooMuch(quota *backends.Quota) bool { return quota.Cost > mostAtOnce(quota) }

// payerOf finds the last limit before limit i that charges the counter of a quota.
func (q *request) payerOf(quota *backends.Quota, i int) *payer {
	for e, n := q, i; e != nil; {
		d := e.details()
		if e != q {
			n = len(d.quotas)
		}
		for j := n - 1; j >= 0; j-- {
			charges := e == q && !costsTooMuch(&d.quotas[j]) || e != q && e.wasCharged(&d.verdicts[j])
			if charges && sameCounter(&d.quotas[j], quota) {
				return &payer{e, j}
			}
		}
		e = e.earlier
	}
	return nil
}

func sameCounter(a, b *backends.Quota) bool {
	return a.Key == b.Key && a.Scope == b.Scope && a.Algorithm == b.Algorithm && a.Per == b.Per && a.Shadow == b.Shadow
}

// paid is what a request has paid of a counter, up to this limit. asking is the
// request that wants to know, and planned what its own limits are about to charge,
// nil for what they ask in the first place.
func (p *payer) paid(asking *request, planned []int64) int64 {
	var sum int64
	for p != nil {
		switch t := p.request.taken.Load(); {
		case p.request == asking && planned != nil:
			sum += planned[p.limit]
		case t != nil:
			t.mu.Lock()
			sum += t.units[p.limit]
			t.mu.Unlock()
		case p.request == asking || p.wasCharged(&p.details().verdicts[p.limit]):
			sum += p.details().quotas[p.limit].Cost
		}
		p = p.details().asked[p.limit].payer
	}
	return sum
}

// includes reports whether a limit is this payer, or one before it.
func (p *payer) includes(q *request, limit int) bool {
	for ; p != nil; p = p.details().asked[p.limit].payer {
		if p.request == q && p.limit == limit {
			return true
		}
	}
	return false
}

// countAfter runs the handlers, and refunds what the request has taken unless it
// is to count. It recovers from no panic: whoever does must see all of it.
func (q *request) countAfter(c *gin.Context, counts func(*gin.Context) bool) {
	panicking := true
	defer func() {
		if panicking && !c.Writer.Written() {
			// What answers a panic comes later: until then the status is that of success.
			before := c.Writer.Status()
			c.Status(http.StatusInternalServerError)
			defer c.Status(before)
		}
		if counts(c) {
			return
		}
		if err := q.refund(c); err != nil {
			_ = c.Error(err) // it returns what it was given
			return
		}
		if !c.Writer.Written() {
			q.rewriteHeaders(c.Writer.Header())
		}
	}()
	c.Next()
	panicking = false
}
