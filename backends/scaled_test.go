package backends_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
)

func TestAFractionOfEachLimitIsAllowed(t *testing.T) {
	for _, test := range []struct {
		limit int64
		part  float64
		want  int64
	}{
		{100, 1, 100}, {100, 0.25, 25}, {100, 0.29, 29}, {10, 0.1, 1}, {10, 0.05, 1}, {1, 0.5, 1}, {7, 0.5, 3}, {0, 0.5, 0},
		{backends.MaxLimit, 1, backends.MaxLimit},
	} {
		for _, algorithm := range []backends.Algorithm{backends.FixedWindow, backends.SlidingWindow, backends.SlidingLog, backends.TokenBucket} {
			quota := hourly("k", test.limit)
			quota.Algorithm, quota.Cost = algorithm, 0
			verdict := take(t, backends.NewScaled(memory(t), test.part), quota)[0]
			require.Equal(t, test.want, verdict.Remaining, "%v of %d", test.part, test.limit)
		}
	}
}

func TestTheBurstIsScaledToo(t *testing.T) {
	backend := backends.NewScaled(memory(t), 0.5)
	quota := hourly("k", 1000)
	quota.Algorithm, quota.Burst = backends.TokenBucket, 4
	var allowed []bool
	for range 3 {
		allowed = append(allowed, take(t, backend, quota)[0].Allowed)
	}
	require.Equal(t, []bool{true, true, false}, allowed)
}

func TestTheQuotasOfTheCallerDoNotChange(t *testing.T) {
	quotas := []backends.Quota{hourly("k", 100)}
	require.NoError(t, backends.NewScaled(memory(t), 0.1).Take(t.Context(), quotas, make([]backends.Verdict, 1)))
	require.Equal(t, hourly("k", 100), quotas[0])
}

func TestACostOverTheFractionMayBeRetriedButNotOneOverTheLimit(t *testing.T) {
	backend := backends.NewScaled(memory(t), 0.1)
	for cost, want := range map[int64]time.Duration{10: 0, 11: time.Hour, 100: time.Hour, 101: -1} {
		quota := hourly("cost"+strconv.FormatInt(cost, 10), 100)
		quota.Cost = cost
		verdict := take(t, backend, quota)[0]
		require.Equal(t, cost == 10, verdict.Allowed)
		require.Equal(t, max(want, -1), max(verdict.RetryAfter, -1), "cost %d", cost)
	}
}

func TestALimitOfZeroNeverAllowsABurst(t *testing.T) {
	backend := backends.NewScaled(memory(t), 0.1)
	quota := hourly("k", 0)
	quota.Algorithm, quota.Burst = backends.TokenBucket, 50
	verdict := take(t, backend, quota)[0]
	require.False(t, verdict.Allowed)
	require.Negative(t, verdict.RetryAfter, "waiting does not help")
}

func TestResetClearsAScaledLimit(t *testing.T) {
	backend := backends.NewScaled(memory(t), 0.1)
	require.True(t, take(t, backend, hourly("k", 10))[0].Allowed)
	require.False(t, take(t, backend, hourly("k", 10))[0].Allowed)
	require.NoError(t, backend.Reset(t.Context(), "k", "somebody"))
	require.True(t, take(t, backend, hourly("k", 10))[0].Allowed)
}
