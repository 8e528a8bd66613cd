package ratelimiter

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/internal/options"
)

// Observer is told of every decision, as to count, log or draw them. It is set
// with RATELIMITER_OBSERVER or AddObserver.
type Observer interface {
	// Observe is called once for each limit that a request meets, before the
	// request goes on, and by many goroutines at once. It should return at once:
	// the request waits for it. What it panics with is thrown away, and counted in
	// Stats.
	//
	// It is not told where there is no decision: of limits that are Unlimited for a
	// request, of clients that left before it, after Close, and of what SetCost and
	// WithCountIf correct afterwards.
	Observe(event Event)
}

// Event is what has come of one limit on one request.
type Event struct {
	// Info is the decision, as a handler reads it. Of a request that was skipped
	// only Name, Per and Shadow are set, and Limit where no function says it. A list
	// that a function would have returned has the name "limits" and no Per. Of
	// one that the backend could not decide, there is no Remaining and no Reset.
	Info

	// Route is the route of the application, as "GET /users/:id", or "unmatched".
	// There are only so many, whatever clients ask for. It is empty for
	// RateLimiter.Take, which no request has asked for.
	Route string

	Outcome Outcome

	// Cost is how many units the request asks. They are charged if no limit on
	// the request rejects it.
	Cost int64

	// Fallback tells that this process has decided by itself, because the backend
	// has failed.
	Fallback bool

	// BackendLatency is how long the backend took to answer: one call for all limits
	// of a RateLimit, or several if the request had to wait. It is 0 where the
	// backend was not called.
	BackendLatency time.Duration

	// QueueTime is how long the request waited for its turn (see WithWait), without
	// BackendLatency. It is the same for all limits of a RateLimit.
	QueueTime time.Duration

	// LimitIndex is the position of the limit in its RateLimit, from 0. Add up
	// BackendLatency and QueueTime where it is 0, so that each call counts once.
	LimitIndex int

	// Err is why there is no decision, with the outcome BackendError. With Fallback
	// it is the last failure of the backend, which may be that of another request.
	// It wraps backends.ErrBreakerOpen where the backend was not asked.
	Err error
}

// Outcome is what has come of a limit.
type Outcome uint8

const (
	// Allowed says that the limit had room. Another limit may have rejected the request.
	Allowed Outcome = iota
	// Rejected says that the limit has rejected the request.
	Rejected
	// Shadowed says that the limit was exceeded and rejects nobody: it is a
	// shadow, or has WithOverLimit(nil).
	Shadowed
	// Skipped says that the limit was not asked, because WithSkip said so.
	Skipped
	// BackendError says that the backend did not decide, and RATELIMITER_ON_ERROR
	// did. Where it is "fallback", Event.Fallback tells instead, and the outcome
	// is that of the memory.
	BackendError
	// Banned says that the client is banned from the limit, whatever is left of it;
	// see WithBan and RateLimiter.Ban.
	Banned
	outcomes
)

var outcomeNames = [outcomes]string{"allowed", "rejected", "shadowed", "skipped", "backend_error", "banned"}

// String is the outcome as a label of metrics has it: "allowed", "rejected",
// "shadowed", "skipped", "backend_error" or "banned".
func (o Outcome) String() string {
	if o < outcomes {
		return outcomeNames[o]
	}
	return fmt.Sprintf("Outcome(%d)", uint8(o))
}

// AddObserver lets an observer be told of every decision from now on, beside those
// of RATELIMITER_OBSERVER, until remove is called. It may be called before InitApp
// and while requests are being served. A nil observer is told nothing.
func (r *RateLimiter) AddObserver(observer Observer) (remove func()) {
	if isNil(observer) {
		return func() {}
	}
	return r.observers.add(observer)
}

func isNil(observer Observer) bool {
	v := reflect.ValueOf(observer)
	return !v.IsValid() || (v.Kind() == reflect.Pointer || v.Kind() == reflect.Func) && v.IsNil()
}

func readObservers(read *options.Reader) (list []Observer) {
	const name, want = ConfigObserver, "a ratelimiter.Observer or a []ratelimiter.Observer"
	value, given := read.Value(name)
	if !given {
		return nil
	}
	switch value := value.(type) {
	case Observer:
		list = []Observer{value}
	case []Observer:
		list = append(list, value...)
	default:
		read.Fault(name, value, want)
		return nil
	}
	for _, observer := range list {
		if isNil(observer) {
			read.Reject(fmt.Errorf("%s holds a nil %T; make it first, or leave it out", name, observer))
		}
	}
	return list
}

// observers are those of a rate limiter. The zero value has none.
type observers struct {
	// list is replaced, never changed; nil while there are none.
	list       atomic.Pointer[[]*observed]
	mu         sync.Mutex // held while it is replaced
	configured []*observed
	panics     atomic.Uint64
}

// observed is an observer, which may have been added more than once.
type observed struct{ Observer }

func (o *observers) any() bool { return o.list.Load() != nil }

func (o *observers) add(list ...Observer) (remove func()) {
	added := make([]*observed, len(list))
	for i, observer := range list {
		added[i] = &observed{observer}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.change(nil, added)
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.change(added, nil)
	}
}

// replaceConfigured puts the observers of a configuration in the place of those of the
// one before.
func (o *observers) replaceConfigured(list []Observer) {
	now := make([]*observed, len(list))
	for i, observer := range list {
		now[i] = &observed{observer}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.change(o.configured, now)
	o.configured = now
}

// change is called with the lock held.
func (o *observers) change(removed, added []*observed) {
	var list []*observed
	if now := o.list.Load(); now != nil {
		list = slices.Clone(*now)
	}
	list = slices.DeleteFunc(list, func(one *observed) bool { return slices.Contains(removed, one) })
	if list = append(list, added...); len(list) == 0 {
		o.list.Store(nil)
		return
	}
	o.list.Store(&list)
}

func (o *observers) count() int {
	if list := o.list.Load(); list != nil {
		return len(*list)
	}
	return 0
}

// watch is what has to be known before the backend is asked. It is zero if nobody
// observes.
type watch struct {
	began     time.Time
	rejection error // why the breaker will not ask the backend
}

func (o *observers) begin(s *settings) (w watch) {
	if !o.any() {
		return w
	}
	if s.breaker != nil {
		w.rejection = s.breaker.Ready()
	}
	w.began = time.Now()
	return w
}

// decided reports an answer of the backend.
func (o *observers) decided(q *request, w watch, waited time.Duration, now time.Time) {
	if w.began.IsZero() {
		return
	}
	e := Event{Route: q.shown, BackendLatency: now.Sub(w.began) - waited, QueueTime: waited}
	d := q.details()
	for i := range d.verdicts {
		quota, v := &d.quotas[i], &d.verdicts[i]
		e.Info = d.asked[i].info(quota, v, q.at)
		e.Cost, e.Fallback, e.LimitIndex, e.Err = quota.Cost, v.Fallback, i, nil
		if v.Fallback && q.settings.breaker != nil {
			if e.Err = w.rejection; e.Err == nil {
				e.Err = q.settings.breaker.Health().Err
			}
		}
		switch {
		case d.asked[i].banned && !q.neverReject:
			e.Outcome = Banned
		case v.Allowed:
			e.Outcome = Allowed
		case quota.Shadow || q.neverReject:
			e.Outcome = Shadowed
		default:
			e.Outcome = Rejected
		}
		o.notify(e)
	}
}

// failed reports that the backend gave no answer.
func (o *observers) failed(ctx context.Context, q *request, w watch, waited time.Duration, err error) {
	if w.began.IsZero() || ctx.Err() != nil || q.settings.closed.Load() {
		return
	}
	e := Event{Route: q.shown, Outcome: BackendError, Err: err, BackendLatency: time.Since(w.began) - waited, QueueTime: waited}
	d := q.details()
	for i := range d.quotas {
		quota, a := &d.quotas[i], &d.asked[i]
		e.Info = Info{Name: a.name, Key: a.key, Scope: quota.Scope, Limit: quota.Limit, Per: a.period(), Shadow: quota.Shadow}
		e.Cost, e.LimitIndex = quota.Cost, i
		o.notify(e)
	}
}

// skipped reports a request that WithSkip has let through.
func (o *observers) skipped(q *request) {
	if !o.any() {
		return
	}
	e := Event{Route: q.shown, Outcome: Skipped}
	for i := range q.limits {
		l := &q.limits[i]
		if !l.varies() && l.limit < 0 {
			continue // Unlimited: there would have been no decision either
		}
		e.Info = Info{Name: l.name, Limit: l.limit, Per: l.period(), Shadow: l.shadow}
		o.notify(e)
		e.LimitIndex++
	}
}

func (o *observers) notify(e Event) {
	list := o.list.Load()
	if list == nil {
		return
	}
	for _, one := range *list {
		o.notifyOne(one, e)
	}
}

// notifyOne lets no panic of an observer harm the request.
func (o *observers) notifyOne(observer Observer, e Event) {
	defer func() {
		if recover() != nil {
			o.panics.Add(1)
		}
	}()
	observer.Observe(e)
}
