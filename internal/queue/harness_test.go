package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
)

// harness sends requests to the same limits and records the results.
type harness struct {
	Queues
	mu      sync.Mutex
	limits  limits
	latency time.Duration // latency of answers of the backend
	broken  error
	calls   int // number of calls to the backend

	longest, grace time.Duration
	began          time.Time
	all            sync.WaitGroup
	visits         []*visit
}

// visit is a request and its result.
type visit struct {
	cost     int64
	leave    context.CancelFunc
	outcome  string
	at       time.Duration // time of the result since the test began
	waited   time.Duration
	rejected *Estimate
}

// newHarness returns a harness with unused limits.
func newHarness(longest time.Duration, limits ...*model) *harness {
	return &harness{limits: limits, longest: longest, grace: 100 * time.Millisecond, began: time.Now()}
}

func bucket(limit int64, per time.Duration) *model {
	return &model{algorithm: backends.TokenBucket, limit: limit, per: per.Microseconds()}
}

func fixed(limit int64, per time.Duration) *model {
	return &model{algorithm: backends.FixedWindow, limit: limit, per: per.Microseconds()}
}

// send sends a request, and returns once it waits, calls the backend or has a result.
func (h *harness) send(cost int64) *visit {
	ctx, leave := context.WithCancel(context.Background())
	return h.sendWith(ctx, leave, "scope", cost)
}

func (h *harness) sendWith(ctx context.Context, leave context.CancelFunc, scope string, cost int64) *visit {
	v := &visit{cost: cost, leave: leave}
	h.visits = append(h.visits, v)
	h.all.Go(func() {
		defer leave()
		v.outcome, v.waited, v.rejected = h.wait(ctx, scope, cost)
		v.at = time.Since(h.began)
	})
	synctest.Wait()
	return v
}

func (h *harness) wait(ctx context.Context, scope string, cost int64) (outcome string, waited time.Duration, rejected *Estimate) {
	var quotas []backends.Quota
	for _, m := range h.limits {
		q := m.quota(cost)
		q.Scope = scope
		quotas = append(quotas, q)
	}
	allowed := false
	waited, rejected, err := h.Wait(ctx, Request{Quotas: quotas, Longest: h.longest, Grace: h.grace}, func(callCtx context.Context) (Answer, error) {
		answer, err := h.take(callCtx, cost)
		if err == nil && ctx.Err() != nil {
			h.refund(answer, cost)
			return Answer{}, ctx.Err()
		}
		allowed = answer.Allowed
		return answer, err
	})
	switch {
	case errors.Is(err, backends.ErrClosed):
		return "closed", waited, rejected
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "ended", waited, rejected
	case err != nil:
		return "failed", waited, rejected
	case rejected != nil:
		return "rejected", waited, rejected
	case allowed:
		return "passed", waited, rejected
	}
	return "denied", waited, rejected
}

// take charges all limits or none, and answers after the latency.
func (h *harness) take(ctx context.Context, cost int64) (answer Answer, err error) {
	var away time.Duration
	h.locked(func() {
		answer, err = h.decide(cost)
		away = h.latency
	})
	select {
	case <-time.After(away):
	case <-ctx.Done():
		return Answer{}, ctx.Err()
	}
	return answer, err
}

func (h *harness) decide(cost int64) (answer Answer, err error) {
	h.calls++
	now := time.Now().UnixMicro()
	answer.Allowed = true
	for i, m := range h.limits {
		v := m.verdict(now, cost)
		if !v.Allowed && (answer.Allowed || v.RetryAfter < 0 || v.RetryAfter > answer.RetryAfter && answer.RetryAfter >= 0) {
			answer = Answer{RetryAfter: v.RetryAfter, Limit: i}
		}
	}
	for _, m := range h.limits {
		if answer.Allowed && h.broken == nil {
			m.charge(now, cost)
		}
		answer.Verdicts = append(answer.Verdicts, backends.Verdict{Remaining: m.remaining(now)})
	}
	return answer, h.broken
}

// refund refunds the last charge.
func (h *harness) refund(answer Answer, cost int64) {
	if answer.Allowed {
		h.locked(func() {
			for _, m := range h.limits {
				m.charge(time.Now().UnixMicro(), -cost)
			}
		})
		h.Free("key", "scope")
	}
}

// locked runs a function while no request is in a call to the backend.
func (h *harness) locked(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
}

// resetAll resets all limits.
func (h *harness) resetAll() {
	h.locked(func() {
		for _, m := range h.limits {
			m.events = nil
		}
	})
}

// setLatency changes the latency of answers.
func (h *harness) setLatency(away time.Duration) { h.locked(func() { h.latency = away }) }

// results waits for all requests and lists their results, such as "passed at 1s".
func (h *harness) results(t *testing.T) (list []string) {
	h.all.Wait()
	for _, v := range h.visits {
		list = append(list, fmt.Sprintf("%s at %v", v.outcome, v.at))
	}
	require.Zero(t, h.Waiting())
	require.Zero(t, h.Len())
	return list
}

// advance moves the virtual clock.
func advance(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}
