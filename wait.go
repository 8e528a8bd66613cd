package ratelimiter

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/internal/queue"
)

// maxWait is the maximum of WithWait. No server or proxy keeps a request open for
// longer.
const maxWait = time.Hour

// WithWait holds a request that is over the limit until it is allowed, if that takes at
// most longest. Otherwise the request is rejected at once. longest is from a millisecond
// to an hour, counted from the arrival of the request. For example, RateLimit(1,
// time.Second, WithAlgorithm(TokenBucket), WithWait(10*time.Second)) lets one request
// through each second, ten may wait, and the next one is rejected. The token bucket
// spaces requests evenly; with a window, many requests pass at once.
//
// Requests with the same limits, keys and scopes wait in one queue and pass in the order
// of arrival. A request with a lower cost does not overtake, because an expensive request
// would never pass. A request is charged when it passes. Each process has its own queues;
// they share the limit, but have no common order. If many processes wait for the same
// units, each skips turns at random, so that a turn takes few calls to the backend. Requests
// that share only some of their limits, such as a limit for all customers together next to
// one for each, have no common order either. A request that costs 0 passes those that wait.
//
// The backend determines when the first request of a queue passes, and the times of the
// others are estimated from it. Other processes may use units in the meantime, so a
// request may wait and still be rejected, at the latest after longest and one
// RATELIMITER_TIMEOUT. Retry-After of a rejection takes the waiting requests into
// account. A request that costs more than the limit, and a request of a banned client
// (see WithBan), is rejected at once.
//
// If the client disconnects, its request leaves the queue, and what earlier limits
// charged is refunded. The server notices this at once, or, if the request has a body,
// once the body has been read. It does not notice it if the client has sent its next
// request on the same HTTP/1 connection; then the request stays for its wait. Close
// answers all waiting requests with 503. http.Server.Shutdown waits for them, so register
// Close with http.Server.RegisterOnShutdown.
//
// A waiting request occupies a goroutine and a connection. Therefore at most 1,000
// requests wait in a queue and 10,000 in a RateLimiter, so that one client cannot take
// all of them; further requests are rejected at once. The WriteTimeout of the server and
// the timeouts of proxies and clients have to be longer than longest.
//
// WithWait panics if longest is out of range. RateLimit panics if WithWait is combined
// with WithOverLimit(nil) or with WithShadow for all limits, because such limits never
// reject.
func WithWait(longest time.Duration) Option {
	call := fmt.Sprintf("ratelimiter: WithWait(%v)", longest)
	mustPeriod(call, "wait", longest)
	if longest > maxWait {
		panic(fmt.Sprintf("%s: the wait is longer than the maximum of %v", call, maxWait))
	}
	return rateLimitOption("WithWait", func(r *rule) { r.longestWait = longest })
}

// checkWait validates WithWait when all options are known.
func (r *rule) checkWait() {
	rejects := func(l limitRule) bool { return !l.shadow }
	if r.longestWait > 0 && (r.neverReject || !slices.ContainsFunc(r.limits, rejects)) {
		panic("ratelimiter: WithWait needs limits that reject; remove WithShadow and WithObserveOnly, or remove WithWait")
	}
}

// takeInTurn calls the backend when it is the request's turn, until the request is
// allowed or its turn is too far away. It returns how long the request waited. A
// rejection counts for a ban once it is known that the request does not wait.
func (q *request) takeInTurn(c *gin.Context) (waited time.Duration, err error) {
	wanted := queue.Request{Quotas: q.decision.quotas, Longest: q.longestWait, Grace: q.settings.timeout}
	ctx := c.Request.Context()
	waited, rejected, err := q.settings.queues.Wait(ctx, wanted, func(ctx context.Context) (queue.Answer, error) {
		return q.askInTurn(c, ctx)
	})
	switch {
	case err != nil:
		return waited, err
	case rejected != nil:
		if err := q.askEstimate(ctx, rejected); err != nil {
			return waited, err
		}
	}
	q.findClosest()
	q.recordRejection(ctx)
	return waited, nil
}

// askInTurn calls the backend without counting a rejection for a ban. If the request ends
// during the call, it refunds the charge.
func (q *request) askInTurn(c *gin.Context, ctx context.Context) (queue.Answer, error) {
	if err := q.settings.takeWithBans(ctx, q.decision.quotas, q.decision.limits, q.decision.verdicts, 0); err != nil {
		return queue.Answer{}, err
	}
	q.findClosest()
	if err := c.Request.Context().Err(); err != nil {
		q.at = time.Now().UnixMicro()
		q.refundAll(c)
		return queue.Answer{}, err
	}
	answer := queue.Answer{Allowed: !q.exceeded(), RetryAfter: q.verdict.RetryAfter, Limit: q.closest, Verdicts: q.decision.verdicts}
	if q.decision.isBanned() {
		answer.RetryAfter = -1
	}
	return answer, nil
}

// askEstimate queries what is left, and when a rejected request would pass after those
// ahead of it. The quota that denies everything comes first, on the key of a ban if there
// is one: with keys on several nodes, no other node then charges units that have to be
// refunded.
func (q *request) askEstimate(ctx context.Context, rejected *queue.Estimate) error {
	guarded := slices.IndexFunc(q.decision.limits, func(a limitState) bool { return a.limitRule.ban != nil })
	quotas := rejected.Quotas(max(0, guarded))
	verdicts := make([]backends.Verdict, len(quotas))
	if err := q.settings.takeWithBans(ctx, quotas, q.decision.limits, verdicts, 0); err != nil {
		return err
	}
	rejected.Correct(verdicts, func(i int) bool { return q.decision.limits[i].banned })
	copy(q.decision.verdicts, verdicts)
	return nil
}
