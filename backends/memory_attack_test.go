package backends

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// attack is a memory backend with a clock that stands still and a table small enough to be
// flooded.
type attack struct {
	t       *testing.T
	backend *Memory
	quota   Quota
	now     int64
}

func newAttack(t *testing.T, algorithm Algorithm, maxKeys int) *attack {
	a := &attack{t: t, now: time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC).UnixMicro()}
	a.backend = newMemoryOn(maxKeys, func() int64 { return a.now })
	a.quota = Quota{Key: "login", Algorithm: algorithm, Limit: 5, Per: time.Hour, Cost: 1}
	return a
}

// take makes requests of one client and counts those that are allowed.
func (a *attack) take(client string, requests int) (allowed int) {
	quotas, verdicts := []Quota{a.quota}, make([]Verdict, 1)
	quotas[0].Scope = client
	for range requests {
		require.NoError(a.t, a.backend.Take(a.t.Context(), quotas, verdicts))
		if verdicts[0].Allowed {
			allowed++
		}
	}
	return allowed
}

func eachAlgorithm(t *testing.T, test func(t *testing.T, algorithm Algorithm)) {
	for algorithm := range algorithmCount {
		t.Run(algorithm.String(), func(t *testing.T) { test(t, algorithm) })
	}
}

func TestAFloodOfMadeUpKeysFreesNoClientAtItsLimit(t *testing.T) {
	const maxKeys, victims = 4096 / fewer, 100 / fewer
	for name, requests := range map[string]int{"one request each": 1, "many requests each": 6} {
		t.Run(name, func(t *testing.T) {
			eachAlgorithm(t, func(t *testing.T, algorithm Algorithm) {
				a := newAttack(t, algorithm, maxKeys)
				for v := range victims {
					require.Equal(t, 5, a.take(fmt.Sprint("victim", v), 6))
				}
				regained, least, newClients := 0, 99, 0
				for wave := range 10 {
					for i := range 2 * maxKeys {
						got := a.take(fmt.Sprint("made-up", wave, i), requests)
						least = min(least, got)
						newClients++
					}
					for v := range victims {
						regained += a.take(fmt.Sprint("victim", v), 1)
					}
				}
				stats, _ := Stats(a.backend)
				t.Logf("%d new clients, %d evictions, %d victims regained %d requests; a new client got at least %d",
					newClients, stats.Evictions, victims, regained, least)
				require.Equal(t, 1, least, "a new client gets at least one request")
				require.Zero(t, regained)
			})
		})
	}
}

// The same clients make the same requests to a flooded backend and to another one. No
// client may ever get more requests from the flooded one.
func TestAFloodNeverGivesAClientMoreRequests(t *testing.T) {
	const maxKeys, victims, waves = 2048 / fewer, 50, 80
	eachAlgorithm(t, func(t *testing.T, algorithm Algorithm) {
		flooded, quiet := newAttack(t, algorithm, maxKeys), newAttack(t, algorithm, maxKeys)
		quiet.now = flooded.now
		gained := make([]int, victims)
		for wave := range waves {
			for v := range victims {
				name := fmt.Sprint("victim", v)
				gained[v] += flooded.take(name, 7) - quiet.take(name, 7)
				require.LessOrEqual(t, gained[v], 0, "wave %d", wave)
			}
			for i := range maxKeys {
				flooded.take(fmt.Sprint("made-up", wave, i), 1+i%7)
			}
			pause := flooded.quota.Per.Microseconds() / 17
			flooded.now += pause
			quiet.now += pause
		}
	})
}

// The rate of wrong decisions of a full table is measured at each load with clients under,
// at and over their limit, by comparison with a table that has room for all.
func TestTheRateOfWrongDecisionsIsBoundedAtEachLoad(t *testing.T) {
	const maxKeys, rounds = 20_000 / fewer, 8
	for _, percent := range []int{50, 80, 90, 100, 110, 125, 150, 200} {
		tight, wide := newAttack(t, SlidingWindow, maxKeys), newAttack(t, SlidingWindow, 20*maxKeys)
		wide.now = tight.now
		clients := maxKeys * percent / 100
		var rejected, admitted, all int
		for round := range rounds {
			for client := range clients {
				if client%rounds < round { // some clients stay under their limit, some exceed it
					continue
				}
				got, due := tight.take(fmt.Sprint(client), 1), wide.take(fmt.Sprint(client), 1)
				all++
				rejected += max(0, due-got)
				admitted += max(0, got-due)
			}
		}
		stats, _ := Stats(tight.backend)
		t.Logf("load %3d %%: %.3f %% of requests rejected wrongly, %.3f %% admitted wrongly, %d evictions",
			percent, 100*float64(rejected)/float64(all), 100*float64(admitted)/float64(all), stats.Evictions)
		if percent <= 80 {
			require.Zero(t, rejected+admitted, "at %d %%", percent)
		} else if percent <= 100 { // some shards are fuller than others
			require.Less(t, rejected+admitted, all/100, "at %d %%", percent)
		}
		require.LessOrEqual(t, len(tight.backend.shards)*tight.nodes(), maxKeys*305/1000+2*len(tight.backend.shards))
	}
}

// nodes returns the most nodes created by a shard.
func (a *attack) nodes() (most int) {
	for i := range a.backend.shards {
		for _, table := range a.backend.shards[i].tables {
			most = max(most, int(table.groups+table.overflowMade))
		}
	}
	return most
}
