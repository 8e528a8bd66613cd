package inprogress

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
)

// A lease is a unit of a sliding log whose period is the length of the lease. It is
// renewed by one question that refunds the unit by its receipt and charges another,
// forced: nobody can come in between, and the place is not lost however many have come
// meanwhile. A process that is killed renews nothing, and its units leave the log.
//
// Questions that have failed may have been answered. Then a lease may be charged twice,
// and one of the two is in nobody's way for longer than a lease. It is never refunded
// twice, which would let in one too many. The same holds where limits on one counter are
// now above 128 and now not: the log then keeps charges in another way, and a receipt may
// find nothing.

const (
	// renewals is how many times a lease is renewed in its length.
	renewals = 3
	// soon is how long it takes at most until a renewal that has failed is tried again.
	soon = time.Second
	// maxRefunds is how many receipts one renewal refunds at most, so that no question
	// keeps the backend for long.
	maxRefunds = 64
	// maxRenewing is how many counters are renewed at the same time.
	maxRenewing = 32
)

// lease is what the backend knows of a place.
type lease struct {
	quota backends.Quota // with the receipt, which is 0 while the backend knows nothing
	until time.Time      // when the lease ends, or later
	ended bool           // the request has ended, and the backend could not be told yet
	index int            // in leases.held
}

// leases are those of one counter.
type leases struct {
	leaseState
	held []*Place
	due  time.Time // when they are to be renewed
	// renewal is held while they are renewed, as receipts change.
	renewal sync.Mutex
}

// lease asks the backend for a place, or decides here if it fails. A client that leaves
// does not end the question, so that what is charged is known and can be given back.
func (cs *Counters) lease(ctx context.Context, p *Place, v *backends.Verdict) error {
	quota, began := p.lease.quota, time.Now()
	before := cs.stateOf(p.counter)
	answers := make([]backends.Verdict, 1)
	err := cs.shared.Take(context.WithoutCancel(ctx), []backends.Quota{quota}, answers)
	answer := &answers[0]
	if err == nil && answer.Allowed && quota.Cost > 0 && answer.Receipt == 0 {
		err = errNoReceipt
	}
	lost := false
	switch {
	case err == nil && answer.Allowed:
		lost = quota.Limit-answer.Remaining <= before.leased
		answer.Remaining, answer.ResetAfter = min(answer.Remaining, v.Remaining), 0
		*v = *answer
	case err == nil:
		*v = denial(&quota, quota.Limit-answer.Remaining)
		return nil
	case cs.alone == nil, errors.Is(err, backends.ErrInvalidQuota), errors.Is(err, backends.ErrClosed):
		return err
	default:
		*v = decideAlone(&quota, cs.alone(quota.Limit), quota.Limit-v.Remaining)
	}
	if v.Allowed && quota.Cost > 0 {
		p.lease.quota.Receipt = v.Receipt
		cs.hold(p, began, before, lost)
	}
	return nil
}

// decideAlone is the verdict of this process, of whose requests so many hold a place
// with this one.
func decideAlone(quota *backends.Quota, limit, taken int64) backends.Verdict {
	v := backends.Verdict{Allowed: true, Remaining: limit - taken}
	if taken > limit {
		v = denial(quota, taken-quota.Cost)
		v.Remaining = max(0, limit-taken+quota.Cost)
	}
	v.Fallback = true
	return v
}

// leaseState is what the backend should know of a counter: leases that are there, and
// how many have ended up to now.
type leaseState struct {
	leased int64
	ended  int
}

func (cs *Counters) stateOf(c *counter) leaseState {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return c.leaseState
}

// hold renews the lease of a place from now on. If the backend knew of fewer leases than
// there were when it was asked, it has lost its data, and all are renewed at once; unless
// one has ended meanwhile, which may be the reason. All are renewed at once too if the
// backend answers again, and knows nothing of the places that were taken in an outage.
func (cs *Counters) hold(p *Place, began time.Time, before leaseState, lost bool) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := p.counter
	switch {
	case lost && c.ended == before.ended, p.lease.quota.Receipt != 0 && int64(len(c.held)) > c.leased:
		c.due = began
	case len(c.held) == 0:
		c.due = began.Add(c.id.lease / renewals)
	}
	p.lease.until = time.Now().Add(c.id.lease)
	c.add(p)
	cs.plan(c.due)
}

func (ls *leases) add(p *Place) {
	p.lease.index = len(ls.held)
	ls.held = append(ls.held, p)
	if p.lease.quota.Receipt != 0 {
		ls.leased++
	}
}

func (ls *leases) remove(p *Place) {
	last := len(ls.held) - 1
	ls.held[p.lease.index] = ls.held[last]
	ls.held[p.lease.index].lease.index = p.lease.index
	ls.held[last] = nil
	ls.held = ls.held[:last]
	if p.lease.quota.Receipt != 0 {
		ls.leased--
	}
}

// endLease tells the backend that a request has ended. If the backend is not asked at
// present, that is left to the renewals; if the question has failed, it may have been
// answered, and is not repeated.
func (cs *Counters) endLease(p *Place) {
	c := p.counter
	c.renewal.Lock()
	cs.mu.Lock()
	c.remove(p)
	c.ended++
	refund := p.lease.quota
	cs.mu.Unlock()
	c.renewal.Unlock()
	if refund.Receipt == 0 {
		return
	}
	refund.Cost = -1
	err := cs.shared.Take(context.Background(), []backends.Quota{refund}, make([]backends.Verdict, 1))
	if errors.Is(err, backends.ErrBreakerOpen) {
		cs.mu.Lock()
		defer cs.mu.Unlock()
		p.lease.ended = true
		c.add(p)
		c.due = time.Now().Add(min(c.id.lease/renewals, soon))
		cs.plan(c.due)
	}
}

// plan lets leases be renewed at a time, if they are not before.
func (cs *Counters) plan(due time.Time) {
	clock := &cs.clock
	if clock.renewing || !clock.at.IsZero() && !due.Before(clock.at) {
		return
	}
	clock.at = due
	if clock.timer == nil {
		clock.timer = time.AfterFunc(time.Until(due), cs.renew)
		return
	}
	clock.timer.Reset(time.Until(due))
}

func (cs *Counters) stopRenewing() {
	if cs.clock.timer != nil {
		cs.clock.timer.Stop()
	}
}

// renew renews the leases of all counters that are due, and plans the next time, if
// there are any leases then.
func (cs *Counters) renew() {
	var all sync.WaitGroup
	room := make(chan struct{}, maxRenewing)
	for _, c := range cs.dueNow() {
		room <- struct{}{}
		all.Go(func() {
			cs.renewAll(c)
			<-room
		})
	}
	all.Wait()
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.clock.renewing, cs.clock.at = false, time.Time{}
	for _, c := range cs.known {
		if len(c.held) > 0 {
			cs.plan(c.due)
		}
	}
}

func (cs *Counters) dueNow() (due []*counter) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.clock.renewing = true
	now := time.Now()
	for _, c := range cs.known {
		if len(c.held) > 0 && !c.due.After(now) {
			due = append(due, c)
		}
	}
	return due
}

// renewAll renews the leases of one counter.
func (cs *Counters) renewAll(c *counter) {
	c.renewal.Lock()
	defer c.renewal.Unlock()
	began, failed := time.Now(), false
	cs.mu.Lock()
	held := slices.Clone(c.held)
	cs.mu.Unlock()
	for len(held) > 0 {
		var part []*Place
		part, held = cut(held)
		failed = !cs.renewPart(part) || failed
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c.due = began.Add(c.id.lease / renewals)
	if failed {
		c.due = time.Now().Add(min(c.id.lease/renewals, soon))
	}
	cs.forget(c)
}

// issue is how the units of a log are told apart: what was charged together has one
// receipt. The limit says which receipts share a cell of the log.
type issue struct{ receipt, limit int64 }

func (l *lease) issue() issue { return issue{l.quota.Receipt, l.quota.Limit} }

// cut cuts off places with as many receipts as are refunded together.
func cut(held []*Place) (part, rest []*Place) {
	seen := map[issue]bool{}
	for i, p := range held {
		if seen[p.lease.issue()] = true; len(seen) > maxRefunds {
			return held[:i], held[i:]
		}
	}
	return held, nil
}

// renewPart refunds the units of places and charges others for those whose requests are
// still in progress, in one question.
func (cs *Counters) renewPart(part []*Place) (done bool) {
	quotas, charged := renewal(part)
	answers := make([]backends.Verdict, len(quotas))
	var err error
	if len(quotas) > 0 {
		err = cs.shared.Take(context.Background(), quotas, answers)
	}
	now := time.Now()
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for _, p := range part {
		l := &p.lease
		switch {
		case l.ended && (!errors.Is(err, backends.ErrBreakerOpen) || !now.Before(l.until)):
			p.counter.remove(p)
		case err == nil && !l.ended:
			if l.quota.Receipt == 0 {
				p.counter.leased++
			}
			l.quota.Receipt, l.quota.Limit = answers[len(answers)-1].Receipt, charged
			l.until = now.Add(l.quota.Per)
		}
	}
	return err == nil
}

// renewal is the question that renews the leases of places. The charge is the last of
// its quotas, on the highest of the limits.
func renewal(part []*Place) (quotas []backends.Quota, limit int64) {
	at := map[issue]int{}
	charge := part[0].lease.quota
	charge.Cost, charge.Forced, charge.Receipt = 0, true, 0
	for _, p := range part {
		refund := p.lease.quota
		if !p.lease.ended {
			charge.Cost++
			charge.Limit = max(charge.Limit, refund.Limit)
		}
		if refund.Receipt == 0 {
			continue
		}
		i, known := at[p.lease.issue()]
		if !known {
			i = len(quotas)
			at[p.lease.issue()] = i
			refund.Cost = 0
			quotas = append(quotas, refund)
		}
		quotas[i].Cost--
	}
	if charge.Cost > 0 {
		quotas = append(quotas, charge)
	}
	return quotas, charge.Limit
}
