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

func TestTheClientsWithTheMostRejectionsAreAlwaysFound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r rejected
		seed := maphash.MakeSeed()
		truth, inShard := map[string]uint64{}, map[uint64]uint64{}
		// A few clients that are rejected often, among many that are rejected now and then.
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
		all := r.all()
		if all.total != uint64(len(clients)) {
			t.Fatalf("there were %d rejections, not %d", len(clients), all.total)
		}
		if !all.evicted && len(all.clients) != len(truth) {
			t.Fatalf("%d clients were rejected, not %d", len(truth), len(all.clients))
		}
		for _, one := range all.clients {
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

func TestRejectionsExpire(t *testing.T) {
	var r rejected
	now := time.Now()
	r.begin(now)
	e := event(ratelimiter.Banned, "a")
	add := func() { r.add(1, &e) }
	add()
	r.advance(now.Add(rejectedPeriod))
	add()
	all := r.all()
	require.Len(t, all.clients, 1)
	require.EqualValues(t, 2, all.clients[0].least, "both periods count")
	require.EqualValues(t, 2, all.total)
	require.True(t, all.clients[0].banned)
	require.Equal(t, now, all.since)
	r.advance(now.Add(2 * rejectedPeriod))
	all = r.all()
	require.EqualValues(t, 1, all.clients[0].least)
	require.Equal(t, now.Add(rejectedPeriod), all.since)
	r.advance(now.Add(3 * rejectedPeriod))
	require.Empty(t, r.all().clients)
}

func TestALongScopeIsCut(t *testing.T) {
	var text scopeText
	long := strings.Repeat("ä", maxScope)
	text.set(long)
	require.True(t, text.cut)
	require.True(t, strings.HasPrefix(long, text.String()))
	h := &Handler{mask: mask.New()}
	require.Empty(t, h.idOf(&text), "a part of a scope identifies no client")
	text.set("short")
	require.False(t, text.cut)
	require.NotEmpty(t, h.idOf(&text))
	require.Equal(t, "short", text.String())
}
