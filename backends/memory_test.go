package backends

import (
	"context"
	"fmt"
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
