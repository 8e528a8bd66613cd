package ratelimiter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/internal/headers"
)

// Take charges a limit outside a request: for the messages on a WebSocket, the jobs of a
// queue, the e-mails to one address.
//
//	info, err := limiter.Take(ctx, ratelimiter.Limit{Limit: 5, Per: time.Hour}, "mail", address, 1)
//
// It charges the counter of a RateLimit of the same key, scope and period that is counted by
// RATELIMITER_ALGORITHM. A key that is a route, as "GET /users/:id", means the first RateLimit
// of that route; any other key is what the functions of WithKey return. Key and scope are as
// for Reset: see Join for texts that a client may have chosen. Neither may be empty.
//
// Info.Exceeded reports that the limit is used up and nothing was charged, and RetryAfter how
// long to wait. A cost of 0 charges nothing and returns what Status would: Exceeded means that
// nothing remains. A negative cost refunds units, those charged last first, and never past
// full. The cost is from -backends.MaxLimit to backends.MaxLimit. An Unlimited limit is not
// counted; Limit and Remaining are Unlimited then.
//
// A client that Ban has banned from the key is rejected; a ban of WithBan is one of that
// RateLimit alone. Observers are told of what is charged, with an empty Route, and not of a
// cost of 0 or less.
//
// Where the backend fails, RATELIMITER_ON_ERROR decides: "fallback" counts in the memory of
// this process, "allow" returns an Info with the full limit, and "deny" the error.
// RATELIMITER_TIMEOUT bounds the wait, and so does ctx, whose end is an error. With
// RATELIMITER_ENABLED false everything is allowed. Take returns an error for a limit or a cost
// that makes no sense, ErrNotInitialised before InitApp and backends.ErrClosed after Close. It
// is safe for use by many goroutines.
func (r *RateLimiter) Take(ctx context.Context, limit Limit, key, scope string, cost int) (Info, error) {
	s := r.settings.Load()
	if s == nil {
		return Info{}, ErrNotInitialised
	}
	if err := checkTake(limit, key, scope, cost); err != nil {
		return Info{}, err
	}
	q := r.outside(s, limit, key, scope, int64(cost))
	if !s.enabled || limit.Limit < 0 {
		return q.untouched(), nil
	}
	info, err := q.takeOutside(ctx)
	switch {
	case err == nil:
		return info, nil
	case s.onError == onErrorAllow && !errors.Is(err, backends.ErrClosed) && ctx.Err() == nil:
		return q.untouched(), nil
	}
	return Info{}, fmt.Errorf("the rate limiter could not decide on %s: %w", q.several.asked[0].key, err)
}

// checkTake reports an argument of Take that makes no sense.
func checkTake(limit Limit, key, scope string, cost int) error {
	call := fmt.Sprintf("Take of a limit of %d per %v", limit.Limit, limit.Per)
	switch {
	case limit.Limit > backends.MaxLimit:
		return fmt.Errorf("%s: the limit is more than %d; use ratelimiter.Unlimited for no limit", call, backends.MaxLimit)
	case key == "" || scope == "":
		return fmt.Errorf("%s: the key %q and the scope %q must not be empty", call, key, scope)
	case int64(cost) < -backends.MaxLimit || int64(cost) > backends.MaxLimit:
		return fmt.Errorf("%s: the cost %d is not from %d to %d", call, cost, -backends.MaxLimit, backends.MaxLimit)
	}
	return checkPeriod(call, "period", limit.Per)
}

// outside is a question about one limit that no request asks.
func (r *RateLimiter) outside(s *settings, limit Limit, key, scope string, cost int64) *request {
	l := &limitRule{limit: limit.Limit, per: limit.Per, cost: cost}
	quota := l.quota(s)
	quota.Scope = printable(scope)
	if isRoute(key) {
		quota.Key = s.storedKey(ofRoute, 1, key)
	} else {
		key = printable(key)
		quota.Key = s.storedKey(ofKey, 1, key)
	}
	return &request{
		binding: &binding{rule: &rule{}, settings: s, limiter: r},
		several: &several{
			verdicts: make([]backends.Verdict, 1),
			quotas:   []backends.Quota{quota},
			asked:    []asked{{boundLimit: &boundLimit{limitRule: l, name: headers.PolicyName(limit.Per)}, key: key}},
		},
	}
}

// takeOutside asks the backend.
func (q *request) takeOutside(ctx context.Context) (Info, error) {
	s, of := q.settings, q.several
	if s.closed.Load() {
		return Info{}, backends.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return Info{}, err
	}
	switch cost := of.quotas[0].Cost; {
	case cost == 0:
		infos, err := s.peek(ctx, of.quotas, of.asked)
		if err != nil {
			return Info{}, err
		}
		return infos[0], nil
	case cost < 0: // also for a client that is banned
		if err := s.decider.Take(ctx, of.quotas, of.verdicts); err != nil {
			return Info{}, err
		}
		s.queues.Free(of.quotas[0].Key, of.quotas[0].Scope)
		return q.told(time.Now()), nil
	}
	watched := q.limiter.observers.begin(s)
	if err := s.takeWithBans(ctx, of.quotas, of.asked, of.verdicts, 1); err != nil {
		q.limiter.observers.failed(ctx, q, watched, 0, err)
		return Info{}, err
	}
	now := time.Now()
	info := q.told(now)
	q.limiter.observers.decided(q, watched, 0, now)
	return info, nil
}

// told is what a question outside a request was answered.
func (q *request) told(now time.Time) Info {
	q.at = now.UnixMicro()
	q.findClosest()
	return q.several.asked[0].info(&q.several.quotas[0], &q.verdict, q.at)
}

// untouched is the Info of a limit that was not asked about.
func (q *request) untouched() Info {
	quota := &q.several.quotas[0]
	return q.several.asked[0].info(quota, &backends.Verdict{Allowed: true, Remaining: mostAtOnce(quota)}, time.Now().UnixMicro())
}
