package ratelimiter

import (
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter/backends"
)

// Unlimited is a limit that does not limit. Any negative number says the same.
const Unlimited = -1

// Info is what a handler can read about the decision on its request: of all
// limits on the route, the one that is closest to refusing, or has refused.
type Info struct {
	// Name is the limit's name in the RateLimit headers, such as "per-minute". Where
	// a limit of a middleware before is called so, it has a number: "per-minute-2".
	// Key is what is limited, Scope who.
	Name, Key, Scope string

	// Limit is how many units there are in Per, Remaining how many can be taken now.
	Limit, Remaining int64

	// Burst is the most that can be taken at once, where WithBurst says so; 0 means Limit.
	Burst int64

	// Per is the period. RetryAfter is how long to wait until a request like
	// this is allowed: 0 when it was, negative when waiting does not help
	// because it asks for more than the limit.
	Per, RetryAfter time.Duration

	// Reset is when the full limit is available again.
	Reset time.Time

	// Exceeded tells that the request was over the limit, refused or not.
	Exceeded bool

	// Banned tells that the client is banned (see WithBan): nothing remains, and
	// RetryAfter and Reset are no earlier than the end of the ban.
	Banned bool

	// Shadow tells that the limit is only being tried and refuses nobody.
	Shadow bool
}

// contextKey is where a gin.Context keeps what was decided.
type contextKey struct{}

// FromContext returns the decision on a request. It is false when no limit was
// asked: the route has none, or it is unlimited for this request, or limiting
// is switched off, or the backend failed and the request was let through.
func FromContext(c *gin.Context) (Info, bool) {
	d := decided(c).strictest()
	if d == nil {
		return Info{}, false
	}
	return d.about[d.closest].info(&d.quotas[d.closest], &d.verdicts[d.closest], d.at), true
}

// decided is what the last middleware has decided on a request, if any.
func decided(c *gin.Context) *decision {
	value, _ := c.Get(contextKey{})
	d, _ := value.(*decision)
	return d
}

// strictest is the decision that is closest to refusing, of this one and those
// before: nil if no limit was asked.
func (d *decision) strictest() (strictest *decision) {
	for ; d != nil; d = d.earlier {
		if len(d.verdicts) > 0 && (strictest == nil || !strictest.standing(strictest.closest).closer(d.standing(d.closest))) {
			strictest = d
		}
	}
	return strictest
}

// standing is how one limit stands after a decision.
type standing struct {
	*backends.Verdict
	shadow bool
	whole  time.Duration // when the full limit is available again, since 1970
}

func (d *decision) standing(i int) standing {
	v := &d.verdicts[i]
	return standing{v, d.quotas[i].Shadow, d.at + v.ResetAfter}
}

// closer tells whether a is closer to refusing than b, or has refused and b has
// not. Shadow limits, which refuse nobody, come last.
func (a standing) closer(b standing) bool {
	switch {
	case a.shadow != b.shadow:
		return b.shadow
	case a.Allowed != b.Allowed:
		return b.Allowed
	case !a.Allowed && (a.RetryAfter < 0) != (b.RetryAfter < 0):
		return a.RetryAfter < 0
	case !a.Allowed:
		return a.RetryAfter > b.RetryAfter
	case a.Remaining != b.Remaining:
		return a.Remaining < b.Remaining
	}
	return a.whole > b.whole
}
