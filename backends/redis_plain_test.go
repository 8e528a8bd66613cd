package backends

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gin-ratelimiter/ratelimiter/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func TestPlainQuotas(t *testing.T) {
	plain := Quota{Key: "k", Limit: 10, Per: time.Minute, Cost: 1}
	for name, test := range map[string]struct {
		change func(*Quota)
		plain  bool
	}{
		"a sliding window":  {func(*Quota) {}, true},
		"a fixed window":    {func(q *Quota) { q.Algorithm = FixedWindow }, true},
		"a token bucket":    {func(q *Quota) { q.Algorithm = TokenBucket }, true},
		"a cost over limit": {func(q *Quota) { q.Cost = 11 }, true},
		"a tentative quota": {func(q *Quota) { q.Tentative = true }, true},
		"a sliding log":     {func(q *Quota) { q.Algorithm = SlidingLog }, false},
		"a limit of 0":      {func(q *Quota) { q.Limit = 0 }, false},
		"a peek":            {func(q *Quota) { q.Cost = 0 }, false},
		"a refund":          {func(q *Quota) { q.Cost = -1 }, false},
		"forced":            {func(q *Quota) { q.Forced = true }, false},
		"a shadow":          {func(q *Quota) { q.Shadow = true }, false},
		"a ban":             {func(q *Quota) { q.Ban = time.Hour }, false},
		"a bucket larger than the largest debt": {
			func(q *Quota) { q.Algorithm, q.Limit, q.Burst, q.Per = TokenBucket, 1, MaxLimit, MaxPer }, false,
		},
		"a bucket of exactly the largest debt": {
			func(q *Quota) { q.Algorithm, q.Limit, q.Burst, q.Per = TokenBucket, 1, 1<<32, 1<<20*time.Microsecond }, false,
		},
		"a bucket of a microsecond less": {
			func(q *Quota) { q.Algorithm, q.Limit, q.Burst, q.Per = TokenBucket, 2, 1<<33-1, 1<<20*time.Microsecond }, true,
		},
		"a bucket whose price has more than 64 bits": {
			func(q *Quota) { q.Algorithm, q.Limit, q.Burst, q.Per = TokenBucket, 1, MaxLimit, 2*time.Second }, false,
		},
	} {
		q := plain
		test.change(&q)
		require.Equal(t, test.plain, templateOf(&q) != nil, name)
	}
}

func TestEqualQuotasShareATemplate(t *testing.T) {
	one, other := Quota{Key: "a", Limit: 10, Per: time.Minute, Cost: 1}, Quota{Key: "b", Limit: 10, Per: time.Minute, Cost: 1}
	require.Same(t, templateOf(&one), templateOf(&other))
	other.Cost = 2
	require.NotEqual(t, templateOf(&one).args, templateOf(&other).args)
}

// There are more limits than places for templates.
func TestATemplateHasTheNumbersOfItsQuota(t *testing.T) {
	for n := range int64(20_000) {
		for name, change := range map[string]func(q *Quota){
			"limit":  func(q *Quota) { q.Limit += n },
			"period": func(q *Quota) { q.Per += time.Duration(n) * time.Millisecond },
			"cost":   func(q *Quota) { q.Cost += n },
			"burst":  func(q *Quota) { q.Burst += n },
		} {
			q := Quota{Key: "k", Algorithm: TokenBucket, Limit: 10, Per: time.Minute, Burst: 10, Cost: 1}
			change(&q)
			if found, want := templateOf(&q), newTemplate(&q); *found != *want {
				require.Equal(t, want, found, name)
			}
		}
	}
}

func TestAKeyThatIsNotPlainIsRememberedUntilTheEndOfTheMinute(t *testing.T) {
	var keys notPlainKeys
	for _, hash := range []uint64{0, 7, 1 << 40, 1<<64 - 1} {
		begin := 5 * time.Minute
		require.False(t, keys.has(hash, begin))
		keys.mark(hash, begin)
		require.True(t, keys.has(hash, begin))
		require.True(t, keys.has(hash, begin+time.Minute-1))
		require.False(t, keys.has(hash, begin+time.Minute))
		require.False(t, keys.has(hash^1<<30, begin), "another key at the same place")
	}
}

// onPlain returns a backend and a counter of what its client sends.
func onPlain(t *testing.T, client redis.UniversalClient, options map[string]any) (*redisBackend, *plainCounter, *tripCounter) {
	plain, trips := &plainCounter{}, &tripCounter{}
	client.AddHook(plain)
	client.AddHook(trips)
	t.Cleanup(func() { _ = client.Close() })
	options["client"] = client
	backend, err := NewRedis(options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, backend.Close()) })
	return backend.(*redisBackend), plain, trips
}

func charge(t *testing.T, backend Backend, quotas ...Quota) []Verdict {
	t.Helper()
	verdicts := make([]Verdict, len(quotas))
	require.NoError(t, backend.Take(t.Context(), quotas, verdicts))
	return verdicts
}

func TestAKeyWithSeveralLimitsIsSentToThePlainScriptOnlyOnce(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: redistest.Single(t).Addr})
	backend, plain, trips := onPlain(t, client, map[string]any{})
	minutely, hourly := Quota{Key: "k", Limit: 100, Per: time.Minute, Cost: 1}, Quota{Key: "k", Limit: 100, Per: time.Hour, Cost: 1}
	for _, script := range []*script{plainScript, takeScript} {
		require.NoError(t, script.Load(t.Context(), client).Err())
	}
	for i, want := range []struct {
		quota            Quota
		trips, undecided int
	}{{minutely, 1, 0}, {hourly, 2, 1}, {hourly, 1, 0}, {minutely, 1, 0}} {
		before, undecided := trips.sent.Load(), plain.undecided
		require.True(t, charge(t, backend, want.quota)[0].Allowed)
		require.EqualValues(t, want.trips, trips.sent.Load()-before, "%d", i)
		require.Equal(t, want.undecided, plain.undecided-undecided, "%d", i)
	}
	require.EqualValues(t, 97, charge(t, backend, minutely)[0].Remaining, "nothing was charged twice")
	require.EqualValues(t, 97, charge(t, backend, hourly)[0].Remaining)
}

func TestLeasesUseThePlainScript(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: redistest.Single(t).Addr})
	backend, plain, _ := onPlain(t, client, map[string]any{"lease": 10})
	q := Quota{Key: "k", Limit: 100, Per: 240 * time.Hour, Cost: 1}
	for i := range 100 {
		require.EqualValues(t, 99-i, charge(t, backend, q)[0].Remaining)
	}
	require.Equal(t, 10, plain.sent)
	require.False(t, charge(t, backend, q)[0].Allowed)
	require.Zero(t, plain.undecided)
}

func TestAFinishedCallIsReused(t *testing.T) {
	backend := &redisBackend{}
	first := backend.pooledCall(t.Context(), 1, []Quota{{Key: "a", Limit: 1, Per: time.Hour, Cost: 1}, {Key: "b", Limit: 1, Per: time.Hour}})
	first.next, first.err, first.abandoned, first.leased, first.states = first, context.Canceled, true, 3, []numbers{{1}}
	first.verdicts[0].Remaining, first.changes = 7, append(first.changes, 1, 2)
	backend.release(first)
	require.Empty(t, first.quotas[:1][0].Key, "it keeps no strings of others")
	second := &call{done: first.done, alone: first.alone, quotas: first.quotas, verdicts: first.verdicts, changes: first.changes}
	require.Equal(t, second, first)
	first.fill(t.Context(), 2, []Quota{{Key: "c", Limit: 1, Per: time.Hour, Cost: 1}}, false)
	require.Equal(t, make([]Verdict, 1), first.verdicts)
	require.Len(t, first.quotas, 1)
	require.NotNil(t, first.template)
}

// keysPerCall records how many keys each script call has.
type keysPerCall struct{ counts []int }

func (k *keysPerCall) DialHook(next redis.DialHook) redis.DialHook { return next }
func (k *keysPerCall) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		k.count(cmd)
		return next(ctx, cmd)
	}
}
func (k *keysPerCall) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			k.count(cmd)
		}
		return next(ctx, cmds)
	}
}

// count ignores the commands of a new connection.
func (k *keysPerCall) count(cmd redis.Cmder) {
	if strings.HasPrefix(cmd.Name(), "eval") {
		k.counts = append(k.counts, cmd.Args()[2].(int))
	}
}

// The nodes of a Cluster reject a script call with keys of different slots.
func TestAScriptCallHasSeveralKeysOnlyOnASingleServer(t *testing.T) {
	for name, test := range map[string]struct {
		oneKeyPerCall bool
		want          []int
	}{"a single server": {false, []int{3}}, "several nodes": {true, []int{1, 1, 1}}} {
		t.Run(name, func(t *testing.T) {
			client, hook := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr(), PoolSize: 1}), &keysPerCall{}
			t.Cleanup(func() { _ = client.Close() })
			require.NoError(t, plainScript.Load(t.Context(), client).Err())
			client.AddHook(hook)
			backend := &redisBackend{client: client, oneKeyPerCall: test.oneKeyPerCall}
			var calls []*call
			for _, key := range []string{"a", "b", "c"} {
				calls = append(calls, newCall(t.Context(), []Quota{{Key: key, Limit: 2, Per: time.Hour, Cost: 1}}, false))
			}
			backend.send(t.Context(), calls)
			for _, c := range calls {
				require.NoError(t, c.err)
				require.True(t, c.verdicts[0].Allowed)
			}
			require.Equal(t, test.want, hook.counts)
		})
	}
}
