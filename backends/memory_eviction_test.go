package backends

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// neighbours returns clients that share the only full group of a table with max_keys 1. Its
// two groups differ in the last bit of the hash.
func (a *attack) neighbours(count int) (clients []string) {
	for n := 0; len(clients) < count; n++ {
		name := fmt.Sprint("client", n)
		if mixHashes(hashText(a.quota.Key), hashText(name))%2 == 0 {
			clients = append(clients, name)
		}
	}
	return clients
}

// spending are the ways in which a client can take a number of units.
var spending = map[string]func(a *attack, client string, units int64) Verdict{
	"one by one": func(a *attack, client string, units int64) (v Verdict) {
		for range units {
			v = a.takeCost(client, 1)
		}
		return v
	},
	"in one request":                 func(a *attack, client string, units int64) Verdict { return a.takeCost(client, units) },
	"in one request with two limits": (*attack).takeWithTwoLimits,
	"in two requests with two limits": func(a *attack, client string, units int64) Verdict {
		if units > 1 {
			a.takeWithTwoLimits(client, 1)
			units--
		}
		return a.takeWithTwoLimits(client, units)
	},
}

func (a *attack) takeWithTwoLimits(client string, cost int64) Verdict {
	quota := a.quota
	quota.Scope, quota.Cost = client, cost
	monthly := quota
	monthly.Limit, monthly.Per = MaxLimit, 30*24*time.Hour
	verdicts := make([]Verdict, 2)
	require.NoError(a.t, a.backend.Take(a.t.Context(), []Quota{quota, monthly}, verdicts))
	return verdicts[0]
}

func (a *attack) takeCost(client string, cost int64) Verdict {
	quotas, verdicts := []Quota{a.quota}, make([]Verdict, 1)
	quotas[0].Scope, quotas[0].Cost = client, cost
	require.NoError(a.t, a.backend.Take(a.t.Context(), quotas, verdicts))
	return verdicts[0]
}

func (a *attack) evictions() uint64 {
	stats, _ := Stats(a.backend)
	return stats.Evictions
}

func eachWayOfSpending(t *testing.T, test func(t *testing.T, a *attack, spend func(a *attack, client string, units int64) Verdict)) {
	for way, spend := range spending {
		t.Run(way, func(t *testing.T) {
			eachAlgorithm(t, func(t *testing.T, algorithm Algorithm) {
				a := newAttack(t, algorithm, 1)
				a.quota.Limit = 10
				test(t, a, spend)
			})
		})
	}
}

func TestANewClientEvictsTheOneThatHasUsedTheLeastAndStartsWithItsUsage(t *testing.T) {
	eachWayOfSpending(t, func(t *testing.T, a *attack, spend func(a *attack, client string, units int64) Verdict) {
		used := []int64{6, 3, 5, 2, 4}
		clients := a.neighbours(len(used) + 1)
		for i, units := range used {
			require.Equal(t, 10-units, spend(a, clients[i], units).Remaining)
		}
		require.Zero(t, a.evictions())
		limits := uint64(len(a.backend.shards[0].tables))
		require.EqualValues(t, 10-2-1, spend(a, clients[5], 1).Remaining, "the fourth client had used 2")
		require.Equal(t, limits, a.evictions(), "one for each limit")
		for _, kept := range []int{0, 1, 2, 4, 5} {
			remaining := a.takeCost(clients[kept], 0).Remaining
			require.Equal(t, 10-append(used, 3)[kept], remaining, "client %d keeps its usage", kept)
		}
		require.EqualValues(t, 10-3-1, a.takeCost(clients[3], 1).Remaining, "the evicted client evicts one that has used 3")
		require.Equal(t, limits+1, a.evictions())
	})
}

// A new client gets exactly the verdicts that the evicted one would have got.
func TestANewClientContinuesWhereTheEvictedOneWas(t *testing.T) {
	eachAlgorithm(t, func(t *testing.T, algorithm Algorithm) {
		for _, used := range []int64{2, 9} {
			a, roomy := newAttack(t, algorithm, 1), newAttack(t, algorithm, 1000)
			a.quota.Limit, roomy.quota.Limit = 10, 10
			clients := a.neighbours(6)
			for _, client := range clients[:5] {
				a.takeCost(client, used)
			}
			roomy.takeCost("evicted", used)
			a.now += time.Minute.Microseconds()
			roomy.now = a.now
			require.Equal(t, roomy.takeCost("evicted", 0), a.takeCost(clients[5], 0), "a peek shows what is left")
			require.Equal(t, roomy.takeCost("evicted", 1), a.takeCost(clients[5], 1), "after %d", used)
		}
	})
}

func TestANewClientGetsOneRequestWhateverItCosts(t *testing.T) {
	for _, way := range []string{"in one request", "in one request with two limits"} {
		eachAlgorithm(t, func(t *testing.T, algorithm Algorithm) {
			a := newAttack(t, algorithm, 1)
			for _, client := range a.neighbours(20) {
				require.True(t, spending[way](a, client, a.quota.Limit).Allowed, way)
				require.False(t, spending[way](a, client, 1).Allowed)
			}
		})
	}
}

func TestOnlyAChargeEvicts(t *testing.T) {
	for what, cost := range map[string]int64{"a peek": 0, "a refund": -1, "a denied charge": 11} {
		t.Run(what, func(t *testing.T) {
			eachWayOfSpending(t, func(t *testing.T, a *attack, spend func(a *attack, client string, units int64) Verdict) {
				clients := a.neighbours(6)
				for _, client := range clients[:5] {
					spend(a, client, 1)
				}
				a.takeCost(clients[5], cost)
				none := a.quota
				none.Key, none.Limit, none.Scope = "none", 0, clients[5]
				other := a.quota
				other.Scope, other.Cost = clients[5], cost
				require.NoError(t, a.backend.Take(t.Context(), []Quota{other, none}, make([]Verdict, 2)))
				if cost < 1 {
					none.Cost = 0
				}
				require.NoError(t, a.backend.Take(t.Context(), []Quota{other, none}, make([]Verdict, 2)))
				require.Zero(t, a.evictions())
			})
		})
	}
}

func TestAnAllowedRequestEvictsNoRejectionsOfOthers(t *testing.T) {
	a := newAttack(t, SlidingWindow, 1)
	clients := a.neighbours(6)
	take := func(client string, limit int64) {
		quota, ban := a.quota, Quota{Key: a.quota.Key, Scope: client, Limit: 3, Per: time.Hour, Ban: time.Hour, Cost: 1}
		quota.Scope, quota.Limit = client, limit
		require.NoError(t, a.backend.Take(t.Context(), []Quota{quota, ban}, make([]Verdict, 2)))
	}
	for _, client := range clients[:5] {
		take(client, 0)
	}
	take(clients[5], 9)
	require.Zero(t, a.evictions())
}

func TestAClientThatHasUsedItsLimitIsNotEvicted(t *testing.T) {
	eachWayOfSpending(t, func(t *testing.T, a *attack, spend func(a *attack, client string, units int64) Verdict) {
		clients := a.neighbours(50)
		for _, client := range clients[:5] {
			require.Zero(t, spend(a, client, 10).Remaining)
		}
		for _, client := range clients[5:] {
			require.True(t, spend(a, client, 1).Allowed)
			require.False(t, a.takeCost(client, 1).Allowed, "new clients share one entry, with one request each")
		}
		for _, client := range clients[:4] {
			require.False(t, a.takeCost(client, 1).Allowed)
		}
	})
}

// A client with fewer units than its requests cost is denied, so a flood must not free it.
func TestADeniedClientIsNotEvictedAlthoughItHasUnitsLeft(t *testing.T) {
	for name, shadow := range map[string]bool{"enforced": false, "shadow": true} {
		t.Run(name, func(t *testing.T) {
			eachWayOfSpending(t, func(t *testing.T, a *attack, spend func(a *attack, client string, units int64) Verdict) {
				a.quota.Shadow = shadow
				clients := a.neighbours(50)
				for _, client := range clients[:5] {
					require.EqualValues(t, 2, spend(a, client, 8).Remaining)
					require.False(t, spend(a, client, 4).Allowed)
				}
				for _, client := range clients[5:] {
					require.True(t, a.takeCost(client, 3).Allowed)
				}
				for _, client := range clients[:4] {
					require.False(t, a.takeCost(client, 3).Allowed)
				}
			})
		})
	}
}
