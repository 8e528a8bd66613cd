package dashboard

import (
	"fmt"
	"hash/maphash"
	"strings"
	"testing"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/internal/mask"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestWhoIsRejectedMostIsNeverMissed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r rejected
		seed := maphash.MakeSeed()
		truth, inShard := map[string]uint64{}, map[uint64]uint64{}
		// A few who are rejected often, among many who are rejected now and then.
		clients := rapid.SliceOfN(rapid.OneOf(rapid.IntRange(0, 9), rapid.IntRange(10, 2000)), 1, 3000).Draw(t, "clients")
		for _, one := range clients {
			scope := fmt.Sprint(one)
			hash := maphash.String(seed, scope)
			e := event(ratelimiter.Rejected, scope)
			r.add(hash, &e)
			truth[scope]++
			inShard[hash%shards]++
		}
		found := map[string]bool{}
		list, _ := r.most(2 * shards * perShard)
		for _, one := range list {
			scope := one.scope.String()
			found[scope] = true
			if one.least > truth[scope] || one.least+one.over < truth[scope] {
				t.Fatalf("%s was rejected %d times, not %d to %d", scope, truth[scope], one.least, one.least+one.over)
			}
		}
		for scope, count := range truth {
			if shard := maphash.String(seed, scope) % shards; count > inShard[shard]/perShard && !found[scope] {
				t.Fatalf("%s, rejected %d of %d times, is missing", scope, count, inShard[shard])
			}
		}
	})
}

func TestRejectionsAreForgotten(t *testing.T) {
	var r rejected
	now := time.Now()
	r.begin(now)
	e := event(ratelimiter.Banned, "a")
	add := func() { r.add(1, &e) }
	add()
	r.advance(now.Add(rejectedPeriod))
	add()
	list, since := r.most(10)
	require.Len(t, list, 1)
	require.EqualValues(t, 2, list[0].least, "both periods count")
	require.True(t, list[0].banned)
	require.Equal(t, now, since)
	r.advance(now.Add(2 * rejectedPeriod))
	list, since = r.most(10)
	require.EqualValues(t, 1, list[0].least)
	require.Equal(t, now.Add(rejectedPeriod), since)
	r.advance(now.Add(3 * rejectedPeriod))
	list, _ = r.most(10)
	require.Empty(t, list)
}

func TestTheClosestToALimitAreKnown(t *testing.T) {
	var c closest
	now := time.Now()
	note := func(client int, remaining int64, reset time.Duration) {
		c.note(uint64(client), &ratelimiter.Info{Scope: fmt.Sprint(client), Limit: 100, Remaining: remaining, Reset: now.Add(reset)})
	}
	for client := range 10 {
		note(client, int64(100-10*client), time.Duration(client)*time.Minute)
	}
	scopes := func(at time.Time) (scopes []string) {
		for _, one := range c.now(at) {
			scopes = append(scopes, one.scope.String())
		}
		return scopes
	}
	require.Equal(t, []string{"9", "8", "7", "6", "5"}, scopes(now))
	note(5, 0, time.Hour)
	note(4, 50, time.Hour) // nobody has less room than it
	require.Equal(t, []string{"5", "9", "8", "7", "6"}, scopes(now))
	require.Equal(t, []string{"5", "9", "8"}, scopes(now.Add(7*time.Minute)), "who has all of the limit again is forgotten")
	c.forget(9)
	require.Equal(t, []string{"5", "8"}, scopes(now))
	c.clear()
	require.Empty(t, scopes(now))
}

func TestTheShareOfALimit(t *testing.T) {
	for _, test := range []struct {
		limit, remaining int64
		share            float64
	}{
		{100, 100, 0}, {100, 25, 0.75}, {100, 0, 1},
		{0, 0, 1},    // nobody may pass
		{10, 100, 0}, // a burst over the limit
	} {
		require.Equal(t, test.share, shareOf(test.limit, test.remaining), "%d of %d left", test.remaining, test.limit)
	}
}

func TestALongScopeIsCut(t *testing.T) {
	var text scopeText
	long := strings.Repeat("ä", maxScope)
	text.set(long)
	require.True(t, text.cut)
	require.True(t, strings.HasPrefix(long, text.String()))
	h := &Handler{mask: mask.New()}
	require.Empty(t, h.idOf(&text), "nobody is looked up by a part of a scope")
	text.set("short")
	require.False(t, text.cut)
	require.NotEmpty(t, h.idOf(&text))
	require.Equal(t, "short", text.String())
}
