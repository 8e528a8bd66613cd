package backends

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// onLeases runs a test in virtual time with each algorithm that has leases, on a backend
// that leases ten units at once. A window of an hour has just begun.
func onLeases(t *testing.T, test func(t *testing.T, p *fakeRedis, backend *redisBackend, q Quota)) {
	for _, algorithm := range []Algorithm{SlidingWindow, FixedWindow} {
		t.Run(algorithm.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newFakeRedis()
				backend := p.backend(t)
				backend.leases = newLeases(10)
				t.Cleanup(func() { backend.leases = nil }) // Close would refund units to a real server
				elapse(time.Until(time.Now().Truncate(time.Hour).Add(time.Hour)))
				test(t, p, backend, Quota{Key: "k", Algorithm: algorithm, Limit: 100, Per: time.Hour, Cost: 1})
			})
		})
	}
}

// takeLeased checks that a unit comes from a lease.
func (p *fakeRedis) takeLeased(t *testing.T, backend Backend, q Quota) Verdict {
	t.Helper()
	trips, verdicts := p.takeCounted(t, backend, q)
	require.Zero(t, trips, "from the lease")
	require.True(t, verdicts[0].Allowed)
	return verdicts[0]
}

func TestTheVerdictOnALeasedUnitFollowsTheClock(t *testing.T) {
	onLeases(t, func(t *testing.T, p *fakeRedis, backend *redisBackend, q Quota) {
		p.latencyThere, p.latencyBack = 10*time.Millisecond, 10*time.Millisecond
		p.takeRemote(t, backend, true, q)
		peek := q
		peek.Cost = 0
		for n := range int64(9) {
			elapse(time.Minute)
			is := p.truth(t, peek)[0]
			verdict := p.takeLeased(t, backend, q)
			require.Equal(t, 98-n, verdict.Remaining)
			require.InDelta(t, is.ResetAfter, verdict.ResetAfter, float64(p.latencyBack))
		}
	})
}

// The window of the server decides, to the microsecond.
func TestALeaseIsSpentUntilItsWindowEnds(t *testing.T) {
	onLeases(t, func(t *testing.T, p *fakeRedis, backend *redisBackend, q Quota) {
		p.takeRemote(t, backend, true, q)
		elapse(time.Hour - time.Microsecond)
		p.takeLeased(t, backend, q)
		elapse(time.Microsecond)
		p.takeRemote(t, backend, true, q)
		p.takeLeased(t, backend, q)
	})
}

func TestLeasesOfConcurrentCallsAddUp(t *testing.T) {
	onLeases(t, func(t *testing.T, p *fakeRedis, backend *redisBackend, q Quota) {
		p.latencyThere = time.Second
		request := func() {
			verdicts := make([]Verdict, 1)
			assert.NoError(t, backend.Take(t.Context(), []Quota{q}, verdicts))
			assert.True(t, verdicts[0].Allowed)
		}
		first, second := inBackground(request), inBackground(request)
		<-first
		<-second
		for range 18 {
			p.takeLeased(t, backend, q)
		}
		require.EqualValues(t, 79, p.takeRemote(t, backend, true, q).Remaining)
	})
}

func TestTheStockOfLeasesIsBounded(t *testing.T) {
	onLeases(t, func(t *testing.T, p *fakeRedis, backend *redisBackend, q Quota) {
		for n, stored := 0, 0; stored < leasesPerShard+10; n++ {
			q.Scope = strconv.Itoa(n)
			if hashSubject(q.Key, q.Scope)%leaseShards != 0 {
				continue // in another shard
			}
			p.takeRemote(t, backend, true, q)
			stored++
		}
		p.takeLeased(t, backend, q)
		require.Len(t, backend.leases.shards[0].stock, leasesPerShard)
	})
}
