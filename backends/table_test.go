package backends

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// inUse counts the entries of a table and their nodes one by one.
func (t *table) inUse() (entries, nodes int) {
	for g := range t.groups {
		for n := t.heads.at(g); ; n = t.extra.at(n.next) {
			nodes++
			for _, hash := range n.hash {
				if hash != 0 {
					entries++
				}
			}
			if n.next == 0 {
				break
			}
		}
	}
	return entries, nodes
}

// A tiny table, in which new clients evict each other even within one Take, stays
// consistent and never exceeds its budget of nodes.
func TestAFullTableStaysConsistent(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC).UnixMicro()
		m := newMemoryOn(rapid.IntRange(1, 40).Draw(rt, "max_keys"), func() int64 { return now })
		budget := m.shards[0].budget
		for range rapid.IntRange(1, 60).Draw(rt, "takes") {
			now += rapid.Int64Range(0, 30_000_000).Draw(rt, "step")
			quotas := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Quota {
				return Quota{
					Key: "k", Scope: strconv.Itoa(rapid.IntRange(0, 200).Draw(t, "scope")),
					Algorithm: Algorithm(rapid.IntRange(0, int(algorithmCount)-1).Draw(t, "algorithm")),
					Limit:     5, Per: time.Minute, Cost: rapid.Int64Range(-2, 5).Draw(t, "cost"),
				}
			}), 1, 12).Draw(rt, "quotas")
			verdicts := make([]Verdict, len(quotas))
			require.NoError(rt, m.Take(t.Context(), quotas, verdicts))
			for i, v := range verdicts {
				require.LessOrEqual(rt, v.Remaining, int64(5), "%+v", quotas[i])
				require.GreaterOrEqual(rt, v.Remaining, int64(0))
			}
			if rapid.IntRange(0, 9).Draw(rt, "reset") == 0 {
				require.NoError(rt, m.Reset(t.Context(), quotas[0].Key, quotas[0].Scope))
			}
			for i := range m.shards {
				for _, table := range m.shards[i].tables {
					entries, nodes := table.inUse()
					require.Equal(rt, int(table.keys), entries, "entries in use")
					require.LessOrEqual(rt, nodes, budget)
					require.GreaterOrEqual(rt, table.budget, 0)
					require.LessOrEqual(rt, len(table.logs)-1-len(table.unusedLogs), entries, "every log has an entry")
				}
			}
		}
	})
}
