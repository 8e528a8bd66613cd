package ratelimiter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter/backends"
)

// Peek tells what is left now of every limit of this RateLimiter that was asked for
// the request, shadows too, in the order of the middlewares. It takes nothing. In an Info of it
// Exceeded says that nothing is left, and RetryAfter is 0, or how long a ban lasts.
//
// It is empty where no limit was asked, as FromContext is false then, and fails
// with the error of the backend.
func (r *RateLimiter) Peek(c *gin.Context) ([]Info, error) {
	s := r.settings.Load()
	if s == nil {
		return nil, ErrNotInitialised
	}
	var list []Info
	for d := decided(c); d != nil; d = d.earlier {
		if d.settings != s || len(d.verdicts) == 0 {
			continue
		}
		infos, err := d.peek(c.Request.Context())
		if err != nil {
			return nil, err
		}
		list = append(infos, list...)
	}
	return list, nil
}

// ErrUnknownKey is wrapped by the error of Status for a key that no limit has been
// asked for yet.
var ErrUnknownKey = errors.New("unknown key")

// Status tells what a scope has left of every limit on a key, as for a page that
// shows it to users, the shortest period first. Key and scope are as for Reset; the
// Infos are as those of Peek. It takes nothing.
//
// It knows the limits on a key once a request in this process has been asked for
// them, by whomever, and fails with ErrUnknownKey before. Limits that a function
// decides request by request are left out; Peek has them. Of each limit a thousand
// keys are known.
func (r *RateLimiter) Status(ctx context.Context, key, scope string) ([]Info, error) {
	s := r.settings.Load()
	if s == nil {
		return nil, ErrNotInitialised
	}
	d := &decision{settings: s}
	limits := s.seen.of(key)
	if limits == nil {
		key = printable(key)
		limits = s.seen.of(key)
	}
	for _, found := range limits {
		q := found.quota
		q.Scope = printable(scope)
		d.quotas = append(d.quotas, q)
		d.verdicts = append(d.verdicts, backends.Verdict{})
		d.about = append(d.about, about{limit: found.limit, key: key, number: found.number})
	}
	if len(d.quotas) == 0 {
		return nil, fmt.Errorf("%w %q: no request in this process has been asked for a limit on it, or a function decides it", ErrUnknownKey, key)
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return d.peek(ctx)
}

// Keys lists the keys that a request in this process has been asked for a limit on,
// sorted: the routes, and what WithKey has made of requests. They are those of Status,
// and those whose limits functions decide, which it does not know but Reset does. It is
// empty before InitApp.
func (r *RateLimiter) Keys() []string {
	s := r.settings.Load()
	if s == nil {
		return nil
	}
	s.seen.mu.Lock()
	defer s.seen.mu.Unlock()
	return slices.Sorted(maps.Keys(s.seen.known))
}

// seen are the limits that requests have been asked for, by the key that people
// see. It is safe for use by many goroutines.
type seen struct {
	mu    sync.Mutex
	known map[string][]seenLimit
}

// seenLimit is a limit, and a quota of it that is anybody's.
type seenLimit struct {
	limit  *ruleLimit
	quota  backends.Quota
	number uint8 // of its name; see callApart
}

// noted are the keys that a limit was asked for on. They are looked at in every
// request, and so in a map that is replaced and never changed.
type noted struct {
	keys atomic.Pointer[map[string]bool] // as stored
	mu   sync.Mutex
	gone bool // holds no more, but a request may still be on its way; see seen
}

// maxNoted is how many keys of a limit are remembered. Routes are few; keys that
// functions make up may be without end.
const maxNoted = 1024

// isNew tells whether a limit has not been asked for on a key before, and
// remembers it.
func (n *noted) isNew(key string) bool {
	if known := n.keys.Load(); known != nil && ((*known)[key] || len(*known) >= maxNoted) {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	keys := map[string]bool{}
	if known := n.keys.Load(); known != nil {
		if (*known)[key] || len(*known) >= maxNoted {
			return false
		}
		keys = maps.Clone(*known)
	}
	keys[key] = true
	n.keys.Store(&keys)
	return true
}

// note remembers the limits of a decision.
func (s *seen) note(d *decision) {
	for i := range d.asked() {
		if l, q := d.about[i].limit, &d.quotas[i]; l.noted.isNew(q.Key) {
			s.add(d.about[i].key, seenLimit{l, *q, d.about[i].number})
		}
	}
}

func (s *seen) add(shown string, added seenLimit) {
	added.quota.Scope = ""
	s.mu.Lock()
	defer s.mu.Unlock()
	if added.limit.noted.gone {
		return
	}
	list := s.known[shown]
	at := slices.IndexFunc(list, func(old seenLimit) bool {
		return old.quota == added.quota || old.limit == added.limit && old.quota.Key == added.quota.Key
	})
	switch {
	case at >= 0:
		list[at] = added
		return
	case s.known == nil:
		s.known = map[string][]seenLimit{}
	}
	list = append(slices.Clone(list), added)
	slices.SortStableFunc(list, func(a, b seenLimit) int { return cmp.Compare(a.quota.Per, b.quota.Per) })
	s.known[shown] = list
}

// of lists the limits on a key that are the same for everybody.
func (s *seen) of(shown string) []seenLimit {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.known[shown]), func(one seenLimit) bool { return one.limit.ask != nil })
}

// forget drops limits that hold no more.
func (s *seen) forget(limits []ruleLimit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range limits {
		limits[i].noted.gone = true
	}
	for shown, list := range s.known {
		left := slices.DeleteFunc(slices.Clone(list), func(one seenLimit) bool {
			return slices.ContainsFunc(limits, func(l ruleLimit) bool { return l.noted == one.limit.noted })
		})
		s.known[shown] = left
		if len(left) == 0 {
			delete(s.known, shown)
		}
	}
}

// peek asks for the limits of a decision again, without charging them. Tentative, the
// question is not answered from what this process remembers.
func (d *decision) peek(ctx context.Context) ([]Info, error) {
	quotas := slices.Clone(d.asked())
	for i := range quotas {
		quotas[i].Cost, quotas[i].Tentative = 0, true
	}
	verdicts := make([]backends.Verdict, len(quotas))
	now := &decision{settings: d.settings, verdicts: verdicts, about: slices.Clone(d.about)}
	if err := now.take(ctx, quotas, verdicts, 0); err != nil {
		return nil, fmt.Errorf("the rate limiter could not tell what is left of %s: %w", d.about[0].key, err)
	}
	at := time.Duration(time.Now().UnixNano())
	list := make([]Info, len(quotas))
	for i := range quotas {
		list[i] = now.about[i].info(&quotas[i], &verdicts[i], at)
		if !list[i].Banned {
			list[i].RetryAfter = 0
		}
		list[i].Exceeded = verdicts[i].Remaining == 0
	}
	return list, nil
}

// info is what people read about a limit.
func (a *about) info(q *backends.Quota, v *backends.Verdict, at time.Duration) Info {
	return Info{
		Name: a.name(), Key: a.key, Scope: q.Scope,
		Limit: q.Limit, Remaining: v.Remaining, Burst: q.Burst,
		Per: q.Per, RetryAfter: v.RetryAfter,
		Reset:    time.Unix(0, int64(at+v.ResetAfter)),
		Exceeded: !v.Allowed,
		Banned:   a.banned,
		Shadow:   q.Shadow,
	}
}
