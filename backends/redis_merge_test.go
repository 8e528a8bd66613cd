package backends

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gin-ratelimiter/ratelimiter/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// quotas draws the quotas of a history. Most of them are plain, and many have a key of
// their own.
func (h history) quotas(t *rapid.T) *rapid.Generator[Quota] {
	number := 0
	return rapid.SampledFrom(rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Quota {
		q := h.quota(t)
		if rapid.IntRange(0, 3).Draw(t, "plain") > 0 && q.Ban == 0 {
			q.Cost, q.Forced, q.Shadow = max(1, q.Cost, -q.Cost), false, false
		}
		if number++; rapid.IntRange(0, 2).Draw(t, "alone") > 0 {
			q.Scope += strconv.Itoa(number)
		}
		return q
	}), 1, 5).Draw(t, "quotas"))
}

// drawFlight draws the calls of a flight: a few quotas, each requested by several callers,
// and some calls with more than one quota.
func drawFlight(t *rapid.T, quota *rapid.Generator[Quota]) (calls []*call) {
	for range rapid.IntRange(1, 24).Draw(t, "callers") {
		quotas := []Quota{quota.Draw(t, "quota")}
		if rapid.IntRange(0, 11).Draw(t, "several") == 0 {
			quotas = append(quotas, quota.Draw(t, "another"))
		}
		calls = append(calls, newCall(context.Background(), quotas, false))
	}
	return calls
}

// decisionOrder returns the calls of a flight in the order in which they are decided: plain
// calls first, and equal calls together, in order of arrival.
func decisionOrder(calls []*call) (order []*call) {
	order = slices.Clone(calls)
	slices.SortStableFunc(order, func(a, b *call) int {
		return cmp.Or(cmp.Compare(a.at.sent, b.at.sent), cmp.Compare(a.at.order, b.at.order))
	})
	return order
}

// plainCounter counts the decisions sent to plain.lua and those it left undecided.
type plainCounter struct{ sent, undecided int }

func (p *plainCounter) DialHook(next redis.DialHook) redis.DialHook { return next }
func (p *plainCounter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		cmd.SetErr(err)
		p.count(cmd)
		return err
	}
}
func (p *plainCounter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		for _, cmd := range cmds {
			p.count(cmd)
		}
		return err
	}
}

func (p *plainCounter) count(cmd redis.Cmder) {
	if script, ok := cmd.(noRetryCmd); ok && (script.Args()[1] == plainScript.Hash() || script.Args()[1] == plainSource) && script.Err() == nil {
		p.sent += script.Args()[2].(int)
		p.undecided += strings.Count(script.Val(), " - ")
	}
}

// mergeTest is a Redis backend, and a memory backend that gets the times at which Redis has
// decided.
type mergeTest struct {
	redis  *redisBackend
	memory Backend
	now    int64
}

func newMergeTest(t require.TestingT, client *redis.Client, spread bool) *mergeTest {
	require.NoError(t, client.FlushAll(context.Background()).Err())
	f := &mergeTest{redis: &redisBackend{client: client, oneKeyPerCall: spread}}
	f.memory = newMemoryOn(1<<16, func() int64 { return f.now })
	return f
}

// send decides the calls of a flight, and compares the verdicts with those of memory.
func (f *mergeTest) send(t require.TestingT, calls []*call) {
	f.redis.send(context.Background(), calls)
	for _, c := range decisionOrder(calls) {
		require.NoError(t, c.err)
		f.now = c.at.now
		ours := make([]Verdict, len(c.quotas))
		require.NoError(t, f.memory.Take(context.Background(), c.quotas, ours))
		require.Equal(t, describe(c.quotas, ours), describe(c.quotas, c.verdicts))
	}
}

// The calls of a flight are decided as if they had come one by one: equal calls are granted
// in order, exactly as many as there is room for, whichever script decides.
func TestAFlightIsDecidedLikeItsCallsInOrder(t *testing.T) {
	for name, spread := range map[string]bool{"one script call": false, "one script call per key": true} {
		t.Run(name, func(t *testing.T) {
			t.Run("miniredis", func(t *testing.T) {
				server := miniredis.RunT(t)
				for name, history := range map[string]history{"forward": forward, "backward": backward} {
					t.Run(name, func(t *testing.T) {
						now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
						flights(t, server.Addr(), spread, history, func(step time.Duration) {
							now = now.Add(step)
							server.SetTime(now)
						})
					})
				}
			})
			t.Run("redis", func(t *testing.T) { // where time passes on its own
				server := redistest.Single(t)
				client := server.Client()
				flights(t, server.Addr, spread, shortPeriods, func(time.Duration) { expireInTime(t, client) })
			})
		})
	}
}

// shortPeriods has periods so short that a real server sees many of them.
var shortPeriods = history{
	[]time.Duration{time.Millisecond, 1717 * time.Microsecond, 13 * time.Millisecond, time.Second, MaxPer},
	forward.limits, rapid.Just(int64(0)), true,
}

// expireInTime checks that every key lives until the last of its states expires, and not
// much longer.
func expireInTime(t *testing.T, client *redis.Client) {
	for _, key := range client.Keys(t.Context(), "*").Val() {
		text, ends := client.Get(t.Context(), key).Val(), client.PExpireTime(t.Context(), key).Val()
		if cut := strings.LastIndexByte(text, ';') + 1; text != "" && ends != -2 { // or it has just expired
			states, err := parseStates(text[:cut])
			require.NoError(t, err)
			var last int64
			for id, state := range states {
				last = max(last, state.expires(id))
			}
			require.Greater(t, ends.Microseconds()+1000, last, "%s %s", key, text)
			require.Less(t, ends.Microseconds(), last+100_000, "%s %s", key, text)
		}
	}
}

func flights(t *testing.T, addr string, spread bool, history history, step func(time.Duration)) {
	counter, decisions, histories := &plainCounter{}, 0, 0
	client := redis.NewClient(&redis.Options{Addr: addr, PoolSize: 1})
	t.Cleanup(func() { _ = client.Close() })
	client.AddHook(counter)
	rapid.Check(t, func(rt *rapid.T) {
		f := newMergeTest(rt, client, spread)
		histories++
		quotas := history.quotas(rt)
		for range rapid.IntRange(1, 12).Draw(rt, "flights") {
			step(time.Duration(history.steps.Draw(rt, "step")) * time.Microsecond)
			calls := drawFlight(rt, quotas)
			decisions += len(calls)
			f.send(rt, calls)
		}
	})
	t.Logf("%d histories, %d decisions; plain.lua got %d and left %d undecided", histories, decisions, counter.sent, counter.undecided)
	require.Positive(t, counter.sent)
}

func TestEqualCallsOfAFlightAreGrantedInOrderWhileThereIsRoom(t *testing.T) {
	backend, err := NewRedis(map[string]any{"addr": redistest.Single(t).Addr})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, backend.Close()) })
	for algorithm := range algorithmCount {
		one := Quota{Key: "k", Algorithm: algorithm, Limit: 10, Per: time.Hour, Cost: 1}
		three := one
		three.Cost = 3
		var calls []*call
		for range 4 {
			calls = append(calls, newCall(t.Context(), []Quota{three}, false), newCall(t.Context(), []Quota{one}, false))
		}
		backend.(*redisBackend).send(t.Context(), calls)
		var threes, ones []int64 // remaining units, -1 if denied
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
		require.Less(t, calls[0].at.order, calls[1].at.order, "in order of arrival")
		require.Equal(t, []int64{7, 4, 1, -1}, threes, algorithm)
		require.Equal(t, []int64{0, -1, -1, -1}, ones, algorithm)
	}
}

// After a failover, a node knows no script. A large flight must not need more than one
// additional round trip.
func TestANodeWithoutTheScriptNeedsOneMoreRoundTrip(t *testing.T) {
	client, hook := redis.NewClient(&redis.Options{Addr: redistest.Single(t).Addr}), &tripCounter{}
	t.Cleanup(func() { _ = client.Close() })
	require.NoError(t, client.Ping(t.Context()).Err())
	client.AddHook(hook)
	backend := &redisBackend{client: client, oneKeyPerCall: true}
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
