package ratelimiter

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter/backends"
)

// Peek tells what is left now of every limit that was asked for this request,
// shadows too, in the order of the middlewares. It takes nothing. In an Info of it
// Exceeded says that nothing is left, and RetryAfter is 0.
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

// peek asks for the limits of a decision again, without charging them.
func (d *decision) peek(ctx context.Context) ([]Info, error) {
	quotas := slices.Clone(d.asked())
	for i := range quotas {
		quotas[i].Cost, quotas[i].Tentative = 0, true
	}
	verdicts := make([]backends.Verdict, len(quotas))
	if err := d.settings.decider.Take(ctx, quotas, verdicts); err != nil {
		return nil, fmt.Errorf("the rate limiter could not tell what is left of %s: %w", d.about[0].key, err)
	}
	at := time.Duration(time.Now().UnixNano())
	list := make([]Info, len(quotas))
	for i := range quotas {
		list[i] = d.about[i].info(&quotas[i], &verdicts[i], at)
		list[i].RetryAfter = 0
		list[i].Exceeded = verdicts[i].Remaining == 0
	}
	return list, nil
}

// info is what people read about a limit.
func (a *about) info(q *backends.Quota, v *backends.Verdict, at time.Duration) Info {
	return Info{
		Name: a.limit.name, Key: a.key, Scope: q.Scope,
		Limit: q.Limit, Remaining: v.Remaining,
		Per: q.Per, RetryAfter: v.RetryAfter,
		Reset:    time.Unix(0, int64(at+v.ResetAfter)),
		Exceeded: !v.Allowed,
		Shadow:   q.Shadow,
	}
}
