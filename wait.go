package ratelimiter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter/backends"
)

// longestWait is the most that WithWait takes. Nothing between a client and a
// handler keeps a request open for longer.
const longestWait = time.Hour

// WithWait holds a request that is over the limit until its turn, if that is no
// further away than longest, and refuses it at once if it is, or if the context of
// the request ends before. The longest wait is a millisecond to an hour, and counts
// from the arrival of the request. So RateLimit(1, time.Second,
// WithAlgorithm(TokenBucket), WithWait(10*time.Second)) lets one request through
// each second, ten may wait, and the next is refused. The token bucket keeps such a
// pace best: a window lets many pass at once.
//
// Requests on the same limits, keys and scopes wait in one line, and pass in the
// order in which they came. Nobody overtakes, also who costs less than the first:
// what costs much would never have its turn. A request is charged when it passes,
// not before. Each process has lines of its own, which share the limit and are in no
// order among each other. Nor are requests that have only some limits in common, as
// where each customer has one and all of them together another.
//
// The backend tells when the turn of the first is, and that of the others is reckoned
// from it. What other processes take can make a request wait in vain, but not for
// longer than that and, while others are being let through, one RATELIMITER_TIMEOUT.
// Retry-After of a refusal is when those who wait will have passed too, or later. A
// request that asks for more than the limit is refused at once, and so is whoever is
// banned (see WithBan).
//
// A client that leaves gives its place back, and is charged nothing by the limits
// before either. The server notices at once; where a request has a body, only when
// that has been read. Close answers all who wait 503. http.Server.Shutdown waits for
// them, so hand Close to http.Server.RegisterOnShutdown.
//
// A request that waits holds its goroutine and its connection. So at most a thousand
// wait in a line, and ten thousand in a RateLimiter, so that one client cannot take
// all places; more are refused at once. The WriteTimeout of the server and the
// time-outs of proxies and clients must be longer than the longest wait, or they end the request
// before its turn.
//
// Limits that refuse nobody make nobody wait: WithShadow for all limits and
// WithOverLimit(nil) panic together with WithWait.
func WithWait(longest time.Duration) Option {
	call := fmt.Sprintf("ratelimiter: WithWait(%v)", longest)
	mustPeriod(call, "wait", longest)
	if longest > longestWait {
		panic(fmt.Sprintf("%s: the wait is longer than %v, which no client waits", call, longestWait))
	}
	return whole("WithWait", func(r *rule) { r.wait = longest })
}

// checkWait is for when all options are known.
func (r *rule) checkWait() {
	refuses := func(l ruleLimit) bool { return !l.shadow }
	if r.wait > 0 && (r.never || !slices.ContainsFunc(r.limits, refuses)) {
		panic("ratelimiter: WithWait holds requests in place of refusing them, and WithOverLimit(nil) and WithShadow refuse nobody; leave one of them out")
	}
}

// inTurn asks the backend when it is the request's turn, and again until it is
// allowed or its turn is too far away. It tells how long the request has waited.
func (d *decision) inTurn(c *gin.Context, longest time.Duration) (waited time.Duration, err error) {
	lines := &d.settings.lines
	w := waiter{asked: d.asked(), arrived: time.Now()}
	w.deadline = w.arrived.Add(longest)
	if ends, ok := c.Request.Context().Deadline(); ok && ends.Before(w.deadline) {
		w.deadline = ends
	}
	var told turn
	if lines.none(w.asked) {
		if err := d.take(c.Request.Context(), d.asked(), d.verdicts, 0); err != nil {
			return 0, err
		}
		d.findClosest()
		if told = d.turn(); !d.exceeded() || told.after(w.deadline) {
			return 0, nil
		}
	}
	return d.wait(c, w, told)
}

// wait stands in line.
func (d *decision) wait(c *gin.Context, place waiter, told turn) (waited time.Duration, err error) {
	lines, w := &d.settings.lines, &place
	w.wake = make(chan struct{}, 1)
	lines.join(w, told)
	var room []backends.Verdict // what is left, when it has passed
	defer func() { lines.leave(w, room) }()
	left := c.Request.Context().Done()
	timer := time.NewTimer(longestWait)
	defer timer.Stop()
	for {
		pause, err := lines.next(w, d.settings.timeout)
		switch {
		case errors.Is(err, errTurnedAway):
			return waited, d.foresee(c, w.ahead)
		case err != nil:
			return waited, err
		case pause > 0:
			began := time.Now()
			timer.Reset(pause)
			select {
			case <-timer.C:
			case <-w.wake:
			case <-left:
			}
			waited += time.Since(began)
		default:
			if again, err := d.askAgain(c, w); !again {
				if err == nil && !d.exceeded() {
					room = d.verdicts
				}
				return waited, err
			}
		}
		if err := c.Request.Context().Err(); err != nil {
			d.earlier.giveBack(c)
			return waited, err
		}
	}
}

// askAgain asks the backend, and tells whether the request is to go on waiting. The
// question does not end with the request, so that what it has charged is known and
// can be given back.
func (d *decision) askAgain(c *gin.Context, w *waiter) (again bool, err error) {
	err = d.take(context.WithoutCancel(c.Request.Context()), d.asked(), d.verdicts, 0)
	left := c.Request.Context().Err()
	switch {
	case err != nil && left == nil:
		return false, err
	case err != nil:
		d.earlier.giveBack(c)
		return false, left
	}
	d.findClosest()
	if left != nil {
		d.giveBack(c)
		return false, left
	}
	told := d.turn()
	if !d.exceeded() || told.after(w.deadline) {
		return false, nil
	}
	d.settings.lines.denied(w, told)
	return true, nil
}

// turn is when the backend says that a request would be allowed.
func (d *decision) turn() turn {
	v := &d.verdicts[d.closest]
	banned := slices.ContainsFunc(d.about[:len(d.verdicts)], func(a about) bool { return a.banned })
	if v.RetryAfter < 0 || banned {
		return turn{limit: d.closest, never: true}
	}
	// A backend that does not know when is not asked without a break.
	wait := v.RetryAfter
	if wait == 0 {
		wait = time.Millisecond
	}
	return turn{limit: d.closest, at: time.Now().Add(wait)}
}

// foresee finds out what is left, and when the turn of a request would be behind
// those ahead of it. It asks for what all of them cost, together with a limit that
// denies everything, so that nothing is charged whatever the answer is. That is on
// the key which is asked first where keys are on several nodes, one with a ban, so that
// no other node charges what has to be given back.
func (d *decision) foresee(c *gin.Context, ahead []load) error {
	asked := d.asked()
	quotas := make([]backends.Quota, len(asked), len(asked)+1)
	later := make([]time.Duration, len(asked))
	for i, q := range asked {
		if q.Tentative = true; !q.Shadow {
			q.Cost, later[i] = ahead[i].before(&q)
		}
		quotas[i] = q
	}
	guarded := func(a about) bool { return a.limit.ban != nil }
	nothing := quotas[max(0, slices.IndexFunc(d.about[:len(asked)], guarded))]
	nothing.Limit, nothing.Burst, nothing.Cost, nothing.Shadow = 0, 0, 1, false
	verdicts := make([]backends.Verdict, len(asked)+1)
	if err := d.take(c.Request.Context(), append(quotas, nothing), verdicts, 0); err != nil {
		return err
	}
	copy(d.verdicts, verdicts)
	for i := range d.verdicts {
		if v := &d.verdicts[i]; !quotas[i].Shadow && v.RetryAfter >= 0 && !d.about[i].banned {
			v.RetryAfter += later[i]
			v.Allowed = v.RetryAfter == 0
		}
	}
	d.findClosest()
	if v := &d.verdicts[d.closest]; v.Allowed {
		// There is room for all, who are on their way: this one came too late for it.
		v.Allowed, v.RetryAfter = false, time.Millisecond
	}
	return nil
}
