package ratelimiter

import (
	"time"

	"github.com/gin-gonic/gin"
)

// Unlimited is a limit that does not limit. Any negative number says the same.
const Unlimited = -1

// Info is what a handler can read about the decision on its request: of all
// limits on the route, the one that is closest to refusing, or has refused.
type Info struct {
	// Name is the limit's name in the RateLimit headers, such as "per-minute".
	// Key is what is limited, Scope who.
	Name, Key, Scope string

	// Limit is how many units there are in Per, Remaining how many of them can
	// be taken now.
	Limit, Remaining int64

	// Per is the period. RetryAfter is how long to wait until a request like
	// this is allowed: 0 when it was, negative when waiting does not help
	// because it asks for more than the limit.
	Per, RetryAfter time.Duration

	// Reset is when the full limit is available again.
	Reset time.Time

	// Exceeded tells that the request was over the limit, refused or not.
	Exceeded bool

	// Shadow tells that the limit is only being tried and refuses nobody.
	Shadow bool
}

// contextKey is where a gin.Context keeps what was decided.
type contextKey struct{}

// FromContext returns the decision on a request. It is false when no limit was
// asked: the route has none, or it is unlimited for this request, or limiting
// is switched off, or the backend failed and the request was let through.
func FromContext(c *gin.Context) (Info, bool) {
	if info := decided(c).closest(); info != nil {
		return *info, true
	}
	return Info{}, false
}

// decided is what the last middleware has decided on a request, if any.
func decided(c *gin.Context) *record {
	value, _ := c.Get(contextKey{})
	rec, _ := value.(*record)
	return rec
}

// closer tells whether a is closer to refusing than b, or has refused and b has
// not. Shadow limits, which refuse nobody, come last.
func (a *Info) closer(b *Info) bool {
	switch {
	case a.Shadow != b.Shadow:
		return b.Shadow
	case a.Exceeded != b.Exceeded:
		return a.Exceeded
	case a.Exceeded && (a.RetryAfter < 0) != (b.RetryAfter < 0):
		return a.RetryAfter < 0
	case a.Exceeded:
		return a.RetryAfter > b.RetryAfter
	case a.Remaining != b.Remaining:
		return a.Remaining < b.Remaining
	}
	return a.Reset.After(b.Reset)
}
