package backends

import (
	"fmt"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/alicebob/miniredis/v2"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// trio is a memory backend, a Redis backend and a map of strings, on one virtual clock.
type trio struct {
	memory, redis Backend
	texts         map[[2]string]string
	server        *miniredis.Miniredis
	now           time.Time
}

// newTrio begins a history on an empty server.
func newTrio(t require.TestingT, server *miniredis.Miniredis) *trio {
	server.FlushAll()
	w := &trio{server: server, texts: map[[2]string]string{}, now: time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)}
	server.SetTime(w.now)
	w.memory = newMemoryOn(1<<16, func() int64 { return w.now.UnixMicro() })
	var err error
	w.redis, err = NewRedis(map[string]any{"addr": server.Addr(), "pool_size": 1, "local_denials": false}) // it has the same clock
	require.NoError(t, err)
	return w
}

func (w *trio) close() {
	_ = w.redis.Close() // nothing to lose
}

func (w *trio) get(key, scope string) (string, error) {
	return w.texts[[2]string{key, scope}], nil
}

func (w *trio) put(key, scope, text string, _ time.Time) error {
	w.texts[[2]string{key, scope}] = text
	return nil
}

func (w *trio) step(d time.Duration) {
	w.now = w.now.Add(d)
	w.server.SetTime(w.now)
}

// history describes the quotas and time steps that a test draws.
type history struct {
	periods []time.Duration
	limits  *rapid.Generator[int64]
	steps   *rapid.Generator[int64] // µs
	refunds bool
}

// forward covers everything but a clock that runs backwards.
var forward = history{
	[]time.Duration{time.Millisecond, 999983 * time.Microsecond, time.Second, time.Minute, 30 * 24 * time.Hour, MaxPer},
	rapid.OneOf(rapid.Int64Range(0, 12), rapid.Int64Range(100, 1000), rapid.Int64Range(0, MaxLimit), rapid.Just(MaxLimit)),
	rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(0, 3), rapid.Int64Range(0, 2_000_000), rapid.Int64Range(0, 100*24*3600*1_000_000)),
	true,
}

// backward has a clock that runs backwards. Nothing expires in it: an expired state may or
// may not be kept, which makes a difference if the time comes again. So there are no
// refunds either: the little that a refund leaves expires within microseconds.
var backward = history{
	[]time.Duration{30 * 24 * time.Hour, MaxPer},
	rapid.Int64Range(0, 12),
	rapid.Int64Range(-2_000_000, 2_000_000),
	false,
}

var calendarZones = []*time.Location{nil, time.UTC, mustZone("Europe/Zurich"), time.FixedZone("Café; a=1", -11*3600)}

func mustZone(name string) *time.Location {
	zone, err := time.LoadLocation(name)
	if err != nil {
		panic(err)
	}
	return zone
}

func (h history) quota(t *rapid.T) Quota {
	limit := h.limits.Draw(t, "limit")
	q := Quota{
		Key:       rapid.SampledFrom([]string{"a", "b"}).Draw(t, "key"),
		Scope:     rapid.SampledFrom([]string{"x", "y{z}"}).Draw(t, "scope"),
		Algorithm: Algorithm(rapid.IntRange(0, int(algorithmCount)-1).Draw(t, "algorithm")),
		Limit:     limit,
		Per:       rapid.SampledFrom(h.periods).Draw(t, "per"),
		Burst:     rapid.SampledFrom([]int64{0, 0, 1, limit / 2, min(MaxLimit, 3*limit), MaxLimit}).Draw(t, "burst"),
		Cost: rapid.OneOf(
			rapid.Just(int64(1)), rapid.Int64Range(-3, 5), rapid.Int64Range(-limit, limit), rapid.Int64Range(-MaxLimit, MaxLimit),
		).Draw(t, "cost"),
		Forced: rapid.IntRange(0, 9).Draw(t, "forced") == 0,
		Shadow: rapid.IntRange(0, 4).Draw(t, "shadow") == 0,

		Tentative: true, // for receipts
	}
	if !h.refunds {
		q.Cost = max(q.Cost, -q.Cost)
	}
	if q.Algorithm == FixedWindow {
		if zone := rapid.SampledFrom(calendarZones).Draw(t, "zone"); zone != nil {
			q.Calendar, q.Per = zone, rapid.SampledFrom([]time.Duration{24 * time.Hour, 7 * 24 * time.Hour, 30 * 24 * time.Hour, 365 * 24 * time.Hour}).Draw(t, "calendar")
		}
	}
	if rapid.IntRange(0, 3).Draw(t, "banning") == 0 {
		return Quota{
			Key: q.Key, Scope: q.Scope, Per: q.Per,
			Ban:   rapid.SampledFrom(h.periods).Draw(t, "ban"),
			Limit: rapid.OneOf(rapid.Int64Range(1, 4), rapid.Int64Range(1, 200)).Draw(t, "after"),
			Cost:  rapid.SampledFrom([]int64{0, 1, 1, 1}).Draw(t, "counts"),
		}
	}
	return q
}

// Memory and Redis must make the same decisions on the same history, to the unit and the
// microsecond: mixed algorithms, periods, keys and limits, refunds, forced charges,
// shadows, and clocks that run backwards.
func TestMemoryAndRedisMakeTheSameDecisions(t *testing.T) {
	for name, history := range map[string]history{"forward": forward, "backward": backward} {
		t.Run(name, func(t *testing.T) {
			server := miniredis.RunT(t)
			rapid.Check(t, func(rt *rapid.T) {
				w := newTrio(rt, server)
				defer w.close()
				receipts := []int64{0}
				for range rapid.IntRange(1, 40).Draw(rt, "takes") {
					w.step(time.Duration(history.steps.Draw(rt, "step")) * time.Microsecond)
					quotas := rapid.SliceOfN(rapid.Custom(history.quota), 1, 4).Draw(rt, "quotas")
					for i := range quotas {
						if quotas[i].Cost < 0 {
							quotas[i].Receipt = rapid.SampledFrom(receipts).Draw(rt, "receipt")
						}
					}
					ours, theirs, texts := make([]Verdict, len(quotas)), make([]Verdict, len(quotas)), make([]Verdict, len(quotas))
					require.NoError(rt, w.memory.Take(t.Context(), quotas, ours))
					require.NoError(rt, w.redis.Take(t.Context(), quotas, theirs))
					require.NoError(rt, Decide(w.now, quotas, texts, w.get, w.put))
					require.Equal(rt, describe(quotas, ours), describe(quotas, theirs))
					require.Equal(rt, describe(quotas, ours), describe(quotas, texts))
					for _, v := range ours {
						receipts = append(receipts, v.Receipt)
					}
				}
			})
		})
	}
}

// describe formats quotas and verdicts, one per line, for comparison.
func describe(quotas []Quota, verdicts []Verdict) (lines []string) {
	for i := range quotas {
		lines = append(lines, fmt.Sprintf("%+v -> %+v", quotas[i], verdicts[i]))
	}
	return lines
}

// get may return anything: it must be parsed or rejected.
func FuzzParseStates(f *testing.F) {
	for _, seed := range []string{"", "s60000000=1,2,3,;", "c86400000000@UTC=1,2,3,;", "c86400000000=1,2,3,;", "f1000@UTC=0,0,;", "f1000=0,0,;T1000=9,0,;", "l1000=1,1,2,2,;", "s=;", "=", ";", "s1000=1,;", "x1000=1,2,;", "s1000=-1,2,3,;"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		states, err := parseStates(text)
		if err != nil {
			return
		}
		l := &ledger{before: states}
		written, _ := l.text(0)
		again, err := parseStates(written)
		require.NoError(t, err, "the encoded state can be parsed")
		for id, state := range again {
			require.Equal(t, states[id], state)
		}
		for id := range states {
			q := Quota{Algorithm: id.algorithm, Per: time.Duration(id.per) * time.Microsecond, Limit: 5, Cost: 1, Shadow: id.shadow}
			require.NotPanics(t, func() { (&ledger{before: states, after: map[counterID]numbers{}}).charge(1<<50, &q) })
		}
	})
}
