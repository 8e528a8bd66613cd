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

// Unlimited is a limit that does not limit. Any negative number says the same.
const Unlimited = -1

// Info is what a handler can read about the decision on its request: of all
// limits on the route, the one that is closest to rejecting, or has rejected. It can be
// written as JSON and read back; see MarshalJSON.
type Info struct {
	// Name is the limit's name in the RateLimit headers, such as "per-minute". A
	// second limit of that name on the route has a number: "per-minute-2".
	// Key is what is limited, Scope who.
	Name, Key, Scope string

	// Limit is how many units there are in Per, Remaining how many can be taken now.
	Limit, Remaining int64

	// Burst is the most that can be taken at once, where WithBurst says so; 0 means Limit.
	Burst int64

	// Per is the period, 0 for requests in progress. RetryAfter is how long to wait until a request like
	// this is allowed: 0 when it was, negative when waiting does not help
	// because it asks for more than the limit.
	Per, RetryAfter time.Duration

	// Reset is when the full limit is available again; the zero time for requests in
	// progress, as nobody knows when they end.
	Reset time.Time

	// Exceeded reports that the request was over the limit, rejected or not.
	Exceeded bool

	// Banned reports that the client is banned (see WithBan and RateLimiter.Ban): nothing remains, and
	// RetryAfter and Reset are no earlier than the end of the ban.
	Banned bool

	// Shadow reports that the limit is only being tried and rejects nobody.
	Shadow bool
}

// FromContext returns the decision on a request. It is false when no limit was
// asked: the route has none, or it is unlimited for this request, or limiting
// is switched off, or the backend failed and the request was let through.
func FromContext(c *gin.Context) (Info, bool) {
	q := lastRequest(c).strictest()
	if q == nil {
		return Info{}, false
	}
	d := q.details()
	return d.asked[q.closest].info(&d.quotas[q.closest], &q.verdict, q.at), true
}

// strictest is the request that is closest to rejecting, of this one and those
// before: nil if no limit was asked.
func (q *request) strictest() (strictest *request) {
	for ; q != nil; q = q.earlier {
		if q.at != 0 && (strictest == nil || !strictest.standing(strictest.closest).stricter(q.standing(q.closest))) {
			strictest = q
		}
	}
	return strictest
}

// info is what people read about a limit, decided at a time in Unix microseconds.
func (a *asked) info(quota *backends.Quota, v *backends.Verdict, at int64) Info {
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

// Peek tells what is left now of every limit of this RateLimiter that was asked for
// the request, shadows too, in the order of the middlewares. It takes nothing. In its
// Infos Exceeded says that nothing is left, and RetryAfter is 0, or how long a ban lasts.
//
// It is empty where no limit was asked, as FromContext is false then, and fails
// with the error of the backend.
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
		infos, err := s.peek(c.Request.Context(), d.quotas, d.asked)
		if err != nil {
			return nil, err
		}
		list = append(infos, list...)
	}
	return list, nil
}

// ErrUnknownKey is wrapped by the error of Status for a key that no limit is known on.
var ErrUnknownKey = errors.New("unknown key")

// Status tells what a scope has left of every limit on a key, as for a page that
// shows it to users, the shortest period first. Key and scope are as for Reset; the
// Infos are as those of Peek. It takes nothing.
//
// Limits on a key of Shared and application limits are known from the start. Limits on
// a route are known once a request of the route has met them in this process, those on
// keys of functions once a request has had that key. It fails with ErrUnknownKey before.
// Limits that a function decides request by request are left out; Peek has them. Of each
// limit a thousand keys of functions are known.
func (r *RateLimiter) Status(ctx context.Context, key, scope string) ([]Info, error) {
	s := r.settings.Load()
	if s == nil {
		return nil, ErrNotInitialised
	}
	limits := r.known.of(key)
	if limits == nil {
		limits = r.known.of(printable(key))
	}
	if len(limits) == 0 {
		return nil, fmt.Errorf("%w %q: no limit on it is known in this process, or a function decides it", ErrUnknownKey, key)
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	quotas, about := make([]backends.Quota, len(limits)), make([]asked, len(limits))
	for i, known := range limits {
		quotas[i], about[i] = known.quota, known.asked
		quotas[i].Scope = printable(scope)
	}
	return s.peek(ctx, quotas, about)
}

// peek asks about quotas again, without charging them. Tentative, the question is not
// answered from what this process remembers.
func (s *settings) peek(ctx context.Context, quotas []backends.Quota, about []asked) ([]Info, error) {
	quotas, about = slices.Clone(quotas), slices.Clone(about)
	for i := range quotas {
		quotas[i].Cost, quotas[i].Tentative = 0, true
	}
	verdicts := make([]backends.Verdict, len(quotas))
	if err := s.takeWithBans(ctx, quotas, about, verdicts, 0); err != nil {
		return nil, fmt.Errorf("the rate limiter could not tell what is left of %s: %w", about[0].key, err)
	}
	now := time.Now().UnixMicro()
	list := make([]Info, len(quotas))
	for i := range list {
		if about[i].concurrent {
			left := quotas[i].Limit - s.places.Taken(&quotas[i])
			verdicts[i].Remaining = max(0, min(left, verdicts[i].Remaining))
		}
		list[i] = about[i].info(&quotas[i], &verdicts[i], now)
		if !list[i].Banned {
			list[i].RetryAfter = 0
		}
		list[i].Exceeded = verdicts[i].Remaining == 0
	}
	return list, nil
}
