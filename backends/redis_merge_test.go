package backends

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gin-ratelimiter/ratelimiter/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// flightful draws what goes to Redis at once: a few quotas, each asked for by
// several callers, and some callers that ask for more than one.
func flightful(t *rapid.T) (calls []*call) {
	kinds := rapid.SliceOfN(rapid.Custom(forward.quota), 1, 3).Draw(t, "kinds")
	for range rapid.IntRange(1, 24).Draw(t, "callers") {
		quotas := []Quota{rapid.SampledFrom(kinds).Draw(t, "kind")}
		if rapid.IntRange(0, 5).Draw(t, "several") == 0 {
			quotas = append(quotas, rapid.SampledFrom(kinds).Draw(t, "another"))
		}
		calls = append(calls, newCall(context.Background(), quotas, false))
	}
	return calls
}

// oneAfterTheOther is an order in which the calls of a flight may be decided: as
// they came, but that those who ask for the same come together.
func oneAfterTheOther(calls []*call) (order []*call) {
	placed := map[*call]bool{}
	for i, first := range calls {
		if placed[first] {
			continue
		}
		order = append(order, first)
		q := first.quotas[0]
		for _, c := range calls[i+1:] {
			same := len(first.quotas) == 1 && len(c.quotas) == 1 && c.quotas[0] == q
			if same && q.Cost > 0 && !q.Forced && !q.Shadow && q.Ban == 0 {
				order = append(order, c)
				placed[c] = true
			}
		}
	}
	return order
}

// What goes together is decided as if it had come one by one: equal calls are
// granted in order, exactly as many as there is room for.
func TestAFlightIsDecidedAsItsCallsWouldBeOneAfterTheOther(t *testing.T) {
	for name, spread := range map[string]bool{"in one script call": false, "in one for each key": true} {
		t.Run(name, func(t *testing.T) {
			server := miniredis.RunT(t)
			rapid.Check(t, func(rt *rapid.T) {
				w := newTwins(rt, server)
				defer w.close()
				w.redis.(*redisBackend).spread = spread
				for range rapid.IntRange(1, 8).Draw(rt, "flights") {
					w.step(time.Duration(forward.steps.Draw(rt, "step")) * time.Microsecond)
					calls := flightful(rt)
					w.redis.(*redisBackend).send(t.Context(), calls)
					for _, c := range oneAfterTheOther(calls) {
						ours := make([]Verdict, len(c.quotas))
						require.NoError(rt, w.memory.Take(t.Context(), c.quotas, ours))
						require.NoError(rt, c.err)
						require.Equal(rt, describe(c.quotas, ours), describe(c.quotas, c.verdicts))
					}
				}
			})
		})
	}
}

func TestEqualCallsOfAFlightAreGrantedInOrderAsFarAsThereIsRoom(t *testing.T) {
	backend, err := NewRedis(map[string]any{"addr": redistest.Single(t).Addr})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, backend.Close()) })
	for algorithm := range algorithms {
		one := Quota{Key: "k", Algorithm: algorithm, Limit: 10, Per: time.Hour, Cost: 1}
		three := one
		three.Cost = 3
		var calls []*call
		for range 4 {
			calls = append(calls, newCall(t.Context(), []Quota{three}, false), newCall(t.Context(), []Quota{one}, false))
		}
		backend.(*redisBackend).send(t.Context(), calls)
		var threes, ones []int64 // what remains, -1 when it was denied
		for i, c := range calls {
			require.NoError(t, c.err)
			remaining := int64(-1)
			if c.verdicts[0].Allowed {
				remaining = c.verdicts[0].Remaining
			}
			if i%2 == 0 {
				threes = append(threes, remaining)
			} else {
				ones = append(ones, remaining)
			}
		}
		require.Equal(t, []int64{7, 4, 1, -1}, threes, algorithm)
		require.Equal(t, []int64{0, -1, -1, -1}, ones, algorithm)
	}
}

// After a failover a node knows no script. Who has the most to ask must not wait
// longest then.
func TestANodeThatDoesNotKnowTheScriptIsAskedInOneTripMore(t *testing.T) {
	client, hook := redis.NewClient(&redis.Options{Addr: redistest.Single(t).Addr}), &tripCounter{}
	t.Cleanup(func() { _ = client.Close() })
	require.NoError(t, client.Ping(t.Context()).Err())
	client.AddHook(hook)
	backend := &redisBackend{client: client, spread: true}
	for _, trips := range []int64{2, 1} {
		var calls []*call
		for i := range maxBatch {
			calls = append(calls, newCall(t.Context(), []Quota{{Key: strconv.Itoa(i), Limit: 2, Per: time.Hour, Cost: 1}}, false))
		}
		before := hook.sent.Load()
		backend.send(t.Context(), calls)
		require.Equal(t, trips, hook.sent.Load()-before)
		for _, c := range calls {
			require.NoError(t, c.err)
			require.True(t, c.verdicts[0].Allowed)
			require.Equal(t, trips-1, c.verdicts[0].Remaining, "it was made once")
		}
	}
}
