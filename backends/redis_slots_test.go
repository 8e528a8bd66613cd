package backends

import (
	"strconv"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gin-ratelimiter/ratelimiter/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// oddText draws texts that could be mistaken for something else.
var oddText = rapid.OneOf(
	rapid.SampledFrom([]string{"", "{", "}", "{}", "{a}", "{b}x", ":", "::1", "a:1", "\r\n$3\r\n", "\x00", "\xff\xfe", " ", "ключ"}),
	rapid.StringOfN(rapid.RuneFrom([]rune("ab{}:0123\r\n\x00 ")), 0, 12, -1),
	rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 12), func(b []byte) string { return string(b) }),
)

type pair = [2]string

var oddPair = rapid.Custom(func(t *rapid.T) pair {
	return pair{oddText.Draw(t, "key"), oddText.Draw(t, "scope")}
})

// oddQuotas draws limits on a few pairs, in any order.
func oddQuotas(t *rapid.T, pairs []pair) []Quota {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Quota {
		of := rapid.SampledFrom(pairs).Draw(t, "pair")
		return Quota{
			Key: of[0], Scope: of[1],
			Algorithm: Algorithm(rapid.IntRange(0, int(algorithmCount)-1).Draw(t, "algorithm")),
			Limit:     rapid.Int64Range(1, 5).Draw(t, "limit"),
			Per:       time.Duration(rapid.IntRange(1, 3).Draw(t, "hours")) * time.Hour,
			Cost:      1, Shadow: rapid.Bool().Draw(t, "shadow"),
		}
	}), 1, 8).Draw(t, "quotas")
}

// One Redis key means one slot.
func TestAPairHasARedisKeyOfItsOwnForAllItsLimits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		quotas := oddQuotas(t, rapid.SliceOfN(oddPair, 1, 4).Draw(t, "pairs"))
		c := newCall(t.Context(), quotas, false)
		words := takeArgs(mergeCalls([]*call{c}))
		require.Equal(t, len(c.subjects), words[2])
		keys := words[3:]
		keyOf, pairOf := map[pair]any{}, map[any]pair{}
		for i, members := range c.subjects {
			for _, member := range members {
				of := pair{quotas[member].Key, quotas[member].Scope}
				if known, ok := keyOf[of]; ok {
					require.Equal(t, known, keys[i])
				}
				keyOf[of] = keys[i]
			}
			of := pair{quotas[members[0]].Key, quotas[members[0]].Scope}
			require.NotContains(t, pairOf, keys[i], "%q has the same key", pairOf[keys[i]])
			pairOf[keys[i]] = of
		}
	})
}

func TestDifferentPairsNeverShareARedisKey(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		one, other := oddPair.Draw(t, "one"), oddPair.Draw(t, "other")
		if rapid.Bool().Draw(t, "same text") { // split the same text elsewhere
			text := one[0] + ":" + one[1]
			at := rapid.IntRange(0, len(text)-1).Draw(t, "at")
			if text[at] == ':' {
				other = pair{text[:at], text[at+1:]}
			}
		}
		require.Equal(t, one == other, redisKey(one[0], one[1]) == redisKey(other[0], other[1]))
	})
}

// The model is the memory backend: decisions do not depend on where keys are stored.
func TestAClusterDecidesOddScopesLikeMemory(t *testing.T) {
	servers := redistest.Cluster(t, 3)
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{servers[0].Addr}, ContextTimeoutEnabled: true, DisableRoutingPolicies: true})
	t.Cleanup(func() { _ = client.Close() })
	backend, err := NewRedis(map[string]any{"client": client, "local_denials": false})
	require.NoError(t, err)
	nodes, histories := map[string]bool{}, 0
	rapid.Check(t, func(rt *rapid.T) {
		histories++
		memory, err := NewMemory(nil)
		require.NoError(rt, err)
		pairs := rapid.SliceOfN(oddPair, 1, 4).Draw(rt, "pairs")
		for i := range pairs { // unused pairs
			pairs[i][1] += strconv.Itoa(histories)
			node, err := client.MasterForKey(t.Context(), redisKey(pairs[i][0], pairs[i][1]))
			require.NoError(rt, err)
			nodes[node.Options().Addr] = true
		}
		for range 4 {
			quotas := oddQuotas(rt, pairs)
			ours, theirs := make([]Verdict, len(quotas)), make([]Verdict, len(quotas))
			require.NoError(rt, memory.Take(t.Context(), quotas, ours))
			require.NoError(rt, backend.Take(t.Context(), quotas, theirs))
			for i := range quotas {
				require.Equal(rt, ours[i].Allowed, theirs[i].Allowed, "%+v", quotas)
				require.Equal(rt, ours[i].Remaining, theirs[i].Remaining, "%+v", quotas)
			}
		}
		for _, of := range pairs {
			require.NoError(rt, backend.Reset(t.Context(), of[0], of[1]))
		}
	})
	require.Len(t, nodes, 3, "every node had keys")
}

func TestRemainingIsRightAfterRefundsOnASharedCounter(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	t.Cleanup(func() { _ = client.Close() })
	spread := &redisBackend{client: client, oneKeyPerCall: true}
	narrow := Quota{Key: "first", Limit: 1, Per: time.Hour, Cost: 1}
	wide, shadow, none := narrow, narrow, narrow
	wide.Limit, shadow.Shadow, none.Key, none.Limit = 2, true, "second", 0
	quotas := []Quota{narrow, wide, shadow, shadow, none}
	verdicts := make([]Verdict, len(quotas))
	require.NoError(t, spread.Take(t.Context(), quotas, verdicts))
	for i, remaining := range []int64{1, 2, 1, 1, 0} {
		require.Equal(t, remaining, verdicts[i].Remaining, "%d", i)
	}
}
