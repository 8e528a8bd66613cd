package ratelimiter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/internal/headers"
)

// Take charges a limit outside a request, for example for messages on a WebSocket, jobs
// in a queue or e-mails to an address:
//
//	info, err := limiter.Take(ctx, ratelimiter.Limit{Limit: 5, Per: time.Hour}, "mail", address, 1)
//
// Take uses the same counter as a RateLimit with the same key, scope and period whose
// algorithm is RATELIMITER_ALGORITHM. If key is a route such as "GET /users/:id", that is
// the first RateLimit of the route; any other key is the result of the functions of
// WithKey. Key and scope are as for Reset and must not be empty. Use Join if they come
// from clients.
//
// Info.Exceeded reports that the limit was exceeded and nothing was charged;
// Info.RetryAfter is how long to wait. cost is from -backends.MaxLimit to
// backends.MaxLimit. A cost of 0 charges nothing and returns the same as Status: Exceeded
// means that nothing remains. A negative cost refunds units, the most recent first, up to
// the full limit. An Unlimited limit is not counted, and its Info has Limit and Remaining
// Unlimited.
//
// A client that was banned from the key with Ban is rejected. A ban of WithBan only
// applies to its RateLimit. Observers receive charges, with an empty Route, but no call
// with a cost of 0 or less.
//
// If the backend fails, the result depends on RATELIMITER_ON_ERROR: "fallback" counts in
// the memory of this process, "allow" returns an Info with the full limit, and "deny"
// returns the error. RATELIMITER_TIMEOUT and ctx bound the wait; Take returns an error if
// ctx is done. With RATELIMITER_ENABLED false, Take allows everything. Take returns an
// error for an invalid argument, ErrNotInitialised before InitApp and backends.ErrClosed
// after Close.
func (r *RateLimiter) Take(ctx context.Context, limit Limit, key, scope string, cost int) (Info, error) {
	s := r.settings.Load()
	if s == nil {
		return Info{}, ErrNotInitialised
	}
	if err := checkTake(limit, key, scope, cost); err != nil {
		return Info{}, err
	}
	q := r.newTakeRequest(s, limit, key, scope, int64(cost))
	if !s.enabled || limit.Limit < 0 {
		return q.unchargedInfo(), nil
	}
	info, err := q.takeOutside(ctx)
	switch {
	case err == nil:
		return info, nil
	case s.onError == onErrorAllow && !errors.Is(err, backends.ErrClosed) && ctx.Err() == nil:
		return q.unchargedInfo(), nil
	}
	return Info{}, fmt.Errorf("the rate limiter could not decide on %s: %w", q.decision.limits[0].key, err)
}

// checkTake returns an error for an invalid argument of Take.
func checkTake(limit Limit, key, scope string, cost int) error {
	call := fmt.Sprintf("Take of a limit of %d per %v", limit.Limit, limit.Per)
	switch {
	case limit.Limit > backends.MaxLimit:
		return fmt.Errorf("%s: the limit is over the maximum of %d; use ratelimiter.Unlimited for no limit", call, backends.MaxLimit)
	case key == "" || scope == "":
		return fmt.Errorf("%s: the key %q and the scope %q must not be empty", call, key, scope)
	case int64(cost) < -backends.MaxLimit || int64(cost) > backends.MaxLimit:
		return fmt.Errorf("%s: the cost %d is out of range; it must be from %d to %d", call, cost, -backends.MaxLimit, backends.MaxLimit)
	}
	return checkPeriod(call, "period", limit.Per)
}

// newTakeRequest returns a request for one limit that does not belong to an HTTP request.
func (r *RateLimiter) newTakeRequest(s *settings, limit Limit, key, scope string, cost int64) *request {
	l := &limitRule{limit: limit.Limit, per: limit.Per, cost: cost}
	quota := l.quota(s)
	quota.Scope = printable(scope)
	if isRoute(key) {
		quota.Key = s.storedKey(routeNamespace, 1, key)
	} else {
		key = printable(key)
		quota.Key = s.storedKey(keyNamespace, 1, key)
	}
	return &request{
		binding: &binding{rule: &rule{}, settings: s, limiter: r},
		decision: &decision{
			verdicts: make([]backends.Verdict, 1),
			quotas:   []backends.Quota{quota},
			limits:   []limitState{{boundLimit: &boundLimit{limitRule: l, name: headers.PolicyName(limit.Per)}, key: key}},
		},
	}
}

// takeOutside calls the backend.
func (q *request) takeOutside(ctx context.Context) (Info, error) {
	s, of := q.settings, q.decision
	if s.closed.Load() {
		return Info{}, backends.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return Info{}, err
	}
	switch cost := of.quotas[0].Cost; {
	case cost == 0:
		infos, err := s.peek(ctx, of.quotas, of.limits)
		if err != nil {
			return Info{}, err
		}
		return infos[0], nil
	case cost < 0: // a banned client gets refunds too
		if err := s.decider.Take(ctx, of.quotas, of.verdicts); err != nil {
			return Info{}, err
		}
		s.queues.Free(of.quotas[0].Key, of.quotas[0].Scope)
		return q.decidedInfo(time.Now()), nil
	}
	watched := q.limiter.observers.begin(s)
	if err := s.takeWithBans(ctx, of.quotas, of.limits, of.verdicts, 1); err != nil {
		q.limiter.observers.failed(ctx, q, watched, 0, err)
		return Info{}, err
	}
	now := time.Now()
	info := q.decidedInfo(now)
	q.limiter.observers.decided(q, watched, 0, now)
	return info, nil
}

// decidedInfo returns the decision of the backend.
func (q *request) decidedInfo(now time.Time) Info {
	q.at = now.UnixMicro()
	q.findClosest()
	return q.decision.limits[0].info(&q.decision.quotas[0], &q.verdict, q.at)
}

// unchargedInfo returns the Info of a limit that was not charged.
func (q *request) unchargedInfo() Info {
	quota := &q.decision.quotas[0]
	return q.decision.limits[0].info(quota, &backends.Verdict{Allowed: true, Remaining: capacity(quota)}, time.Now().UnixMicro())
}
