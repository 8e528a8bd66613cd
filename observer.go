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

// Observer receives every decision, for example to count, log or display it. It is set
// with RATELIMITER_OBSERVER or AddObserver.
type Observer interface {
	// Observe is called once for each limit that a request meets, before the request
	// continues. It is called by many goroutines at once, and should return quickly,
	// because the request waits for it. A panic in Observe is recovered and counted in
	// Stats.
	//
	// Observe is not called if there is no decision: for a limit that is Unlimited for
	// the request, for a client that disconnects before the decision, after Close, and
	// for the corrections of SetCost, AddCost and WithCountIf.
	Observe(event Event)
}

// Event is the decision of one limit on one request.
type Event struct {
	// Info is the decision, as in FromContext. For a skipped request, only Name, Per,
	// Shadow and, if no function determines it, Limit are set. If a function returns the
	// list of limits, it is not called for a skipped request; Name is then "limits", and
	// Per is 0. Without a decision of the backend, Remaining and Reset are not set.
	Info

	// Route is the route of the request, such as "GET /users/:id", or "unmatched".
	// Clients cannot add values to it, so it is suitable as a metric label. It is empty
	// for RateLimiter.Take.
	Route string

	// Outcome is the result of the limit.
	Outcome Outcome

	// Cost is the number of units that the request costs. They are charged if no limit
	// rejects the request.
	Cost int64

	// Fallback reports that this process decided in its own memory, because the backend
	// failed.
	Fallback bool

	// BackendLatency is how long the backend took to answer: one call for all limits of a
	// RateLimit, or several if the request waited. It is 0 if the backend was not called.
	BackendLatency time.Duration

	// QueueTime is how long the request waited for its turn (see WithWait), without
	// BackendLatency. It is the same for all limits of a RateLimit.
	QueueTime time.Duration

	// LimitIndex is the position of the limit in its RateLimit, from 0. To count each
	// call once, add up BackendLatency and QueueTime only if LimitIndex is 0.
	LimitIndex int

	// Err is why there is no decision, if Outcome is BackendError. If Fallback is true,
	// it is the last failure of the backend, which may have occurred on another request.
	// It wraps backends.ErrBreakerOpen if the backend was not called.
	Err error
}

// Outcome is the result of a limit on a request.
type Outcome uint8

const (
	// Allowed means that the limit was not exceeded. Another limit may have rejected the
	// request.
	Allowed Outcome = iota
	// Rejected means that the limit rejected the request.
	Rejected
	// Shadowed means that the limit was exceeded but does not reject, because of
	// WithShadow, WithObserveOnly or WithOverLimit(nil).
	Shadowed
	// Skipped means that the limit was not checked because of WithSkip.
	Skipped
	// BackendError means that the backend failed and RATELIMITER_ON_ERROR is "allow" or
	// "deny". With "fallback", the outcome is the decision of this process, and
	// Event.Fallback is true.
	BackendError
	// Banned means that the client is banned from the limit; see WithBan and
	// RateLimiter.Ban.
	Banned
	outcomes
)

var outcomeNames = [outcomes]string{"allowed", "rejected", "shadowed", "skipped", "backend_error", "banned"}

// String returns the outcome as a metric label: "allowed", "rejected", "shadowed",
// "skipped", "backend_error" or "banned".
func (o Outcome) String() string {
	if o < outcomes {
		return outcomeNames[o]
	}
	return fmt.Sprintf("Outcome(%d)", uint8(o))
}

// AddObserver adds an observer to those of RATELIMITER_OBSERVER until remove is called.
// It may be called before InitApp and while requests are being served. A nil observer is
// ignored.
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
			read.Reject(fmt.Errorf("%s contains a nil %T; create it first, or remove it", name, observer))
		}
	}
	return list
}

// observers are the observers of a RateLimiter. The zero value has none.
type observers struct {
	// list is copy-on-write; nil if there are no observers.
	list       atomic.Pointer[[]*observed]
	mu         sync.Mutex // serialises writers
	configured []*observed
	panics     atomic.Uint64
}

// observed wraps an observer, because the same observer may be added more than once.
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

// replaceConfigured replaces the observers of the previous configuration.
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

// change removes and adds observers. The caller holds the lock.
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

// watch is the state before the call to the backend. It is zero without observers.
type watch struct {
	began     time.Time
	rejection error // why the breaker will not call the backend; nil if it will
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

// decided reports the decision of the backend.
func (o *observers) decided(q *request, w watch, waited time.Duration, now time.Time) {
	if w.began.IsZero() {
		return
	}
	e := Event{Route: q.routeName, BackendLatency: now.Sub(w.began) - waited, QueueTime: waited}
	d := q.details()
	for i := range d.verdicts {
		quota, v := &d.quotas[i], &d.verdicts[i]
		e.Info = d.limits[i].info(quota, v, q.at)
		e.Cost, e.Fallback, e.LimitIndex, e.Err = quota.Cost, v.Fallback, i, nil
		if v.Fallback && q.settings.breaker != nil {
			if e.Err = w.rejection; e.Err == nil {
				e.Err = q.settings.breaker.Health().Err
			}
		}
		switch {
		case d.limits[i].banned && !q.neverReject:
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

// failed reports that the backend failed.
func (o *observers) failed(ctx context.Context, q *request, w watch, waited time.Duration, err error) {
	if w.began.IsZero() || ctx.Err() != nil || q.settings.closed.Load() {
		return
	}
	e := Event{Route: q.routeName, Outcome: BackendError, Err: err, BackendLatency: time.Since(w.began) - waited, QueueTime: waited}
	d := q.details()
	for i := range d.quotas {
		quota, a := &d.quotas[i], &d.limits[i]
		e.Info = Info{Name: a.name, Key: a.key, Scope: quota.Scope, Limit: quota.Limit, Per: a.period(), Shadow: quota.Shadow}
		e.Cost, e.LimitIndex = quota.Cost, i
		o.notify(e)
	}
}

// skipped reports a request that WithSkip lets through.
func (o *observers) skipped(q *request) {
	if !o.any() {
		return
	}
	e := Event{Route: q.routeName, Outcome: Skipped}
	for i := range q.limits {
		l := &q.limits[i]
		if !l.isDynamic() && l.limit < 0 {
			continue // an Unlimited limit is never reported
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

// notifyOne calls an observer and recovers a panic, which must not affect the request.
func (o *observers) notifyOne(observer Observer, e Event) {
	defer func() {
		if recover() != nil {
			o.panics.Add(1)
		}
	}()
	observer.Observe(e)
}
