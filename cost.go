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

// ledger records what a request has been charged by each of its limits.
type ledger struct {
	// changing is held while the cost of a request changes on all of its RateLimits. All
	// of them use the mutex of the first.
	changing sync.Mutex

	mu       sync.Mutex // guards the fields below
	units    []int64
	receipts []int64            // of the last charges, for refunds
	left     []backends.Verdict // the state after the last correction
	refunded bool               // everything was refunded; no charge may follow
}

// payer is a limit on the same counter as a later limit of the same request. A request pays
// a counter only once.
type payer struct {
	*request
	limit int
}

// SetCost sets the total cost of a request, if it is only known after the limits have
// been checked: the tokens of a language model, bytes sent, rows read. total is from 0 to
// backends.MaxLimit. The difference from what has been charged so far is charged or
// refunded. It is charged even if it exceeds the limit; the client then has to wait for
// longer. Calling SetCost again with the same total changes nothing. For a stream, see
// AddCost.
//
// It applies to the limits with WithCost. If there are none, it applies to the limits of
// the last RateLimit before the handler, or, on a route without one, to the configured
// limits. A counter that several of them share is charged once. SetCost does nothing if
// the request met no limit. FromContext still returns the original decision; Peek returns
// the current state.
//
// SetCost returns an error if total is out of range or the backend fails. It is safe for
// concurrent use, also on a copy of the context.
func SetCost(c *gin.Context, total int) error {
	if total < 0 || int64(total) > backends.MaxLimit {
		return fmt.Errorf("the cost of a request cannot be %d units; it must be from 0 to %d", total, backends.MaxLimit)
	}
	return changeCost(c, func(int64) int64 { return int64(total) })
}

// AddCost adds to the cost of a request, for example for each part of a stream; a
// negative number refunds units. more is from -backends.MaxLimit to backends.MaxLimit,
// and the total is clamped to the range from 0 to backends.MaxLimit, so a request never
// refunds more than it was charged. It applies to the same limits as SetCost. It is safe
// for concurrent use, and concurrent calls add up.
//
// AddCost returns an error if more is out of range or the backend fails. After an error
// some of the limits may have been charged; SetCost with the total corrects them.
func AddCost(c *gin.Context, more int) error {
	if int64(more) < -backends.MaxLimit || int64(more) > backends.MaxLimit {
		return fmt.Errorf("the cost of a request cannot change by %d units; the number must be from %d to %d", more, -backends.MaxLimit, backends.MaxLimit)
	}
	return changeCost(c, func(paid int64) int64 { return min(max(0, paid+int64(more)), backends.MaxLimit) })
}

// changeCost corrects the cost of a request on the limits that have one. change receives
// what was paid and returns what should be paid.
func changeCost(c *gin.Context, change func(paid int64) int64) error {
	var chain []*request // in the order of the route, because later RateLimits charge the difference
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

// lastOfRoute returns the index of the last RateLimit in a chain, or of the last
// configured limits if there is no RateLimit.
func lastOfRoute(chain []*request) int {
	for i := len(chain) - 1; i >= 0; i-- {
		if !chain[i].isConfigured() {
			return i
		}
	}
	return len(chain) - 1
}

// hasCosts reports whether any limit has WithCost.
func (q *request) hasCosts() bool {
	return slices.ContainsFunc(q.details().limits, func(a limitState) bool { return a.hasCost })
}

// refund refunds what this RateLimit has charged, and prevents further charges. Units
// that a later limit relies on stay charged.
func (q *request) refund(c *gin.Context) error {
	if q.at == 0 || q.isConcurrent() { // a slot is freed when the request ends
		return nil
	}
	t := q.openLedger()
	kept := make([]bool, len(t.units)) // computed before the lock, because later ledgers are locked before earlier ones
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

// pays reports whether limit i has also paid for a later limit that was not refunded.
func (q *request) pays(i int, last *request) bool {
	for e := last; e != nil && e != q; e = e.earlier {
		if !e.sharing || e.isRefunded() {
			continue
		}
		d := e.details()
		for j := range d.limits {
			if e.wasCharged(&d.verdicts[j]) && d.limits[j].payer.includes(q, i) {
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

// refundAll refunds what this RateLimit and the earlier ones have charged for a request
// that is rejected. If the backend fails, units stay charged, which is the safe side.
func (q *request) refundAll(c *gin.Context) {
	for ; q != nil; q = q.earlier {
		_ = q.refund(c)
	}
}

// unitsOf returns what each RateLimit of a chain has charged, by limit.
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

// correct brings the charges of some limits to their new total. before is what the chain
// had charged when the change began. Limits that share a counter have one total, of which
// a later limit charges what the earlier ones do not.
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
		if concerns(d.limits[i].limitRule) {
			payer := d.limits[i].payer
			total := change(payer.paidIn(before) + before[q][i])
			want[i] = max(0, total-payer.paid(q, want))
		}
	}
	return q.charge(c, t, want)
}

// openLedger returns the ledger of a request, and creates it when it is first needed.
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
// request exceeded an enforced limit, no limit was charged, not even a shadow limit.
func (q *request) wasCharged(v *backends.Verdict) bool {
	return q.at != 0 && v.Allowed && !q.exceeded()
}

// leftOf returns the state of a limit after the last correction.
func (t *ledger) leftOf(i int) backends.Verdict {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.left[i]
}

// charge charges or refunds the differences in one call to the backend. It does not end
// with the request, because a client that has disconnected must pay too. The caller holds
// the lock of the ledger.
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
		return fmt.Errorf("the rate limiter could not change the cost of a request on %s: %w", d.limits[of[0]].key, err)
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

// findPayers finds the limits on the counter of another limit of this request, here or in
// earlier RateLimits. The later limit only charges the difference.
func (q *request) findPayers() {
	s := q.decision
	for i := range s.quotas {
		quota := &s.quotas[i]
		before := q.payerOf(quota, i)
		if before == nil {
			continue
		}
		s.limits[i].payer = before
		paid := before.paid(q, nil)
		quota.Cost = max(quota.Cost, paid)
		if !costsTooMuch(quota) { // otherwise the full cost shows that waiting does not help
			quota.Cost -= paid
		}
	}
}

// costsTooMuch reports whether the cost is more than the quota ever allows.
func costsTooMuch(quota *backends.Quota) bool { return quota.Cost > quota.Capacity() }

// payerOf returns the last limit before limit i on the same counter, or nil. It may not
// have been charged; see paid.
func (q *request) payerOf(quota *backends.Quota, i int) *payer {
	for e, n := q, i; e != nil; {
		d := e.details()
		if e != q {
			n = len(d.quotas)
		}
		for j := n - 1; j >= 0; j-- {
			if e.settings == q.settings && sameCounter(&d.quotas[j], quota) {
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

// paid returns what this limit and earlier ones on the same counter have charged. The
// limits of asking count with planned, the units that they are about to charge, or with
// the cost in their quotas if planned is nil.
func (p *payer) paid(asking *request, planned []int64) int64 {
	var sum int64
	for p != nil {
		d := p.details()
		quota := &d.quotas[p.limit]
		switch t := p.request.ledger.Load(); {
		case p.request == asking && planned != nil:
			sum += planned[p.limit]
		case t != nil:
			t.mu.Lock()
			sum += t.units[p.limit]
			t.mu.Unlock()
		case p.request == asking && !costsTooMuch(quota), p.wasCharged(&d.verdicts[p.limit]):
			sum += quota.Cost
		}
		p = d.limits[p.limit].payer
	}
	return sum
}

// includes reports whether a limit is this payer or an earlier one.
func (p *payer) includes(q *request, limit int) bool {
	for ; p != nil; p = p.details().limits[p.limit].payer {
		if p.request == q && p.limit == limit {
			return true
		}
	}
	return false
}

// paidIn returns what this limit and earlier ones on the same counter have charged,
// according to units.
func (p *payer) paidIn(units map[*request][]int64) (sum int64) {
	for ; p != nil; p = p.details().limits[p.limit].payer {
		if of := units[p.request]; of != nil {
			sum += of[p.limit]
		}
	}
	return sum
}

// countAfter runs the handlers, unless a following limit rejects the request, and refunds
// the request if it should not count. It does not recover a panic, so that the recovering
// middleware sees the whole stack.
func (q *request) countAfter(c *gin.Context, counts func(*gin.Context) bool) (proceed bool) {
	panicking, rejected := true, false
	defer func() {
		if rejected {
			return
		}
		if panicking && !c.Writer.Written() {
			// The response to a panic is written later. Until then the status is still
			// 200.
			before := c.Writer.Status()
			c.Status(http.StatusInternalServerError)
			defer c.Status(before)
		}
		if counts(c) {
			return
		}
		if err := q.refund(c); err != nil {
			_ = c.Error(err) // returns its argument
			return
		}
		lastRequest(c).rewriteHeaders(c)
	}()
	if rejected = !q.takeFollowing(c, q); rejected {
		return false
	}
	c.Next()
	panicking = false
	return true
}
