package backends

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// changes are modifications that a caller may make to a copy of a prepared quota.
var changes = map[string]func(t *rapid.T, q *Quota){
	"nothing":       func(*rapid.T, *Quota) {},
	"key":           func(_ *rapid.T, q *Quota) { q.Key = "another" },
	"same key":      func(_ *rapid.T, q *Quota) { q.Key = strings.Clone(q.Key) },
	"shorter key":   func(_ *rapid.T, q *Quota) { q.Key = q.Key[:1] },
	"scope":         func(_ *rapid.T, q *Quota) { q.Scope = "another" },
	"algorithm":     func(t *rapid.T, q *Quota) { q.Algorithm = Algorithm(rapid.IntRange(0, 4).Draw(t, "algorithm")) },
	"limit":         func(t *rapid.T, q *Quota) { q.Limit = rapid.Int64Range(-1, 9).Draw(t, "limit") },
	"largest limit": func(_ *rapid.T, q *Quota) { q.Limit = MaxLimit + 1 },
	"period": func(t *rapid.T, q *Quota) {
		q.Per = rapid.SampledFrom([]time.Duration{0, time.Second, MaxPer, MaxPer + 1}).Draw(t, "per")
	},
	"burst":        func(t *rapid.T, q *Quota) { q.Burst = rapid.Int64Range(-1, 9).Draw(t, "burst") },
	"cost":         func(t *rapid.T, q *Quota) { q.Cost = rapid.Int64Range(-3, 9).Draw(t, "cost") },
	"largest cost": func(_ *rapid.T, q *Quota) { q.Cost = MaxLimit + 1 },
	"forced":       func(_ *rapid.T, q *Quota) { q.Forced = !q.Forced },
	"shadow":       func(_ *rapid.T, q *Quota) { q.Shadow = !q.Shadow },
	"tentative":    func(_ *rapid.T, q *Quota) { q.Tentative = !q.Tentative },
	"ban":          func(_ *rapid.T, q *Quota) { q.Ban, q.Limit, q.Cost = time.Minute, 2, 1 },
	"calendar":     func(_ *rapid.T, q *Quota) { q.Calendar = time.UTC }, // it needs a fixed window of a day
	"no limit":     func(_ *rapid.T, q *Quota) { q.Ban, q.Limit = time.Minute, 0 },
}

// A prepared quota decides like one that was not prepared, even after changes to it or to
// a copy of it.
func TestAPreparedQuotaMayBeModified(t *testing.T) {
	names := make([]string, 0, len(changes))
	for name := range changes {
		names = append(names, name)
	}
	rapid.Check(t, func(t *rapid.T) {
		now := int64(1 << 50)
		clock := func() int64 { return now }
		fast, slow := newMemoryOn(1000, clock), newMemoryOn(1000, clock)
		prepared := make([]Quota, rapid.IntRange(1, 3).Draw(t, "quotas"))
		for i := range prepared {
			prepared[i] = Quota{
				Key: "key", Scope: "scope", Algorithm: Algorithm(rapid.IntRange(0, 3).Draw(t, "algorithm")),
				Limit: rapid.Int64Range(0, 5).Draw(t, "limit"), Per: time.Minute, Cost: 1,
			}
			if rapid.IntRange(0, 4).Draw(t, "banning") == 0 {
				prepared[i].Ban, prepared[i].Limit = time.Hour, 2
			}
			require.NoError(t, prepared[i].Prepare())
		}
		for range rapid.IntRange(1, 20).Draw(t, "takes") {
			now += rapid.Int64Range(0, 20_000_000).Draw(t, "pause")
			quotas := append([]Quota{}, prepared...)
			for i := range quotas {
				changes[rapid.SampledFrom(names).Draw(t, "change")](t, &quotas[i])
			}
			plain := append([]Quota{}, quotas...)
			for i := range plain {
				plain[i].prepared = nil
			}
			ours, theirs := make([]Verdict, len(quotas)), make([]Verdict, len(quotas))
			var err error
			if len(quotas) == 1 {
				scope := quotas[0].Scope
				quotas[0].Scope = "ignored"
				_, err = fast.TakeOne(&quotas[0], scope, &ours[0])
			} else {
				_, err = fast.TakeAll(quotas, ours)
			}
			wrong := slow.Take(t.Context(), plain, theirs)
			require.Equal(t, wrong, err)
			if err == nil {
				require.Equal(t, theirs, ours, "%+v", plain)
			}
		}
	})
}

func TestPrepareRejectsTheQuotasThatTakeRejects(t *testing.T) {
	q := Quota{Key: "key", Limit: -1, Per: time.Minute, Cost: 1}
	require.ErrorIs(t, q.Prepare(), ErrInvalidQuota)
	q.Limit = 1
	require.NoError(t, q.Prepare())
	q.Per = time.Microsecond
	require.ErrorIs(t, q.Prepare(), ErrInvalidQuota)
}

func TestACopyOfAPreparedQuotaIsValidatedAgain(t *testing.T) {
	for name, change := range map[string]func(q *Quota){
		"limit":     func(q *Quota) { q.Limit = -1 },
		"period":    func(q *Quota) { q.Per = 0 },
		"burst":     func(q *Quota) { q.Burst = -1 },
		"cost":      func(q *Quota) { q.Cost = MaxLimit + 1 },
		"refund":    func(q *Quota) { q.Cost = -MaxLimit - 1 },
		"algorithm": func(q *Quota) { q.Algorithm = algorithmCount },
		"ban":       func(q *Quota) { q.Ban = -1 },
		"calendar":  func(q *Quota) { q.Calendar = time.UTC },
	} {
		q := Quota{Key: "key", Limit: 1, Per: time.Minute, Cost: 1}
		require.NoError(t, q.Prepare())
		change(&q)
		require.ErrorIs(t, newMemory(10).Take(t.Context(), []Quota{q}, make([]Verdict, 1)), ErrInvalidQuota, name)
	}
}

// Concurrent requests share one quota without writing to it.
func TestConcurrentRequestsShareAPreparedQuota(t *testing.T) {
	m := newMemory(1000)
	q := Quota{Key: "key", Limit: 100, Per: time.Hour, Cost: 1}
	require.NoError(t, q.Prepare())
	was := q
	admitted := make(chan int)
	for range 4 {
		go func() {
			count := 0
			for range 100 {
				var v Verdict
				if _, err := m.TakeOne(&q, "scope", &v); err == nil && v.Allowed {
					count++
				}
			}
			admitted <- count
		}()
	}
	require.Equal(t, 100, <-admitted+<-admitted+<-admitted+<-admitted)
	require.Equal(t, was, q)
}

func TestTakeOneAndTakeAllReportErrors(t *testing.T) {
	m := newMemory(1000)
	good, bad := Quota{Limit: 1, Per: time.Hour, Cost: 1}, Quota{Limit: 1, Cost: 1}
	var v [2]Verdict
	_, err := m.TakeOne(&bad, "", &v[0])
	require.ErrorIs(t, err, ErrInvalidQuota)
	_, err = m.TakeAll([]Quota{good, bad}, v[:])
	require.ErrorIs(t, err, ErrInvalidQuota)
	_, err = m.TakeAll([]Quota{good, good}, v[:1])
	require.ErrorIs(t, err, ErrInvalidQuota)
	_, err = m.TakeOne(&good, "", &v[0])
	require.NoError(t, err)
	require.True(t, v[0].Allowed, "nothing was charged")
	require.NoError(t, m.Close())
	_, err = m.TakeOne(&good, "", &v[0])
	require.ErrorIs(t, err, ErrClosed)
	_, err = m.TakeAll([]Quota{good, good}, v[:])
	require.ErrorIs(t, err, ErrClosed)
}

func TestTakeOneAndTakeAllDoNotAllocate(t *testing.T) {
	eachAlgorithm(t, func(t *testing.T, algorithm Algorithm) {
		m := newMemory(1000)
		minute := Quota{Key: "key", Algorithm: algorithm, Limit: 50, Per: time.Minute, Cost: 1}
		hour, day := minute, minute
		hour.Per, day.Per = time.Hour, 24*time.Hour
		shared := [4]Quota{minute, minute, minute, minute} // four clients in one table
		for i := range shared {
			shared[i].Scope = string(rune('a' + i))
		}
		for _, q := range []*Quota{&minute, &hour, &day} {
			require.NoError(t, q.Prepare())
		}
		one := func() {
			var v Verdict
			if _, err := m.TakeOne(&minute, "one", &v); err != nil {
				t.Error(err)
			}
		}
		all := func() {
			quotas, verdicts := [3]Quota{minute, hour, day}, [3]Verdict{}
			for i := range quotas {
				quotas[i].Scope = "all"
			}
			if _, err := m.TakeAll(quotas[:], verdicts[:]); err != nil {
				t.Error(err)
			}
			var four [4]Verdict
			if _, err := m.TakeAll(shared[:], four[:]); err != nil {
				t.Error(err)
			}
		}
		for range 60 { // so that logs have their cells
			one()
			all()
		}
		for scope := range 2 { // denied, and admitted again
			require.Zero(t, testing.AllocsPerRun(40, one), "one, %d", scope)
			require.Zero(t, testing.AllocsPerRun(40, all), "all, %d", scope)
			require.NoError(t, m.Reset(t.Context(), "key", "one"))
			require.NoError(t, m.Reset(t.Context(), "key", "all"))
			one()
			all()
		}
	})
}

// Quotas of a batch may share a counter, be shadows or bans. Their logs are cloned and
// released, and none may leak.
func TestNoLogLeaks(t *testing.T) {
	m := newMemory(10)
	random := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		quotas := make([]Quota, 1+random.IntN(4))
		for i := range quotas {
			quotas[i] = Quota{
				Key: "key", Scope: strings.Repeat("s", random.IntN(40)), Algorithm: SlidingLog,
				Limit: 5, Per: time.Hour, Cost: random.Int64N(7) - 2, Shadow: random.IntN(3) == 0,
			}
			if random.IntN(5) == 0 {
				quotas[i].Ban, quotas[i].Cost, quotas[i].Shadow = time.Minute, 1, false
			}
		}
		_, err := m.TakeAll(quotas, make([]Verdict, len(quotas)))
		require.NoError(t, err)
	}
	for _, table := range m.shards[0].tables {
		require.Equal(t, int(table.keys), len(table.logs)-1-len(table.unusedLogs))
	}
}
