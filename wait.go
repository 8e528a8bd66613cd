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

// longestWait is the most that WithWait takes. Nothing between a client and a
// handler keeps a request open for longer.
const longestWait = time.Hour

// WithWait holds a request that is over the limit until its turn, if that is no
// further away than longest, and rejects it at once if it is, or if the context of
// the request ends before. The longest wait is a millisecond to an hour, and counts
// from the arrival of the request. So RateLimit(1, time.Second,
// WithAlgorithm(TokenBucket), WithWait(10*time.Second)) lets one request through
// each second, ten may wait, and the next is rejected. The token bucket keeps such a
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
// Retry-After of a rejection is when those who wait will have passed too, or later. A
// request that asks for more than the limit is rejected at once, and so is whoever is
// banned (see WithBan).
//
// A client that leaves gives its place back, and is charged nothing by the limits
// before either. The server notices at once; where a request has a body, only when
// that has been read. Close answers all who wait 503. http.Server.Shutdown waits for
// them, so hand Close to http.Server.RegisterOnShutdown.
//
// A request that waits holds its goroutine and its connection. So at most a thousand
// wait in a line, and ten thousand in a RateLimiter, so that one client cannot take
// all places; more are rejected at once. The WriteTimeout of the server and the
// time-outs of proxies and clients must be longer than the longest wait, or they end the request
// before its turn.
//
// Limits that reject nobody make nobody wait: WithShadow for all limits and
// WithOverLimit(nil) panic together with WithWait.
func WithWait(longest time.Duration) Option {
	call := fmt.Sprintf("ratelimiter: WithWait(%v)", longest)
	mustPeriod(call, "wait", longest)
	if longest > longestWait {
		panic(fmt.Sprintf("%s: the wait is longer than %v, which no client waits", call, longestWait))
	}
	return whole("WithWait", func(r *rule) { r.longestWait = longest })
}

// checkWait is for when all options are known.
func (r *rule) checkWait() {
	rejects := func(l limitRule) bool { return !l.shadow }
	if r.longestWait > 0 && (r.neverReject || !slices.ContainsFunc(r.limits, rejects)) {
		panic("ratelimiter: WithWait holds requests in place of rejecting them, and WithObserveOnly and WithShadow reject nobody; leave one of them out")
	}
}

// takeInTurn asks the backend when it is the request's turn, and again until it is
// allowed or its turn is too far away. It returns how long the request has waited.
// A rejection counts for a ban once it is known that the request does not wait.
func (q *request) takeInTurn(c *gin.Context) (waited time.Duration, err error) {
	wanted := queue.Request{Quotas: q.several.quotas, Longest: q.longestWait, Grace: q.settings.timeout}
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

// askInTurn asks the backend without counting a rejection for a ban. What it has
// charged for a request that has ended meanwhile is refunded.
func (q *request) askInTurn(c *gin.Context, ctx context.Context) (queue.Answer, error) {
	if err := q.settings.takeWithBans(ctx, q.several.quotas, q.several.asked, q.several.verdicts, 0); err != nil {
		return queue.Answer{}, err
	}
	q.findClosest()
	if err := c.Request.Context().Err(); err != nil {
		q.at = time.Now().UnixMicro()
		q.refundAll(c)
		return queue.Answer{}, err
	}
	answer := queue.Answer{Allowed: !q.exceeded(), RetryAfter: q.verdict.RetryAfter, Limit: q.closest, Verdicts: q.several.verdicts}
	if q.several.isBanned() {
		answer.RetryAfter = -1
	}
	return answer, nil
}

// askEstimate asks what is left, and when the turn of a rejected request would be
// behind those ahead of it. What denies everything is asked on the key that is asked
// first where keys are on several nodes, one with a ban, so that no other node charges
// what has to be refunded.
func (q *request) askEstimate(ctx context.Context, rejected *queue.Estimate) error {
	guarded := slices.IndexFunc(q.several.asked, func(a asked) bool { return a.limitRule.ban != nil })
	quotas := rejected.Quotas(max(0, guarded))
	verdicts := make([]backends.Verdict, len(quotas))
	if err := q.settings.takeWithBans(ctx, quotas, q.several.asked, verdicts, 0); err != nil {
		return err
	}
	rejected.Correct(verdicts, func(i int) bool { return q.several.asked[i].banned })
	copy(q.several.verdicts, verdicts)
	return nil
}
