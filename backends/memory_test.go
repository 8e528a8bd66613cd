package backends

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestADecisionInMemoryDoesNotAllocate(t *testing.T) {
	eachAlgorithm(t, func(t *testing.T, algorithm Algorithm) {
		backend, err := NewMemory(nil)
		require.NoError(t, err)
		names := make([]string, 20_000)
		for i := range names {
			names[i] = fmt.Sprint("client", i)
		}
		quotas, verdicts := []Quota{{Key: "k", Algorithm: algorithm, Limit: 5, Per: time.Hour, Cost: 1}}, make([]Verdict, 1)
		next := 0
		takeNext := func() {
			quotas[0].Scope = names[next%len(names)]
			next++
			if err := backend.Take(t.Context(), quotas, verdicts); err != nil {
				t.Error(err)
			}
		}
		// The table itself grows now and then, which is far less than one allocation per
		// key.
		inserts := testing.AllocsPerRun(len(names)-1, takeNext)
		if algorithm == SlidingLog {
			require.LessOrEqual(t, inserts, 1.0, "its cells")
		} else {
			require.Zero(t, inserts, "an insert")
		}
		for range 2 * len(names) { // so that logs have grown their cells
			takeNext()
		}
		require.Zero(t, testing.AllocsPerRun(len(names), takeNext), "a hit")

		batch := []Quota{quotas[0], quotas[0], quotas[0]}
		batch[1].Per, batch[2].Scope = time.Minute, "another"
		answers := make([]Verdict, len(batch))
		take := func() {
			if err := backend.Take(t.Context(), batch, answers); err != nil {
				t.Error(err)
			}
		}
		take()
		require.Zero(t, testing.AllocsPerRun(100, take), "several limits")
	})
}

// Up to its size, a table evicts nothing, whatever is added and removed.
func TestATableBehavesLikeAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := int64(1 << 50)
		m := newMemoryOn(rapid.SampledFrom([]int{100, 1000, 100_000}).Draw(t, "max keys"), func() int64 { return now })
		used := map[string]int64{}
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			name := fmt.Sprint(rapid.IntRange(0, 60).Draw(t, "client"))
			if rapid.IntRange(0, 9).Draw(t, "reset") == 0 {
				require.NoError(t, m.Reset(context.Background(), "k", name))
				delete(used, name)
				continue
			}
			quotas := []Quota{{Key: "k", Scope: name, Algorithm: FixedWindow, Limit: 1000, Per: MaxPer, Cost: rapid.Int64Range(-3, 5).Draw(t, "cost")}}
			verdicts := make([]Verdict, 1)
			require.NoError(t, m.Take(context.Background(), quotas, verdicts))
			used[name] = max(0, used[name]+quotas[0].Cost)
			require.Equal(t, 1000-used[name], verdicts[0].Remaining, name)
			now += 1000
		}
	})
}

// A refund of everything drops the entry, and a later charge of the same Take creates it
// again.
func TestAChargeAfterARefundOfEverythingIsKept(t *testing.T) {
	eachAlgorithm(t, func(t *testing.T, algorithm Algorithm) {
		m := newMemoryOn(100, func() int64 { return 1 << 50 })
		charge := Quota{Key: "k", Scope: "s", Algorithm: algorithm, Limit: 5, Per: time.Hour, Cost: 1}
		refund, peek := charge, charge
		refund.Cost, peek.Cost = -1, 0
		verdicts := make([]Verdict, 2)
		for _, quotas := range [][]Quota{{charge}, {refund, charge}, {peek}} {
			require.NoError(t, m.Take(t.Context(), quotas, verdicts))
		}
		require.EqualValues(t, 4, verdicts[0].Remaining)
	})
}

func TestIdleKeysAreRemoved(t *testing.T) {
	now := int64(1 << 50)
	m := newMemoryOn(1<<20, func() int64 { return now })
	quotas, verdicts := []Quota{{Key: "k", Limit: 5, Per: time.Second, Cost: 1}}, make([]Verdict, 1)
	for i := range 200_000 { // 100 new clients per second
		quotas[0].Scope = fmt.Sprint(i)
		require.NoError(t, m.Take(t.Context(), quotas, verdicts))
		now += 10_000
	}
	stats, ok := Stats(m)
	require.True(t, ok)
	require.Less(t, stats.Keys, 10_000, "of 200,000 keys, 200 of which are not at their full limit")
	require.Zero(t, stats.Evictions)
}

// keys returns the number of stored limits.
func keys(t *testing.T, m *Memory) int {
	stats, ok := Stats(m)
	require.True(t, ok)
	return stats.Keys
}

func TestOnlyAChargeStoresAClient(t *testing.T) {
	eachAlgorithm(t, func(t *testing.T, algorithm Algorithm) {
		charge := Quota{Key: "k", Scope: "s", Algorithm: algorithm, Limit: 5, Per: time.Hour, Cost: 1}
		peek, refund, denied, shadow, elsewhere := charge, charge, charge, charge, charge
		peek.Cost, refund.Cost, denied.Cost, shadow.Cost = 0, -1, 6, 6
		shadow.Shadow, elsewhere.Scope = true, "another"
		ban := Quota{Key: "k", Scope: "s", Limit: 3, Per: time.Hour, Ban: time.Hour, Cost: 1}
		peekAtBan := ban
		peekAtBan.Cost = 0
		for _, test := range []struct {
			name   string
			quotas []Quota
			stored int
		}{
			{"a charge", []Quota{charge}, 1},
			{"a peek", []Quota{peek}, 0},
			{"a refund", []Quota{refund}, 0},
			{"a denied charge", []Quota{denied}, 0},
			{"a ban alone", []Quota{ban}, 0},
			{"two charges on one counter", []Quota{charge, charge}, 1},
			{"a charge and a peek", []Quota{charge, {Key: "k", Scope: "another", Algorithm: algorithm, Limit: 5, Per: time.Hour}}, 1},
			{"peeks and refunds", []Quota{peek, refund}, 0},
			{"charges of which one is denied", []Quota{elsewhere, denied}, 0},
			{"a denied shadow", []Quota{charge, shadow}, 1},
			{"a charge and its refund", []Quota{charge, refund}, 0},
			{"a ban without a rejection", []Quota{charge, ban}, 1},
			{"a rejection that counts", []Quota{denied, ban}, 1},
			{"a rejection that does not count", []Quota{denied, peekAtBan}, 0},
		} {
			t.Run(test.name, func(t *testing.T) {
				m := newMemory(100)
				require.NoError(t, m.Take(t.Context(), test.quotas, make([]Verdict, len(test.quotas))))
				require.Equal(t, test.stored, keys(t, m))
			})
		}
	})
}

func TestARefundOfEverythingRemovesTheClient(t *testing.T) {
	eachAlgorithm(t, func(t *testing.T, algorithm Algorithm) {
		charge := Quota{Key: "k", Scope: "s", Algorithm: algorithm, Limit: 5, Per: time.Hour, Cost: 3}
		part, rest := charge, charge
		part.Cost, rest.Cost = -1, -2
		other := charge
		other.Per, other.Cost = 24*time.Hour, 0
		for name, others := range map[string][]Quota{"alone": nil, "with another limit": {other}} {
			t.Run(name, func(t *testing.T) {
				m := newMemoryOn(100, func() int64 { return 1 << 50 })
				for i, quota := range []Quota{charge, part, rest} {
					quotas := append([]Quota{quota}, others...)
					require.NoError(t, m.Take(t.Context(), quotas, make([]Verdict, len(quotas))))
					require.Equal(t, []int{1, 1, 0}[i], keys(t, m))
				}
			})
		}
	})
}

// While no more than four fifths of max_keys are in use, no client is evicted.
func TestFourFifthsOfMaxKeysAlwaysFit(t *testing.T) {
	for _, test := range []struct{ maxKeys, tables int }{
		{2, 100}, {5, 100}, {8, 300}, {10, 100}, {13, 100}, {15, 300}, {30, 100}, {100, 50}, {1000, 5}, {1025, 5}, {70_000, 1},
	} {
		for range test.tables {
			m := newMemory(test.maxKeys)
			quotas, verdicts := []Quota{{Key: fmt.Sprint("key", rand.Uint64()), Limit: 5, Per: time.Hour, Cost: 1}}, make([]Verdict, 1)
			for i := range test.maxKeys * 4 / 5 {
				quotas[0].Scope = fmt.Sprint(i)
				require.NoError(t, m.Take(t.Context(), quotas, verdicts))
			}
			stats, _ := Stats(m)
			require.Equal(t, MemoryStats{Keys: test.maxKeys * 4 / 5}, stats, "max_keys %d", test.maxKeys)
		}
	}
}

// One quota and several take different paths, which must find the same counters.
func TestOneQuotaAndSeveralShareCounters(t *testing.T) {
	for _, scope := range []string{"", "s"} {
		for _, key := range []string{"", "k"} {
			m := newMemory(100)
			charge := Quota{Key: key, Scope: scope, Limit: 10, Per: time.Hour, Cost: 1}
			daily := charge
			daily.Per = 24 * time.Hour
			verdicts := make([]Verdict, 2)
			for want := int64(8); want >= 0; want -= 2 {
				require.NoError(t, m.Take(t.Context(), []Quota{charge}, verdicts))
				require.NoError(t, m.Take(t.Context(), []Quota{charge, daily}, verdicts))
				require.Equal(t, want, verdicts[0].Remaining, "key %q, scope %q", key, scope)
			}
		}
	}
}

func TestClientsThatHaveGoneAreRemovedAsOthersCome(t *testing.T) {
	now := int64(1 << 50)
	m := newMemoryOn(1024, func() int64 { return now })
	quotas, verdicts := []Quota{{Key: "k", Limit: 5, Per: time.Second, Cost: 1}}, make([]Verdict, 1)
	come := func(clients int) {
		for range clients {
			quotas[0].Scope = fmt.Sprint(rand.Uint64())
			require.NoError(t, m.Take(t.Context(), quotas, verdicts))
		}
	}
	come(256)
	require.Equal(t, 256, keys(t, m))
	now += 2 * time.Second.Microseconds()
	come(100)
	require.Equal(t, 100, keys(t, m))
}

func TestMemoryStaysWithinItsBound(t *testing.T) {
	const maxKeys = 100_000
	m := newMemory(maxKeys)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	quotas, verdicts := []Quota{{Key: "k", Limit: 5, Per: time.Hour, Cost: 1}}, make([]Verdict, 1)
	for i := range 3 * maxKeys {
		quotas[0].Scope = fmt.Sprint(i)
		require.NoError(t, m.Take(t.Context(), quotas, verdicts))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	require.Less(t, (int64(after.HeapAlloc)-int64(before.HeapAlloc))/maxKeys, int64(45), "bytes per key")
	runtime.KeepAlive(m)
}

func TestAFloodOnOnePeriodDoesNotAffectOthers(t *testing.T) {
	const maxKeys = 10_000
	m := newMemory(maxKeys)
	quotas, verdicts := []Quota{{Key: "k", Limit: 5, Per: time.Hour, Cost: 1}}, make([]Verdict, 1)
	for i := range 5 * maxKeys {
		quotas[0].Scope = fmt.Sprint(i)
		require.NoError(t, m.Take(t.Context(), quotas, verdicts))
	}
	flooded, _ := Stats(m)
	require.Positive(t, flooded.Evictions)
	quotas[0].Per = time.Minute
	for i := range maxKeys / 2 {
		quotas[0].Scope = fmt.Sprint(i)
		require.NoError(t, m.Take(t.Context(), quotas, verdicts))
		require.EqualValues(t, 4, verdicts[0].Remaining)
	}
	after, _ := Stats(m)
	require.Equal(t, flooded.Evictions, after.Evictions)
}
