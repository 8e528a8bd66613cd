package backends

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// onFakeRedis runs a test for each algorithm, in virtual time.
func onFakeRedis(t *testing.T, test func(t *testing.T, p *fakeRedis, backend *redisBackend, algorithm Algorithm)) {
	for algorithm := range algorithmCount {
		t.Run(algorithm.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newFakeRedis()
				test(t, p, p.backend(t), algorithm)
			})
		})
	}
}

// takeRemote checks that a decision is made by Redis and has the expected result.
func (p *fakeRedis) takeRemote(t *testing.T, backend Backend, allowed bool, quota Quota) Verdict {
	t.Helper()
	trips, verdicts := p.takeCounted(t, backend, quota)
	require.EqualValues(t, 1, trips, "by Redis")
	require.Equal(t, allowed, verdicts[0].Allowed)
	return verdicts[0]
}

// takeCached checks that a decision is a denial without a round trip.
func (p *fakeRedis) takeCached(t *testing.T, backend Backend, quota Quota) Verdict {
	t.Helper()
	truth := p.truth(t, quota)[0]
	trips, verdicts := p.takeCounted(t, backend, quota)
	require.Zero(t, trips, "from the cache")
	require.False(t, verdicts[0].Allowed)
	require.Equal(t, truth, verdicts[0])
	return verdicts[0]
}

// Another process may at any time refund the units for which a tentative quota was denied.
func TestADenialOfATentativeQuotaIsNotCached(t *testing.T) {
	onFakeRedis(t, func(t *testing.T, p *fakeRedis, backend *redisBackend, algorithm Algorithm) {
		other := p.backend(t)
		q := Quota{Key: "k", Algorithm: algorithm, Limit: 1, Per: time.Hour, Cost: 1, Tentative: true}
		receipt := p.takeRemote(t, other, true, q).Receipt
		p.takeRemote(t, backend, false, q)
		p.takeRemote(t, backend, false, q)
		refund := q
		refund.Cost, refund.Receipt = -1, receipt
		p.takeRemote(t, other, true, refund)
		p.takeRemote(t, backend, true, q)
	})
}

// The same holds for several limits, whether or not a ban is watching.
func TestADenialOfSeveralTentativeQuotasIsNotCached(t *testing.T) {
	ban := Quota{Key: "k", Limit: 9, Per: time.Hour, Ban: time.Hour}
	wide := Quota{Key: "wide", Limit: 9, Per: time.Hour, Cost: 1, Tentative: true}
	for name, second := range map[string]Quota{"with another limit": wide, "with a peek at a ban": ban} {
		t.Run(name, func(t *testing.T) {
			onFakeRedis(t, func(t *testing.T, p *fakeRedis, backend *redisBackend, algorithm Algorithm) {
				other := p.backend(t)
				q := Quota{Key: "k", Algorithm: algorithm, Limit: 1, Per: time.Hour, Cost: 1, Tentative: true}
				_, verdicts := p.takeCounted(t, other, q, second)
				for range 2 {
					trips, denied := p.takeCounted(t, backend, q, second)
					require.EqualValues(t, 1, trips)
					require.False(t, denied[0].Allowed)
				}
				refund := q
				refund.Cost, refund.Receipt = -1, verdicts[0].Receipt
				p.takeRemote(t, other, true, refund)
				_, verdicts = p.takeCounted(t, backend, q, second)
				require.True(t, verdicts[0].Allowed)
			})
		})
	}
}

func TestADenialByRedisIsCachedUntilRetryAfter(t *testing.T) {
	onFakeRedis(t, func(t *testing.T, p *fakeRedis, backend *redisBackend, algorithm Algorithm) {
		q := Quota{Key: "k", Algorithm: algorithm, Limit: 5, Per: 3 * time.Second, Cost: 1}
		for range 5 {
			p.takeRemote(t, backend, true, q)
		}
		wait := p.takeRemote(t, backend, false, q).RetryAfter
		require.Positive(t, wait)
		count, _ := CachedDenials(backend)
		require.Zero(t, count, "no cached denials yet")
		require.Equal(t, wait, p.takeCached(t, backend, q).RetryAfter)
		count, _ = CachedDenials(backend)
		require.EqualValues(t, 1, count)
		elapse(wait - time.Microsecond)
		require.Equal(t, time.Microsecond, p.takeCached(t, backend, q).RetryAfter)
		elapse(time.Microsecond)
		p.takeRemote(t, backend, true, q)
	})
}

func TestACachedDenialAppliesToEveryCostThatDoesNotFit(t *testing.T) {
	onFakeRedis(t, func(t *testing.T, p *fakeRedis, backend *redisBackend, algorithm Algorithm) {
		q := Quota{Key: "k", Algorithm: algorithm, Limit: 10, Per: time.Hour, Cost: 8}
		p.takeRemote(t, backend, true, q)
		q.Cost = 5
		p.takeRemote(t, backend, false, q)
		for _, cost := range []int64{3, 9, 10} {
			q.Cost = cost
			p.takeCached(t, backend, q)
		}
		q.Cost = 11
		require.Negative(t, p.takeCached(t, backend, q).RetryAfter, "waiting does not help")
		q.Cost = 0
		p.takeRemote(t, backend, true, q)
		q.Cost = 2
		p.takeRemote(t, backend, true, q)
		q.Cost = 1
		p.takeRemote(t, backend, false, q)
		p.takeCached(t, backend, q)
	})
}

func TestARaisedLimitAppliesAtOnce(t *testing.T) {
	onFakeRedis(t, func(t *testing.T, p *fakeRedis, backend *redisBackend, algorithm Algorithm) {
		q := Quota{Key: "k", Algorithm: algorithm, Limit: 5, Per: 3 * time.Second, Cost: 5}
		p.takeRemote(t, backend, true, q)
		q.Cost = 1
		p.takeRemote(t, backend, false, q)
		lower, higher, other := q, q, q
		lower.Limit, higher.Limit, other.Per = 4, 10, time.Hour
		elapse(400 * time.Millisecond) // earns one of ten tokens in three seconds, but none of five
		p.takeCached(t, backend, lower)
		p.takeRemote(t, backend, true, other)
		p.takeRemote(t, backend, false, q)
		p.takeRemote(t, backend, true, higher)
	})
}

// Others may have been allowed since the denial under the previous limit.
func TestALoweredLimitAsksRedisOnceTheDenialUnderTheOldLimitHasEnded(t *testing.T) {
	onFakeRedis(t, func(t *testing.T, p *fakeRedis, backend *redisBackend, algorithm Algorithm) {
		other := p.backend(t)
		high := Quota{Key: "k", Algorithm: algorithm, Limit: 10, Per: 8 * time.Second, Cost: 1}
		for range high.Limit {
			p.takeRemote(t, other, true, high)
		}
		elapse(p.takeRemote(t, backend, false, high).RetryAfter)
		p.takeRemote(t, other, true, high)
		low := high
		low.Limit = 5
		truth := p.truth(t, low)[0]
		_, verdicts := p.takeCounted(t, backend, low)
		require.Equal(t, truth, verdicts[0])
	})
}

func TestResetsAndRefundsOfThisProcessTakeEffectAtOnce(t *testing.T) {
	onFakeRedis(t, func(t *testing.T, p *fakeRedis, backend *redisBackend, algorithm Algorithm) {
		q := Quota{Key: "k", Scope: "s", Algorithm: algorithm, Limit: 1, Per: time.Hour, Cost: 1}
		refund := q
		refund.Cost = -1
		p.takeRemote(t, backend, true, q)
		p.takeRemote(t, backend, false, q)
		p.takeCached(t, backend, q)
		p.takeRemote(t, backend, true, refund)
		p.takeRemote(t, backend, true, q)
		p.takeRemote(t, backend, false, q)
		p.takeCached(t, backend, q)
		require.NoError(t, backend.Reset(t.Context(), "k", "s"))
		p.takeRemote(t, backend, true, q)
		p.takeRemote(t, backend, false, q)
		p.takeCached(t, backend, q)
	})
}

func TestADenialAppliesToNoOtherKeyOrScope(t *testing.T) {
	onFakeRedis(t, func(t *testing.T, p *fakeRedis, backend *redisBackend, algorithm Algorithm) {
		q := Quota{Key: "k", Scope: "s", Algorithm: algorithm, Limit: 1, Per: time.Hour, Cost: 1}
		p.takeRemote(t, backend, true, q)
		p.takeRemote(t, backend, false, q)
		for n := range 20 {
			otherKey, otherScope := q, q
			otherKey.Key, otherScope.Scope = strconv.Itoa(n), strconv.Itoa(n)
			p.takeRemote(t, backend, true, otherKey)
			p.takeRemote(t, backend, true, otherScope)
		}
	})
}

func TestCachedDenialsAreCountedForRedisOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := newFakeRedis().backend(t)
		count, ok := CachedDenials(backend)
		require.True(t, ok)
		require.Zero(t, count)
		backend.denials = nil // the option local_denials is false
		count, ok = CachedDenials(backend)
		require.True(t, ok)
		require.Zero(t, count)
		_, ok = CachedDenials(newMemory(1))
		require.False(t, ok)
	})
}

func TestAForcedChargeGoesToRedis(t *testing.T) {
	onFakeRedis(t, func(t *testing.T, p *fakeRedis, backend *redisBackend, algorithm Algorithm) {
		q := Quota{Key: "k", Algorithm: algorithm, Limit: 1, Per: time.Hour, Cost: 1}
		p.takeRemote(t, backend, true, q)
		p.takeRemote(t, backend, false, q)
		forced := q
		forced.Forced = true
		p.takeRemote(t, backend, true, forced)
		p.takeRemote(t, backend, false, q)
		p.takeCached(t, backend, q)
	})
}

// Another process may have freed the units, which this process cannot see.
func TestACachedDenialExpires(t *testing.T) {
	onFakeRedis(t, func(t *testing.T, p *fakeRedis, backend *redisBackend, algorithm Algorithm) {
		other := p.backend(t)
		q := Quota{Key: "k", Algorithm: algorithm, Limit: 1, Per: 24 * time.Hour, Cost: 1}
		p.takeRemote(t, backend, true, q)
		for range 3 {
			p.takeRemote(t, backend, false, q)
			elapse(denialTTL - time.Microsecond)
			p.takeCached(t, backend, q)
			elapse(time.Microsecond)
		}
		p.takeRemote(t, backend, false, q)
		require.NoError(t, other.Reset(t.Context(), "k", ""))
		elapse(denialTTL)
		p.takeRemote(t, backend, true, q)
	})
}

func TestSeveralLimitsAreDeniedFromTheCacheWhenAllOfThemAreKnown(t *testing.T) {
	onFakeRedis(t, func(t *testing.T, p *fakeRedis, backend *redisBackend, algorithm Algorithm) {
		wide := Quota{Key: "wide", Algorithm: algorithm, Limit: 9, Per: time.Hour, Cost: 1}
		narrow := Quota{Key: "narrow", Algorithm: algorithm, Limit: 1, Per: time.Hour, Cost: 1}
		daily, shadow := narrow, narrow
		daily.Per, shadow.Shadow = 24*time.Hour, true
		both := []Quota{wide, narrow}
		for want := range 2 {
			trips, verdicts := p.takeCounted(t, backend, both...)
			require.EqualValues(t, 1, trips)
			require.Equal(t, want == 0, verdicts[1].Allowed)
		}
		truth := p.truth(t, both...)
		trips, verdicts := p.takeCounted(t, backend, both...)
		require.Zero(t, trips)
		require.Equal(t, truth, verdicts)
		require.True(t, verdicts[0].Allowed)
		require.EqualValues(t, 8, verdicts[0].Remaining)

		p.takeCached(t, backend, narrow)
		trips, _ = p.takeCounted(t, backend, wide, narrow, daily)
		require.EqualValues(t, 1, trips, "one of them is not cached yet")
		trips, _ = p.takeCounted(t, backend, narrow, daily, wide)
		require.Zero(t, trips)
		trips, _ = p.takeCounted(t, backend, narrow, narrow)
		require.EqualValues(t, 1, trips, "they share a counter")

		for want := range 3 {
			trips, verdicts = p.takeCounted(t, backend, shadow)
			require.EqualValues(t, 1, trips, "a shadow does not deny")
			require.Equal(t, want == 0, verdicts[0].Allowed)
		}
	})
}

func TestEveryDecisionGoesToRedisWithoutLocalDenials(t *testing.T) {
	onFakeRedis(t, func(t *testing.T, p *fakeRedis, backend *redisBackend, algorithm Algorithm) {
		backend.denials = nil
		q := Quota{Key: "k", Algorithm: algorithm, Limit: 1, Per: time.Hour, Cost: 1}
		for i := range 5 {
			p.takeRemote(t, backend, i == 0, q)
		}
		require.NoError(t, backend.Reset(t.Context(), "k", ""))
		p.takeRemote(t, backend, true, q)
	})
}

func TestTheCacheOfDenialsIsBounded(t *testing.T) {
	onFakeRedis(t, func(t *testing.T, p *fakeRedis, backend *redisBackend, algorithm Algorithm) {
		none := Quota{Key: "k", Algorithm: algorithm, Per: time.Hour, Cost: 1}
		for i := range 2 * denialShards * denialsPerShard {
			none.Scope = strconv.Itoa(i)
			p.takeCounted(t, backend, none)
		}
		for i := range 10 * denialsPerSubject {
			none.Per += time.Duration(i) * time.Second
			p.takeCounted(t, backend, none)
		}
		p.takeCached(t, backend, none)
		subjects := 0
		for i := range backend.denials.shards {
			subjects += len(backend.denials.shards[i].denied)
			for _, list := range backend.denials.shards[i].denied {
				require.LessOrEqual(t, len(list), denialsPerSubject)
			}
		}
		require.LessOrEqual(t, subjects, denialShards*denialsPerShard)
		require.Greater(t, subjects, denialShards*denialsPerShard/2, "but not much smaller than allowed")
	})
}
