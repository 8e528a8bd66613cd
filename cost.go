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

// ledger is what a request has been charged of each limit that it was asked about.
type ledger struct {
	// changing is held while the cost of a request changes, on all of its RateLimits.
	// It is that of the first of them.
	changing sync.Mutex

	mu       sync.Mutex // held while what follows changes
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

// SetCost sets what a request costs in all, where that is known only afterwards: the tokens
// of a language model, bytes sent, rows read. total is from 0 to backends.MaxLimit. The
// difference from what was charged before is charged, even past the limit, which time pays
// back, or refunded. So calling it again with the same total changes nothing. See AddCost
// for a stream.
//
// It applies to the limits that have a cost (WithCost). Where none has, it applies to those
// of the last RateLimit before the handler, or to the configured limits on a route without
// one. A counter that several of them share is charged once. A request that no limit was asked about costs nothing. FromContext still returns
// what was decided before; Peek returns what is left now. It is safe for use by many
// goroutines, also on a copy of the context.
func SetCost(c *gin.Context, total int) error {
	if total < 0 || int64(total) > backends.MaxLimit {
		return fmt.Errorf("a request cannot cost %d units; the cost is from 0 to %d", total, backends.MaxLimit)
	}
	return changeCost(c, func(int64) int64 { return int64(total) })
}

// AddCost adds to the cost of a request: more units than were charged up to now, or fewer
// if the number is negative. It suits a loop over the parts of a stream. The number is from
// -backends.MaxLimit to backends.MaxLimit, and the total stays from 0 to backends.MaxLimit:
// a request never refunds more than it was charged. Everything else is as for SetCost, and
// concurrent calls lose nothing.
//
// After an error some limits may have been charged. SetCost with the total settles them.
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
		if q.at != 0 && !q.isConcurrent() {
			chain = append(chain, q)
		}
	}
	if len(chain) == 0 {
		return nil
	}
	slices.Reverse(chain)
	first := chain[0].openLedger()
	first.changing.Lock()
	defer first.changing.Unlock()
	before := unitsOf(chain)
	costed := slices.ContainsFunc(chain, (*request).hasCosts)
	last := lastOfRoute(chain)
	for i, q := range chain {
		concerns := func(l *limitRule) bool { return l.hasCost }
		if !costed {
			if i != last {
				continue
			}
			concerns = func(*limitRule) bool { return true }
		}
		if err := q.correct(c, before, concerns, change); err != nil {
			return err
		}
	}
	return nil
}

// lastOfRoute is the last RateLimit in a chain, or of configured limits alone the last.
func lastOfRoute(chain []*request) int {
	for i := len(chain) - 1; i >= 0; i-- {
		if !chain[i].isConfigured() {
			return i
		}
	}
	return len(chain) - 1
}

// hasCosts reports whether any limit has a cost of its own.
func (q *request) hasCosts() bool {
	return slices.ContainsFunc(q.details().asked, func(a asked) bool { return a.hasCost })
}

// refund gives back what this RateLimit has taken. Nothing is charged after that. What
// a later limit, which counts the request, has found paid stays charged.
func (q *request) refund(c *gin.Context) error {
	if q.at == 0 || q.isConcurrent() { // a place is given back when the request ends
		return nil
	}
	t := q.openLedger()
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
	t := q.ledger.Load()
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

// unitsOf is what each request of a chain has been charged of each of its limits.
func unitsOf(chain []*request) map[*request][]int64 {
	units := make(map[*request][]int64, len(chain))
	for _, q := range chain {
		t := q.openLedger()
		t.mu.Lock()
		units[q] = slices.Clone(t.units)
		t.mu.Unlock()
	}
	return units
}

// correct makes what some limits have charged what it should be. before is what the
// chain had been charged when the change began: limits that share a counter change to
// one total, and a later one charges what the earlier ones have left of it.
func (q *request) correct(c *gin.Context, before map[*request][]int64, concerns func(*limitRule) bool, change func(paid int64) int64) error {
	t := q.openLedger()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.refunded {
		return nil
	}
	d := q.details()
	want := slices.Clone(t.units)
	for i := range want {
		if concerns(d.asked[i].limitRule) {
			payer := d.asked[i].payer
			total := change(payer.paidIn(before) + before[q][i])
			want[i] = max(0, total-payer.paid(q, want))
		}
	}
	return q.charge(c, t, want)
}

// openLedger is what the request has been charged, made when it is first needed.
func (q *request) openLedger() *ledger {
	if t := q.ledger.Load(); t != nil {
		return t
	}
	d := q.details()
	t := &ledger{units: make([]int64, len(d.verdicts)), receipts: make([]int64, len(d.verdicts)), left: slices.Clone(d.verdicts)}
	for i := range d.verdicts {
		if v := &d.verdicts[i]; q.wasCharged(v) {
			t.units[i], t.receipts[i] = d.quotas[i].Cost, v.Receipt
		}
	}
	q.ledger.CompareAndSwap(nil, t)
	return q.ledger.Load()
}

// wasCharged reports whether a limit was charged when the request was decided. If the
// request exceeded an enforced limit, none was charged, not even a shadow.
func (q *request) wasCharged(v *backends.Verdict) bool {
	return q.at != 0 && v.Allowed && !q.exceeded()
}

// leftOf is what is left of a limit.
func (t *ledger) leftOf(i int) backends.Verdict {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.left[i]
}

// charge asks the backend for the difference between what was taken and what is
// wanted, in one question. It does not end with the request: a client that has left
// must pay. It is called with the ledger locked.
func (q *request) charge(c *gin.Context, t *ledger, want []int64) error {
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
			if charges && e.settings == q.settings && sameCounter(&d.quotas[j], quota) {
				return &payer{e, j}
			}
		}
		e = e.earlier
	}
	return nil
}

func sameCounter(a, b *backends.Quota) bool {
	return a.Key == b.Key && a.Scope == b.Scope && a.Algorithm == b.Algorithm && a.Per == b.Per && a.Shadow == b.Shadow && sameZone(a.Calendar, b.Calendar)
}

// paid is what this limit and those before it on the same counter have charged. The
// limits of asking count with planned, what they are about to charge, or, where that
// is nil, with the cost in their quotas.
func (p *payer) paid(asking *request, planned []int64) int64 {
	var sum int64
	for p != nil {
		switch t := p.request.ledger.Load(); {
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

// paidIn is what a request had paid of a counter, up to this limit, when its units were
// these.
func (p *payer) paidIn(units map[*request][]int64) (sum int64) {
	for ; p != nil; p = p.details().asked[p.limit].payer {
		if of := units[p.request]; of != nil {
			sum += of[p.limit]
		}
	}
	return sum
}

// countAfter runs the handlers, if the limits behind this one allow that, and
// refunds what the request has taken unless it is to count. It does not recover a panic, so
// whoever does sees the whole stack.
func (q *request) countAfter(c *gin.Context, counts func(*gin.Context) bool) (goesOn bool) {
	panicking, rejected := true, false
	defer func() {
		if rejected {
			return
		}
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
		lastRequest(c).rewriteHeaders(c)
	}()
	if rejected = !q.takeBehind(c, q); rejected {
		return false
	}
	c.Next()
	panicking = false
	return true
}
