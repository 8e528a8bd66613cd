package inprogress

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
)

// A lease is a unit of a sliding log whose period is the length of the lease. One call
// renews it: it refunds the unit by its receipt and charges another one, forced. No other
// charge can come in between, so the slot is kept however many requests arrive meanwhile.
// A process that is killed renews nothing, and its units expire.
//
// A failed call may have been executed. Then a lease may be charged twice, and the extra
// unit takes up a slot for the length of a lease. It is never refunded twice, because that
// would admit a request too many. The same applies if limits above and below 128 use one
// counter: the log then stores charges differently, and a receipt may match nothing.

const (
	// renewals is how often a lease is renewed within its length.
	renewals = 3
	// soon is the longest time until a failed renewal is repeated.
	soon = time.Second
	// maxRefunds is the most receipts that one renewal refunds, so that no call occupies
	// the backend for long.
	maxRefunds = 64
	// maxRenewing is the most counters that are renewed at the same time.
	maxRenewing = 32
)

// lease is what the backend knows of a slot.
type lease struct {
	quota backends.Quota // including the receipt, which is 0 if the backend has no unit
	until time.Time      // when the lease ends, or later
	ended bool           // the request has ended, but the unit could not be refunded yet
	index int            // in leases.held
}

// leases are the leases of one counter.
type leases struct {
	leaseState
	held []*Slot
	due  time.Time // next renewal
	// renewal is held during renewals, because receipts change.
	renewal sync.Mutex
}

// lease takes a slot from the backend, or decides locally if the backend fails. The call
// does not end when the client leaves, so that it is always known what was charged.
func (cs *Counters) lease(ctx context.Context, s *Slot, v *backends.Verdict) error {
	quota, began := s.lease.quota, time.Now()
	before := cs.stateOf(s.counter)
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
		*v = denial(&quota, quota.Limit)
		return nil
	case cs.localLimit == nil, errors.Is(err, backends.ErrInvalidQuota), errors.Is(err, backends.ErrClosed):
		return err
	default:
		*v = decideLocally(&quota, cs.localLimit(quota.Limit), quota.Limit-v.Remaining)
	}
	if v.Allowed && quota.Cost > 0 {
		s.lease.quota.Receipt = v.Receipt
		cs.startRenewing(s, began, before, lost)
	}
	return nil
}

// decideLocally returns the verdict of this process, whose requests hold the given number
// of slots, including this one.
func decideLocally(quota *backends.Quota, limit, taken int64) backends.Verdict {
	v := backends.Verdict{Allowed: true, Remaining: limit - taken}
	if taken > limit {
		v = denial(quota, quota.Limit)
	}
	v.Fallback = true
	return v
}

// leaseState is what the backend should know of a counter: the number of leases, and how
// many have ended so far.
type leaseState struct {
	leased int64
	ended  int
}

func (cs *Counters) stateOf(c *counter) leaseState {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return c.leaseState
}

// startRenewing adds a slot to the renewals. If the backend knew of fewer leases than
// there were at the time of the call, it has lost data, and all leases are renewed at once.
// A lease that has ended in the meantime is another reason for fewer leases, so nothing
// happens then. All leases are also renewed at once if the backend answers again after an
// outage, because it does not know the slots that were taken in the meantime.
func (cs *Counters) startRenewing(s *Slot, began time.Time, before leaseState, lost bool) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := s.counter
	switch {
	case lost && c.ended == before.ended, s.lease.quota.Receipt != 0 && int64(len(c.held)) > c.leased:
		c.due = began
	case len(c.held) == 0:
		c.due = began.Add(c.id.lease / renewals)
	}
	s.lease.until = time.Now().Add(c.id.lease)
	c.add(s)
	cs.scheduleRenewal(c.due)
}

func (ls *leases) add(s *Slot) {
	s.lease.index = len(ls.held)
	ls.held = append(ls.held, s)
	if s.lease.quota.Receipt != 0 {
		ls.leased++
	}
}

func (ls *leases) remove(s *Slot) {
	last := len(ls.held) - 1
	ls.held[s.lease.index] = ls.held[last]
	ls.held[s.lease.index].lease.index = s.lease.index
	ls.held[last] = nil
	ls.held = ls.held[:last]
	if s.lease.quota.Receipt != 0 {
		ls.leased--
	}
}

// endLease refunds the unit of a slot. If the circuit breaker is open, the next renewal
// does it. After any other error the refund may have been made, so it is not repeated.
func (cs *Counters) endLease(s *Slot) {
	c := s.counter
	c.renewal.Lock()
	cs.mu.Lock()
	c.remove(s)
	c.ended++
	refund := s.lease.quota
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
		s.lease.ended = true
		c.add(s)
		c.due = time.Now().Add(min(c.id.lease/renewals, soon))
		cs.scheduleRenewal(c.due)
	}
}

// scheduleRenewal schedules the next renewal, unless an earlier one is scheduled.
func (cs *Counters) scheduleRenewal(due time.Time) {
	r := &cs.renewal
	if r.renewing || !r.at.IsZero() && !due.Before(r.at) {
		return
	}
	r.at = due
	if r.timer == nil {
		r.timer = time.AfterFunc(time.Until(due), cs.renew)
		return
	}
	r.timer.Reset(time.Until(due))
}

func (cs *Counters) stopRenewing() {
	if cs.renewal.timer != nil {
		cs.renewal.timer.Stop()
	}
}

// renew renews the leases of all counters that are due, and schedules the next renewal if
// there are any leases.
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
	cs.renewal.renewing, cs.renewal.at = false, time.Time{}
	for _, c := range cs.known {
		if len(c.held) > 0 {
			cs.scheduleRenewal(c.due)
		}
	}
}

func (cs *Counters) dueNow() (due []*counter) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.renewal.renewing = true
	now := time.Now()
	for _, c := range cs.known {
		if !c.due.After(now) {
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
		var part []*Slot
		part, held = splitByReceipt(held)
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

// receiptID identifies units of a log that were charged together and share a receipt. The
// limit determines which receipts share a cell of the log.
type receiptID struct{ receipt, limit int64 }

func (l *lease) receiptID() receiptID { return receiptID{l.quota.Receipt, l.quota.Limit} }

// splitByReceipt returns the first slots, with at most maxRefunds receipts, and the rest.
func splitByReceipt(held []*Slot) (part, rest []*Slot) {
	seen := map[receiptID]bool{}
	for i, s := range held {
		if seen[s.lease.receiptID()] = true; len(seen) > maxRefunds {
			return held[:i], held[i:]
		}
	}
	return held, nil
}

// renewPart renews slots in one call: it refunds their units, and charges new ones for
// those whose requests are still in progress.
func (cs *Counters) renewPart(part []*Slot) (done bool) {
	quotas, charged := renewal(part)
	answers := make([]backends.Verdict, len(quotas))
	err := cs.shared.Take(context.Background(), quotas, answers)
	now := time.Now()
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for _, s := range part {
		l := &s.lease
		switch {
		case l.ended && (!errors.Is(err, backends.ErrBreakerOpen) || !now.Before(l.until)):
			s.counter.remove(s)
		case err == nil && !l.ended:
			if l.quota.Receipt == 0 {
				s.counter.leased++
			}
			l.quota.Receipt, l.quota.Limit = answers[len(answers)-1].Receipt, charged
			l.until = now.Add(l.quota.Per)
		}
	}
	return err == nil
}

// renewal returns the quotas that renew the leases of slots. The last one is the charge,
// with the highest of the limits.
func renewal(part []*Slot) (quotas []backends.Quota, limit int64) {
	at := map[receiptID]int{}
	charge := part[0].lease.quota
	charge.Cost, charge.Forced, charge.Receipt = 0, true, 0
	for _, s := range part {
		refund := s.lease.quota
		if !s.lease.ended {
			charge.Cost++
			charge.Limit = max(charge.Limit, refund.Limit)
		}
		if refund.Receipt == 0 {
			continue
		}
		i, known := at[s.lease.receiptID()]
		if !known {
			i = len(quotas)
			at[s.lease.receiptID()] = i
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
