package backends

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// onPretended runs a test for each algorithm, on virtual time.
func onPretended(t *testing.T, test func(t *testing.T, p *pretended, backend *redisBackend, algorithm Algorithm)) {
	for algorithm := range algorithms {
		t.Run(algorithm.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPretended()
				test(t, p, p.backend(t), algorithm)
			})
		})
	}
}

// asked checks that a decision is as wanted, and that Redis was asked for it.
func (p *pretended) asked(t *testing.T, backend Backend, allowed bool, quota Quota) Verdict {
	t.Helper()
	trips, verdicts := p.asks(t, backend, quota)
	require.EqualValues(t, 1, trips, "it is asked")
	require.Equal(t, allowed, verdicts[0].Allowed)
	return verdicts[0]
}

// deniedAtOnce checks that a decision is a denial that took no trip.
func (p *pretended) deniedAtOnce(t *testing.T, backend Backend, quota Quota) Verdict {
	t.Helper()
	truth := p.truth(t, quota)[0]
	trips, verdicts := p.asks(t, backend, quota)
	require.Zero(t, trips, "it is not asked")
	require.False(t, verdicts[0].Allowed)
	require.Equal(t, truth, verdicts[0])
	return verdicts[0]
}

// Another process may give back at any moment what a tentative limit was denied for.
func TestADenialOfATentativeLimitIsNotRemembered(t *testing.T) {
	onPretended(t, func(t *testing.T, p *pretended, backend *redisBackend, algorithm Algorithm) {
		other := p.backend(t)
		q := Quota{Key: "k", Algorithm: algorithm, Limit: 1, Per: time.Hour, Cost: 1, Tentative: true}
		receipt := p.asked(t, other, true, q).Receipt
		p.asked(t, backend, false, q)
		p.asked(t, backend, false, q)
		refund := q
		refund.Cost, refund.Receipt = -1, receipt
		p.asked(t, other, true, refund)
		p.asked(t, backend, true, q)
	})
}

func TestWhatRedisHasDeniedIsDeniedWithoutATripUntilTheTimeItTold(t *testing.T) {
	onPretended(t, func(t *testing.T, p *pretended, backend *redisBackend, algorithm Algorithm) {
		q := Quota{Key: "k", Algorithm: algorithm, Limit: 5, Per: 3 * time.Second, Cost: 1}
		for range 5 {
			p.asked(t, backend, true, q)
		}
		wait := p.asked(t, backend, false, q).RetryAfter
		require.Positive(t, wait)
		count, _ := CachedDenials(backend)
		require.Zero(t, count, "so far all were asked")
		require.Equal(t, wait, p.deniedAtOnce(t, backend, q).RetryAfter)
		count, _ = CachedDenials(backend)
		require.EqualValues(t, 1, count)
		elapse(wait - time.Microsecond)
		require.Equal(t, time.Microsecond, p.deniedAtOnce(t, backend, q).RetryAfter)
		elapse(time.Microsecond)
		p.asked(t, backend, true, q)
	})
}

func TestADenialOfOneCostIsADenialOfThoseThatDoNotFitEither(t *testing.T) {
	onPretended(t, func(t *testing.T, p *pretended, backend *redisBackend, algorithm Algorithm) {
		q := Quota{Key: "k", Algorithm: algorithm, Limit: 10, Per: time.Hour, Cost: 8}
		p.asked(t, backend, true, q)
		q.Cost = 5
		p.asked(t, backend, false, q)
		for _, cost := range []int64{3, 9, 10} {
			q.Cost = cost
			p.deniedAtOnce(t, backend, q)
		}
		q.Cost = 11
		require.Negative(t, p.deniedAtOnce(t, backend, q).RetryAfter, "no waiting will help")
		q.Cost = 0
		p.asked(t, backend, true, q)
		q.Cost = 2
		p.asked(t, backend, true, q)
		q.Cost = 1
		p.asked(t, backend, false, q)
		p.deniedAtOnce(t, backend, q)
	})
}

func TestARaisedLimitIsAskedAtOnce(t *testing.T) {
	onPretended(t, func(t *testing.T, p *pretended, backend *redisBackend, algorithm Algorithm) {
		q := Quota{Key: "k", Algorithm: algorithm, Limit: 5, Per: 3 * time.Second, Cost: 5}
		p.asked(t, backend, true, q)
		q.Cost = 1
		p.asked(t, backend, false, q)
		lower, higher, other := q, q, q
		lower.Limit, higher.Limit, other.Per = 4, 10, time.Hour
		elapse(400 * time.Millisecond) // a token of ten in three seconds, and none of five
		p.deniedAtOnce(t, backend, lower)
		p.asked(t, backend, true, other)
		p.asked(t, backend, false, q)
		p.asked(t, backend, true, higher)
	})
}

// Under the limit before, others may have been admitted since the denial.
func TestALoweredLimitIsAskedWhereTheDenialUnderTheOldOneIsOver(t *testing.T) {
	onPretended(t, func(t *testing.T, p *pretended, backend *redisBackend, algorithm Algorithm) {
		other := p.backend(t)
		high := Quota{Key: "k", Algorithm: algorithm, Limit: 10, Per: 8 * time.Second, Cost: 1}
		for range high.Limit {
			p.asked(t, other, true, high)
		}
		elapse(p.asked(t, backend, false, high).RetryAfter)
		p.asked(t, other, true, high)
		low := high
		low.Limit = 5
		truth := p.truth(t, low)[0]
		_, verdicts := p.asks(t, backend, low)
		require.Equal(t, truth, verdicts[0])
	})
}

func TestWhatThisProcessResetsOrGivesBackIsFreeAtOnce(t *testing.T) {
	onPretended(t, func(t *testing.T, p *pretended, backend *redisBackend, algorithm Algorithm) {
		q := Quota{Key: "k", Scope: "s", Algorithm: algorithm, Limit: 1, Per: time.Hour, Cost: 1}
		refund := q
		refund.Cost = -1
		p.asked(t, backend, true, q)
		p.asked(t, backend, false, q)
		p.deniedAtOnce(t, backend, q)
		p.asked(t, backend, true, refund)
		p.asked(t, backend, true, q)
		p.asked(t, backend, false, q)
		require.NoError(t, backend.Reset(t.Context(), "k", "s"))
		p.asked(t, backend, true, q)
	})
}

// While a refund or a reset is on its way, others may see already that it is free.
func TestADenialIsNotBelievedWhileARefundIsUnderWay(t *testing.T) {
	onFreeing(t, func(t *testing.T, p *pretended, backend *redisBackend, q Quota, free func()) {
		p.asked(t, backend, true, q)
		p.asked(t, backend, false, q)
		p.there, p.back = 10*time.Millisecond, 10*time.Millisecond
		freed := inBackground(free)
		elapse(11 * time.Millisecond) // the server has freed it by now
		p.asked(t, backend, true, q)
		<-freed
	})
}

func TestADenialThatARefundHasOvertakenIsNotRemembered(t *testing.T) {
	onFreeing(t, func(t *testing.T, p *pretended, backend *redisBackend, q Quota, free func()) {
		p.asked(t, backend, true, q)
		p.back = time.Second
		denied := inBackground(func() {
			verdicts := make([]Verdict, 1)
			assert.NoError(t, backend.Take(t.Context(), []Quota{q}, verdicts))
			assert.False(t, verdicts[0].Allowed)
		})
		p.back = time.Millisecond
		free()
		<-denied
		p.asked(t, backend, true, q)
	})
}

// onFreeing runs a test for each way in which a process frees what was denied.
func onFreeing(t *testing.T, test func(t *testing.T, p *pretended, backend *redisBackend, q Quota, free func())) {
	onPretended(t, func(t *testing.T, p *pretended, backend *redisBackend, algorithm Algorithm) {
		q := Quota{Key: "refund", Algorithm: algorithm, Limit: 1, Per: time.Hour, Cost: 1}
		test(t, p, backend, q, func() {
			refund := []Quota{q}
			refund[0].Cost = -1
			assert.NoError(t, backend.Take(t.Context(), refund, make([]Verdict, 1)))
		})
		p.there, p.back = 0, 0
		q.Key = "reset"
		test(t, p, backend, q, func() { assert.NoError(t, backend.Reset(t.Context(), "reset", "")) })
	})
}

// inBackground begins something, and tells when it is done.
func inBackground(what func()) (done chan struct{}) {
	done = make(chan struct{})
	go func() {
		defer close(done)
		what()
	}()
	synctest.Wait()
	return done
}

func TestAForcedChargeGoesToRedis(t *testing.T) {
	onPretended(t, func(t *testing.T, p *pretended, backend *redisBackend, algorithm Algorithm) {
		q := Quota{Key: "k", Algorithm: algorithm, Limit: 1, Per: time.Hour, Cost: 1}
		p.asked(t, backend, true, q)
		p.asked(t, backend, false, q)
		forced := q
		forced.Forced = true
		p.asked(t, backend, true, forced)
		p.asked(t, backend, false, q)
		p.deniedAtOnce(t, backend, q)
	})
}

// Somebody else may have freed it, which this process cannot see.
func TestADenialIsNotBelievedForEver(t *testing.T) {
	onPretended(t, func(t *testing.T, p *pretended, backend *redisBackend, algorithm Algorithm) {
		other := p.backend(t)
		q := Quota{Key: "k", Algorithm: algorithm, Limit: 1, Per: 24 * time.Hour, Cost: 1}
		p.asked(t, backend, true, q)
		for range 3 {
			p.asked(t, backend, false, q)
			elapse(trust - time.Microsecond)
			p.deniedAtOnce(t, backend, q)
			elapse(time.Microsecond)
		}
		p.asked(t, backend, false, q)
		require.NoError(t, other.Reset(t.Context(), "k", ""))
		elapse(trust)
		p.asked(t, backend, true, q)
	})
}

func TestSeveralLimitsAreDeniedWithoutATripWhenAllOfThemAreKnown(t *testing.T) {
	onPretended(t, func(t *testing.T, p *pretended, backend *redisBackend, algorithm Algorithm) {
		wide := Quota{Key: "wide", Algorithm: algorithm, Limit: 9, Per: time.Hour, Cost: 1}
		narrow := Quota{Key: "narrow", Algorithm: algorithm, Limit: 1, Per: time.Hour, Cost: 1}
		daily, shadow := narrow, narrow
		daily.Per, shadow.Shadow = 24*time.Hour, true
		both := []Quota{wide, narrow}
		for want := range 2 {
			trips, verdicts := p.asks(t, backend, both...)
			require.EqualValues(t, 1, trips)
			require.Equal(t, want == 0, verdicts[1].Allowed)
		}
		truth := p.truth(t, both...)
		trips, verdicts := p.asks(t, backend, both...)
		require.Zero(t, trips)
		require.Equal(t, truth, verdicts)
		require.True(t, verdicts[0].Allowed)
		require.EqualValues(t, 8, verdicts[0].Remaining)

		p.deniedAtOnce(t, backend, narrow)
		trips, _ = p.asks(t, backend, wide, narrow, daily)
		require.EqualValues(t, 1, trips, "one of them is not known yet")
		trips, _ = p.asks(t, backend, narrow, daily, wide)
		require.Zero(t, trips)
		trips, _ = p.asks(t, backend, narrow, narrow)
		require.EqualValues(t, 1, trips, "the second is decided on what the first leaves")

		for want := range 3 {
			trips, verdicts = p.asks(t, backend, shadow)
			require.EqualValues(t, 1, trips, "a shadow limit denies nothing")
			require.Equal(t, want == 0, verdicts[0].Allowed)
		}
	})
}

func TestEveryDecisionIsAskedWhereDenialsAreNotRemembered(t *testing.T) {
	onPretended(t, func(t *testing.T, p *pretended, backend *redisBackend, algorithm Algorithm) {
		backend.denials = nil
		q := Quota{Key: "k", Algorithm: algorithm, Limit: 1, Per: time.Hour, Cost: 1}
		for i := range 5 {
			p.asked(t, backend, i == 0, q)
		}
		require.NoError(t, backend.Reset(t.Context(), "k", ""))
		p.asked(t, backend, true, q)
	})
}

func TestWhatIsRememberedIsBounded(t *testing.T) {
	onPretended(t, func(t *testing.T, p *pretended, backend *redisBackend, algorithm Algorithm) {
		none := Quota{Key: "k", Algorithm: algorithm, Per: time.Hour, Cost: 1}
		for i := range 2 * denialShards * denialsPerShard {
			none.Scope = strconv.Itoa(i)
			p.asks(t, backend, none)
		}
		for i := range 10 * denialsOfSubject {
			none.Per += time.Duration(i) * time.Second
			p.asks(t, backend, none)
		}
		p.deniedAtOnce(t, backend, none)
		subjects := 0
		for i := range backend.denials.shards {
			subjects += len(backend.denials.shards[i].denied)
			for _, list := range backend.denials.shards[i].denied {
				require.LessOrEqual(t, len(list), denialsOfSubject)
			}
		}
		require.LessOrEqual(t, subjects, denialShards*denialsPerShard)
		require.Greater(t, subjects, denialShards*denialsPerShard/2, "and not much too little")
	})
}
