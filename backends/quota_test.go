package backends_test

import (
	"testing"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
)

func TestCapacityIsTheBurstOfATokenBucketAndElseTheLimit(t *testing.T) {
	for _, test := range []struct {
		quota backends.Quota
		want  int64
	}{
		{backends.Quota{Algorithm: backends.TokenBucket, Limit: 10, Burst: 50}, 50},
		{backends.Quota{Algorithm: backends.TokenBucket, Limit: 10, Burst: 3}, 3},
		{backends.Quota{Algorithm: backends.TokenBucket, Limit: 10}, 10},
		{backends.Quota{Algorithm: backends.TokenBucket, Limit: 0, Burst: 50}, 0},
		{backends.Quota{Algorithm: backends.SlidingWindow, Limit: 10, Burst: 50}, 10},
		{backends.Quota{Algorithm: backends.TokenBucket, Limit: 3, Burst: 50, Ban: time.Minute}, 3},
	} {
		require.Equal(t, test.want, test.quota.Capacity(), "%+v", test.quota)
	}
}

func TestQuotasAreValidUpToTheDocumentedBounds(t *testing.T) {
	type quota = backends.Quota
	valid := map[string]func(q *quota){
		"a limit of 0":       func(q *quota) { q.Limit = 0 },
		"the largest limit":  func(q *quota) { q.Limit = backends.MaxLimit },
		"the shortest per":   func(q *quota) { q.Per = backends.MinPer },
		"the longest per":    func(q *quota) { q.Per = backends.MaxPer },
		"the largest burst":  func(q *quota) { q.Burst = backends.MaxLimit },
		"the largest cost":   func(q *quota) { q.Cost = backends.MaxLimit },
		"the largest refund": func(q *quota) { q.Cost = -backends.MaxLimit },
		"the shortest ban":   func(q *quota) { q.Ban = backends.MinPer },
		"the longest ban":    func(q *quota) { q.Ban = backends.MaxPer },
		"a peek at a ban":    func(q *quota) { q.Ban, q.Cost = time.Hour, 0 },
		"a calendar":         func(q *quota) { q.Calendar = time.UTC },
		"the largest refund in a calendar": func(q *quota) {
			q.Calendar, q.Cost = time.UTC, -backends.MaxLimit
		},
	}
	for name, change := range valid {
		q := quota{Key: "k", Algorithm: backends.FixedWindow, Limit: 1, Per: 24 * time.Hour, Cost: 1}
		change(&q)
		require.NoError(t, q.Prepare(), name)
	}
	invalid := map[string]func(q *quota){
		"limit -1 is out of range; it must be from 0 to 10000000000000":                                               func(q *quota) { q.Limit = -1 },
		"limit 10000000000001 is out of range; it must be from 0 to 10000000000000":                                   func(q *quota) { q.Limit = backends.MaxLimit + 1 },
		"period 999.999µs is out of range; it must be from 1ms to 8784h0m0s":                                          func(q *quota) { q.Per = backends.MinPer - 1 },
		"period 8784h0m0.000000001s is out of range; it must be from 1ms to 8784h0m0s":                                func(q *quota) { q.Per = backends.MaxPer + 1 },
		"burst -1 is out of range; it must be from 0 to 10000000000000":                                               func(q *quota) { q.Burst = -1 },
		"burst 10000000000001 is out of range; it must be from 0 to 10000000000000":                                   func(q *quota) { q.Burst = backends.MaxLimit + 1 },
		"cost 10000000000001 is out of range; it must be from -10000000000000 to 10000000000000":                      func(q *quota) { q.Cost = backends.MaxLimit + 1 },
		"cost -10000000000001 is out of range; it must be from -10000000000000 to 10000000000000":                     func(q *quota) { q.Cost = -backends.MaxLimit - 1 },
		"ban -1ns is out of range; it must be from 1ms to 8784h0m0s":                                                  func(q *quota) { q.Ban = -1 },
		"ban 999.999µs is out of range; it must be from 1ms to 8784h0m0s":                                             func(q *quota) { q.Ban = backends.MinPer - 1 },
		"ban 8784h0m0.000000001s is out of range; it must be from 1ms to 8784h0m0s":                                   func(q *quota) { q.Ban = backends.MaxPer + 1 },
		"algorithm 4 does not exist; it must be one of sliding-window, fixed-window, sliding-log, token-bucket":       func(q *quota) { q.Algorithm = 4 },
		"a ban requires a limit of at least 1 (not 0) and a cost of 0 or 1 (not 1), and must not be forced":           func(q *quota) { q.Ban, q.Limit = time.Hour, 0 },
		"a ban requires a limit of at least 1 (not 1) and a cost of 0 or 1 (not 2), and must not be forced":           func(q *quota) { q.Ban, q.Cost = time.Hour, 2 },
		"a ban of 1h0m0s cannot have a Calendar":                                                                      func(q *quota) { q.Calendar, q.Ban = time.UTC, time.Hour },
		"a Calendar requires fixed-window, not token-bucket":                                                          func(q *quota) { q.Calendar, q.Algorithm = time.UTC, backends.TokenBucket },
		"period 23h0m0s has no calendar windows; it must be 24 hours, 7 days, 30 days (a month) or 365 days (a year)": func(q *quota) { q.Calendar, q.Per = time.UTC, 23*time.Hour },
	}
	for text, change := range invalid {
		q := quota{Key: "k", Algorithm: backends.FixedWindow, Limit: 1, Per: 24 * time.Hour, Cost: 1}
		change(&q)
		err := q.Prepare()
		require.ErrorIs(t, err, backends.ErrInvalidQuota)
		require.ErrorContains(t, err, text)
	}
}
