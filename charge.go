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

// taken is what a request has been charged of each limit that was asked.
type taken struct {
	mu       sync.Mutex
	units    []int64
	receipts []int64            // for giving back the last of them
	left     []backends.Verdict // what is left since it was corrected
	over     bool               // all was given back
}

// Charge says what a request has cost in the end, n units of 0 to
// backends.MaxLimit in all, where that is known only afterwards: the tokens of a
// language model, bytes sent, rows read. What was charged before is corrected:
// more is charged, even past the limit, which time pays back, and less is given
// back. So calling it again with the same n changes nothing, and a stream may call
// it as it goes.
//
// It is for the limits that have a cost (WithCost). Where none has, it is for
// those of the last RateLimit before the handler. A request that no limit was
// asked for costs nothing. FromContext goes on telling what was decided before;
// Peek tells what is left now. It is safe for use by many goroutines, also on a
// copy of the context.
func Charge(c *gin.Context, n int) error {
	if n < 0 || int64(n) > backends.MaxLimit {
		return fmt.Errorf("a request cannot cost %d units; the cost is from 0 to %d", n, backends.MaxLimit)
	}
	last := decided(c)
	var costed bool
	for d := last; d != nil; d = d.earlier {
		if d.costs() {
			costed = true
			if err := d.charge(c, int64(n)); err != nil {
				return err
			}
		}
	}
	for d := last; d != nil && !costed; d = d.earlier {
		if len(d.verdicts) > 0 {
			return d.charge(c, int64(n))
		}
	}
	return nil
}

// costs tells whether any limit has a cost of its own.
func (d *decision) costs() bool {
	return slices.ContainsFunc(d.about[:len(d.verdicts)], func(a about) bool { return a.limit.cost != nil })
}

// charge makes units what the request has taken of each limit that has a cost, or
// of all if none has.
func (d *decision) charge(c *gin.Context, units int64) error {
	every := !d.costs()
	return d.correct(c, false, func(i int) (int64, bool) { return units, every || d.about[i].limit.cost != nil })
}

// refund gives back all that the request has taken. Nothing is charged after that.
func (d *decision) refund(c *gin.Context) error {
	return d.correct(c, true, func(int) (int64, bool) { return 0, true })
}

// correct makes what the request has taken what it should be, in one question to
// the backend. It does not end with the request: a client that has left must pay.
func (d *decision) correct(c *gin.Context, last bool, should func(i int) (units int64, concerned bool)) error {
	if len(d.verdicts) == 0 {
		return nil
	}
	t := d.taken.Load()
	if t == nil {
		d.taken.CompareAndSwap(nil, d.atFirst())
		t = d.taken.Load()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		return nil
	}
	t.over = last
	var changes []backends.Quota
	var of []int
	for i := range d.asked() {
		units, concerned := should(i)
		if !concerned || units == t.units[i] {
			continue
		}
		q := d.quotas[i]
		q.Cost, q.Forced, q.Tentative = units-t.units[i], units > t.units[i], true
		if q.Cost < 0 {
			q.Receipt = t.receipts[i]
		}
		changes, of = append(changes, q), append(of, i)
	}
	if len(changes) == 0 {
		return nil
	}
	verdicts := make([]backends.Verdict, len(changes))
	if err := d.settings.decider.Take(context.WithoutCancel(c.Request.Context()), changes, verdicts); err != nil {
		return fmt.Errorf("the rate limiter could not correct what a request on %s has cost: %w", d.about[of[0]].key, err)
	}
	for n, i := range of {
		t.units[i] += changes[n].Cost
		t.left[i] = verdicts[n]
		if changes[n].Cost > 0 {
			t.receipts[i] = verdicts[n].Receipt
		} else {
			d.settings.lines.freed(changes[n].Key, changes[n].Scope)
		}
	}
	return nil
}

// atFirst is what the decision itself has charged: nothing where it was exceeded,
// but for shadows, each of which stands for itself.
func (d *decision) atFirst() *taken {
	t := &taken{units: make([]int64, len(d.verdicts)), receipts: make([]int64, len(d.verdicts)), left: slices.Clone(d.verdicts)}
	for i := range d.verdicts {
		if v := &d.verdicts[i]; v.Allowed && !d.exceeded() {
			t.units[i], t.receipts[i] = d.quotas[i].Cost, v.Receipt
		}
	}
	return t
}

// countAfter runs the handlers, and gives back what the request has taken unless
// it is to count. It recovers from no panic: whoever does must see all of it.
func (d *decision) countAfter(c *gin.Context, counts func(*gin.Context) bool) {
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
		if err := d.refund(c); err != nil {
			_ = c.Error(err) // it returns what it was given
		}
	}()
	c.Next()
	panicking = false
}
