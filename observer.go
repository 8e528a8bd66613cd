package ratelimiter

import (
	"fmt"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
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
	// request, of clients that left before it, after Close, and of what Charge and
	// WithCountIf correct afterwards.
	Observe(event Event)
}

// Event is what has come of one limit on one request.
type Event struct {
	// Info is the decision, as a handler reads it. Of a request that was skipped
	// only Name, Per and Shadow are set, and Limit where no function says it; of
	// one that the backend could not decide, there is no Remaining and no Reset.
	Info

	// Route is the route of the application, as "GET /users/:id", or "unmatched".
	// There are only so many, whatever clients ask for.
	Route string

	Outcome Outcome

	// Cost is how many units the request asks. They are charged if no limit on
	// the request refuses it.
	Cost int64

	// Fallback tells that this process has decided by itself, because the backend
	// has failed.
	Fallback bool

	// Took is how long the question to the backend took, which is one for all
	// limits of a RateLimit, or several if the request had to wait. 0 where there
	// was none.
	Took time.Duration

	// Waited is how long the request has waited for its turn, see WithWait, without
	// what it Took to ask. It is for all limits of a RateLimit as well.
	Waited time.Duration

	// Place tells the limits of a RateLimit apart: 0 for the first, so that who
	// adds up Took counts each question once.
	Place int

	// Err is why there is no decision, with the outcome BackendError. With Fallback
	// it is the last failure of the backend, which may be that of another request.
	// It wraps backends.ErrNotAsked where the backend was not asked.
	Err error
}

// Outcome is what has come of a limit.
type Outcome uint8

const (
	// Allowed says that the limit had room. Another limit may have refused the request.
	Allowed Outcome = iota
	// Refused says that the limit has refused the request.
	Refused
	// Shadowed says that the limit was exceeded and refuses nobody: it is a
	// shadow, or has WithOverLimit(nil).
	Shadowed
	// Skipped says that the limit was not asked, because WithSkip said so.
	Skipped
	// BackendError says that the backend did not decide, and RATELIMITER_ON_ERROR
	// did. Where it is "fallback", Event.Fallback tells instead, and the outcome
	// is that of the memory.
	BackendError
	// Banned says that the client is banned from the limit, whatever is left of it;
	// see WithBan.
	Banned
	outcomes
)

var outcomeNames = [outcomes]string{"allowed", "refused", "shadowed", "skipped", "backend_error", "banned"}

// String is the outcome as a label of metrics has it: "allowed", "refused",
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
	return r.observing.add(observer)
}

func isNil(observer Observer) bool {
	v := reflect.ValueOf(observer)
	return !v.IsValid() || (v.Kind() == reflect.Pointer || v.Kind() == reflect.Func) && v.IsNil()
}

const observerKey = "RATELIMITER_OBSERVER"

func readObservers(read *options.Reader) (list []Observer) {
	const name, want = observerKey, "a ratelimiter.Observer or a []ratelimiter.Observer"
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

// observing are the observers of a rate limiter.
type observing struct {
	// observers is replaced, never changed; nil while there are none.
	observers atomic.Pointer[[]*observed]
	mu        sync.Mutex // held while it is replaced
	routes    routeCache
	panics    atomic.Uint64
}

// observed is an observer, which may have been added more than once.
type observed struct{ Observer }

func (o *observing) add(observers ...Observer) (remove func()) {
	added := make([]*observed, len(observers))
	for i, observer := range observers {
		added[i] = &observed{observer}
	}
	o.change(func(list []*observed) []*observed { return append(list, added...) })
	return func() {
		o.change(func(list []*observed) []*observed {
			return slices.DeleteFunc(list, func(one *observed) bool { return slices.Contains(added, one) })
		})
	}
}

func (o *observing) change(how func(list []*observed) []*observed) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var list []*observed
	if now := o.observers.Load(); now != nil {
		list = slices.Clone(*now)
	}
	if list = how(list); len(list) == 0 {
		o.observers.Store(nil)
		return
	}
	o.observers.Store(&list)
}

func (o *observing) count() int {
	if list := o.observers.Load(); list != nil {
		return len(*list)
	}
	return 0
}

// question is what has to be known before a question is asked. It is zero if nobody
// wants to know.
type question struct {
	began    time.Time
	notAsked error // why the backend will not be
}

func (o *observing) question(s *settings) (q question) {
	if o.observers.Load() == nil {
		return q
	}
	if s.breaker != nil {
		q.notAsked = s.breaker.NotAsked()
	}
	q.began = time.Now()
	return q
}

// decided tells of an answer of the backend.
func (o *observing) decided(c *gin.Context, d *decision, rule *rule, asked question, waited time.Duration, now time.Time) {
	if asked.began.IsZero() {
		return
	}
	e := Event{Route: o.route(c, d.settings, rule), Took: now.Sub(asked.began) - waited, Waited: waited}
	for i := range d.verdicts {
		q, v := &d.quotas[i], &d.verdicts[i]
		e.Info = d.about[i].info(q, v, d.at)
		e.Cost, e.Fallback, e.Place, e.Err = q.Cost, v.Fallback, i, nil
		if v.Fallback && d.settings.breaker != nil {
			if e.Err = asked.notAsked; e.Err == nil {
				e.Err = d.settings.breaker.Health().Err
			}
		}
		switch {
		case d.about[i].banned:
			e.Outcome = Banned
		case v.Allowed:
			e.Outcome = Allowed
		case q.Shadow || rule.never:
			e.Outcome = Shadowed
		default:
			e.Outcome = Refused
		}
		o.tell(e)
	}
}

// failed tells that the backend gave no answer.
func (o *observing) failed(c *gin.Context, d *decision, rule *rule, asked question, waited time.Duration, err error) {
	if asked.began.IsZero() || c.Request.Context().Err() != nil || d.settings.closed.Load() {
		return
	}
	e := Event{Route: o.route(c, d.settings, rule), Outcome: BackendError, Err: err, Took: time.Since(asked.began) - waited, Waited: waited}
	for i := range d.verdicts {
		q, a := &d.quotas[i], &d.about[i]
		e.Info = Info{Name: a.name(), Key: a.key, Scope: q.Scope, Limit: q.Limit, Per: q.Per, Shadow: q.Shadow}
		e.Cost, e.Place = q.Cost, i
		o.tell(e)
	}
}

// skipped tells of a request that WithSkip has let through.
func (o *observing) skipped(c *gin.Context, s *settings, rule *rule) {
	if o.observers.Load() == nil {
		return
	}
	e := Event{Route: o.route(c, s, rule), Outcome: Skipped}
	for i := range rule.limits {
		l := &rule.limits[i]
		if l.ask == nil && l.limit < 0 {
			continue // Unlimited: there would have been no decision either
		}
		e.Info = Info{Name: l.name, Limit: l.limit, Per: l.per, Shadow: l.shadow}
		o.tell(e)
		e.Place++
	}
}

// route is the route of a request, which the rule may have from the last one.
func (o *observing) route(c *gin.Context, s *settings, rule *rule) string {
	if last := rule.route.Load(); last != nil && last.is(c) {
		return last.key.shown
	}
	return o.routes.of(c, s).key.shown
}

func (o *observing) tell(e Event) {
	list := o.observers.Load()
	if list == nil {
		return
	}
	for _, one := range *list {
		o.tellOne(one, e)
	}
}

// tellOne lets no panic of an observer harm the request.
func (o *observing) tellOne(observer Observer, e Event) {
	defer func() {
		if recover() != nil {
			o.panics.Add(1)
		}
	}()
	observer.Observe(e)
}
