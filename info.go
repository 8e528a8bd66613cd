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

// Unlimited is a limit that allows every request. Every negative limit means the same.
const Unlimited = -1

// Info is the decision on a request. If a request met several limits, it describes the
// one that is closest to rejecting the request, or that has rejected it. Info can be
// encoded as JSON and decoded again; see MarshalJSON.
type Info struct {
	// Name is the name of the limit in the RateLimit headers, such as "per-minute". A
	// second limit with the same name gets a number: "per-minute-2". Key is what is
	// limited, and Scope is who is limited.
	Name, Key, Scope string

	// Limit is the number of units allowed in Per. Remaining is the number of units that
	// can be used now.
	Limit, Remaining int64

	// Burst is the most units that can be used at once; see WithBurst. 0 means Limit.
	Burst int64

	// Per is the period; 0 for Concurrent. RetryAfter is how long to wait until a request
	// of the same cost is allowed. It is 0 if the request was allowed, and negative if
	// waiting does not help, because the request costs more than the limit.
	Per, RetryAfter time.Duration

	// Reset is when the full limit is available again. It is the zero time for
	// Concurrent, because the end of a request is not known in advance.
	Reset time.Time

	// Exceeded reports whether the request was over the limit, even if it was not
	// rejected.
	Exceeded bool

	// Banned reports whether the client is banned (see WithBan and RateLimiter.Ban).
	// Remaining is 0 then, and RetryAfter and Reset are at least the end of the ban.
	Banned bool

	// Shadow reports whether the limit is a shadow limit, which never rejects (see
	// WithShadow).
	Shadow bool
}

// FromContext returns the decision on a request. ok is false if the request met no limit:
// the route has none, the request is skipped or unlimited, the limiter is not enabled, or
// the backend failed and the request was allowed.
func FromContext(c *gin.Context) (info Info, ok bool) {
	q := lastRequest(c).strictest()
	if q == nil {
		return Info{}, false
	}
	d := q.details()
	return d.limits[q.closest].info(&d.quotas[q.closest], &q.verdict, q.at), true
}

// strictest returns the request that is closest to rejecting, of this one and the earlier
// ones, or nil if none met a limit.
func (q *request) strictest() (strictest *request) {
	for ; q != nil; q = q.earlier {
		if q.at != 0 && (strictest == nil || !strictest.standing(strictest.closest).stricter(q.standing(q.closest))) {
			strictest = q
		}
	}
	return strictest
}

// info returns the public description of a decision. at is in Unix microseconds.
func (a *limitState) info(quota *backends.Quota, v *backends.Verdict, at int64) Info {
	info := Info{
		Name: a.name, Key: a.key, Scope: quota.Scope,
		Limit: quota.Limit, Remaining: v.Remaining, Burst: quota.Burst,
		Per: a.period(), RetryAfter: v.RetryAfter,
		Exceeded: !v.Allowed,
		Banned:   a.banned,
		Shadow:   quota.Shadow,
	}
	if !a.concurrent {
		info.Reset = time.UnixMicro(at).Add(v.ResetAfter)
	}
	return info
}

// Peek returns the current state of every limit of this RateLimiter that the request has
// met, including shadow limits, in the order of the middlewares. It charges nothing.
// Exceeded means that nothing remains, and RetryAfter is 0 or the rest of a ban.
//
// The result is empty if the request met no limit. Peek returns ErrNotInitialised before
// InitApp, and the error of the backend if the backend fails.
func (r *RateLimiter) Peek(c *gin.Context) ([]Info, error) {
	s := r.settings.Load()
	if s == nil {
		return nil, ErrNotInitialised
	}
	var list []Info
	for q := lastRequest(c); q != nil; q = q.earlier {
		if q.settings != s || q.at == 0 {
			continue
		}
		d := q.details()
		infos, err := s.peek(c.Request.Context(), d.quotas, d.limits)
		if err != nil {
			return nil, err
		}
		list = append(infos, list...)
	}
	return list, nil
}

// ErrUnknownKey is wrapped by the error of Status if no limit on the key is known.
var ErrUnknownKey = errors.New("unknown key")

// Status returns what a scope has left of every limit on a key, for example for a page
// that shows users their quota. The limits are sorted by period, the shortest first. Key
// and scope are as for Reset, and the Infos are as for Peek. It charges nothing.
//
// Limits on a key of Shared and application limits are known from the start. Limits on a
// route are known after its first request in this process, and limits on keys that
// functions return are known after the first request with that key, up to a thousand keys
// for each limit. Limits that a function determines for each request are left out; Peek
// returns them.
//
// Status returns an error that wraps ErrUnknownKey if no limit on the key is known,
// ErrNotInitialised before InitApp, and the error of the backend if the backend fails.
func (r *RateLimiter) Status(ctx context.Context, key, scope string) ([]Info, error) {
	s := r.settings.Load()
	if s == nil {
		return nil, ErrNotInitialised
	}
	limits := r.known.lookup(key)
	if limits == nil {
		limits = r.known.lookup(printable(key))
	}
	if len(limits) == 0 {
		return nil, fmt.Errorf("%w %q: this process knows no limit on it, or a function determines the limit", ErrUnknownKey, key)
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	quotas, states := make([]backends.Quota, len(limits)), make([]limitState, len(limits))
	for i, known := range limits {
		quotas[i], states[i] = known.quota, known.limitState
		quotas[i].Scope = printable(scope)
	}
	return s.peek(ctx, quotas, states)
}

// peek queries quotas without charging them. They are marked tentative, so that the
// answer comes from the backend and not from what this process remembers.
func (s *settings) peek(ctx context.Context, quotas []backends.Quota, states []limitState) ([]Info, error) {
	quotas, states = slices.Clone(quotas), slices.Clone(states)
	for i := range quotas {
		quotas[i].Cost, quotas[i].Tentative = 0, true
	}
	verdicts := make([]backends.Verdict, len(quotas))
	if err := s.takeWithBans(ctx, quotas, states, verdicts, 0); err != nil {
		return nil, fmt.Errorf("the rate limiter could not read what is left of %s: %w", states[0].key, err)
	}
	now := time.Now().UnixMicro()
	list := make([]Info, len(quotas))
	for i := range list {
		if states[i].concurrent {
			left := quotas[i].Limit - s.slots.Taken(&quotas[i])
			verdicts[i].Remaining = max(0, min(left, verdicts[i].Remaining))
		}
		list[i] = states[i].info(&quotas[i], &verdicts[i], now)
		if !list[i].Banned {
			list[i].RetryAfter = 0
		}
		list[i].Exceeded = verdicts[i].Remaining == 0
	}
	return list, nil
}
