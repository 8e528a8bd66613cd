//go:build !ratelimiter_noredis

package backends

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// takeKeyByKey charges keys that may be on different nodes, with one call per key. If a key
// denies, the earlier keys are refunded and the remaining ones only peek, which counts for
// no ban. So keys with a ban come first.
func (r *redisBackend) takeKeyByKey(ctx context.Context, quotas []Quota, verdicts []Verdict) error {
	dryRun := false
	subjects := subjectsOf(quotas)
	slices.SortStableFunc(subjects, func(a, b []int) int { return countBans(quotas, b) - countBans(quotas, a) })
	for n, members := range subjects {
		part := newCall(ctx, quotasAt(quotas, members), dryRun)
		err := r.take(ctx, part)
		if err != nil {
			if !dryRun {
				err = errors.Join(err, r.refundWithin(ctx, quotas, verdicts, subjects[:n]))
			}
			return err
		}
		for i, member := range members {
			verdicts[member] = part.verdicts[i]
		}
		if !dryRun && anyDenied(part.quotas, part.verdicts) {
			dryRun = true
			if err := r.refundWithin(ctx, quotas, verdicts, subjects[:n]); err != nil {
				return err
			}
		}
	}
	return nil
}

// refundWithin refunds, but waits only until the context ends. The refund itself continues
// for at most a second.
func (r *redisBackend) refundWithin(ctx context.Context, quotas []Quota, verdicts []Verdict, subjects [][]int) error {
	if len(subjects) == 0 {
		return nil
	}
	quotas, written := slices.Clone(quotas), slices.Clone(verdicts)
	done := make(chan error, 1)
	go func() { done <- r.refund(quotas, written, subjects) }()
	select {
	case err := <-done:
		copy(verdicts, written)
		return err
	case <-ctx.Done():
		return fmt.Errorf("redis has not refunded the charges yet: %w", ctx.Err())
	}
}

// refund refunds the quotas of some subjects and updates the remaining units in the
// verdicts. It does not use the context of the request, which may have ended.
func (r *redisBackend) refund(quotas []Quota, verdicts []Verdict, subjects [][]int) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	var failed error
	for _, members := range subjects {
		charged := slices.DeleteFunc(slices.Clone(members), func(member int) bool {
			return !verdicts[member].Allowed || quotas[member].charge().Cost == 0
		})
		if len(charged) == 0 {
			continue
		}
		refunds := quotasAt(quotas, charged)
		for i := range refunds {
			refunds[i].Cost = -refunds[i].Cost
			refunds[i].Forced = true // for refunds of refunds: charge again even past the limit
		}
		part := newCall(ctx, refunds, false)
		if err := r.take(ctx, part); err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		for i, member := range charged {
			verdicts[member].setRemaining(part.verdicts[i])
		}
		if all := quotasAt(quotas, members); shareCounters(all) {
			failed = errors.Join(failed, r.peekAgain(ctx, all, verdicts, members))
		}
	}
	return failed
}

// peekAgain updates the remaining units of a subject whose quotas share a counter. Without
// it, the verdict on one quota would be outdated by the refund of the next.
func (r *redisBackend) peekAgain(ctx context.Context, quotas []Quota, verdicts []Verdict, members []int) error {
	part := newCall(ctx, quotas, true)
	if err := r.take(ctx, part); err != nil {
		return err
	}
	for i, member := range members {
		verdicts[member].setRemaining(part.verdicts[i])
	}
	return nil
}

// countBans returns the number of bans among the given quotas.
func countBans(quotas []Quota, members []int) (n int) {
	for _, member := range members {
		if quotas[member].Ban != 0 {
			n++
		}
	}
	return n
}

func shareCounters(quotas []Quota) bool {
	for i := range quotas {
		if sharesCounter(quotas[:i], &quotas[i]) {
			return true
		}
	}
	return false
}

// subjectsOf groups the indices of quotas by key and scope, in order.
func subjectsOf(quotas []Quota) [][]int {
	var groups [][]int
next:
	for i := range quotas {
		for g, group := range groups {
			first := &quotas[group[0]]
			if first.Key == quotas[i].Key && first.Scope == quotas[i].Scope {
				groups[g] = append(group, i)
				continue next
			}
		}
		groups = append(groups, []int{i})
	}
	return groups
}

func quotasAt(quotas []Quota, members []int) []Quota {
	part := make([]Quota, len(members))
	for i, member := range members {
		part[i] = quotas[member]
	}
	return part
}
