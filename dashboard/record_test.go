package dashboard

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

// event is a decision on a limit of 10 a minute.
func event(outcome ratelimiter.Outcome, scope string) ratelimiter.Event {
	return ratelimiter.Event{
		Info: ratelimiter.Info{
			Name: "per-minute", Key: "GET /", Scope: scope, Limit: 10, Remaining: 4, Per: time.Minute,
			Reset: time.Now().Add(time.Minute),
		},
		Route: "GET /", Outcome: outcome, Cost: 1, BackendLatency: time.Microsecond,
	}
}

// secondOver lets the running second end, and its timer be done.
func secondOver() {
	<-time.After(time.Second)
	synctest.Wait()
}

// only is the one series of a record, "other" apart.
func only(t *testing.T, r *record) *series {
	known := *r.known.Load()
	require.Len(t, known, 1)
	for _, s := range known {
		return s
	}
	return nil
}

func inSynctest(t *testing.T, test func(t *testing.T, r *record)) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecord(func() {})
		defer r.close()
		<-time.After(time.Second / 2) // to the middle of a second
		test(t, r)
	})
}

func TestDecisionsAreCountedInTheirSecond(t *testing.T) {
	inSynctest(t, func(t *testing.T, r *record) {
		began := time.Now().Unix()
		r.Observe(event(ratelimiter.Allowed, "a"))
		r.Observe(event(ratelimiter.Allowed, "a"))
		r.Observe(event(ratelimiter.Rejected, "a"))
		secondOver()
		secondOver()
		r.Observe(event(ratelimiter.Banned, "a"))
		secondOver()
		s := only(t, r)
		require.Equal(t, began+2, r.at)
		require.Equal(t, []counts{{}, {2, 1}, {}, {0, 0, 0, 0, 0, 1}}, unrolled(s.seconds[:], r.at)[minutesSeconds-4:])
		require.Equal(t, counts{2, 1, 0, 0, 0, 1}, s.quarters[began/quarter%quarterPlaces])
	})
}

func TestSecondsAndQuartersLeaveTheRings(t *testing.T) {
	inSynctest(t, func(t *testing.T, r *record) {
		r.Observe(event(ratelimiter.Allowed, "a"))
		count := func() (seconds, quarters uint32) {
			r.mu.Lock()
			defer r.mu.Unlock()
			s := only(t, r)
			for _, one := range s.seconds {
				seconds += one[ratelimiter.Allowed]
			}
			for _, one := range s.quarters {
				quarters += one[ratelimiter.Allowed]
			}
			return seconds, quarters
		}
		for at := range 302 {
			secondOver()
			seconds, quarters := count()
			require.Equal(t, at < minutesSeconds, seconds == 1, "after %d seconds", at+1)
			require.EqualValues(t, 1, quarters)
		}
		<-time.After(time.Hour)
		r.advance(time.Now())
		require.Empty(t, *r.known.Load(), "a limit that was not asked for an hour is forgotten")
	})
}

func TestAQuarterIsShownWhenItIsOver(t *testing.T) {
	inSynctest(t, func(t *testing.T, r *record) {
		r.Observe(event(ratelimiter.Allowed, "a"))
		secondOver()
		shown := func() (list []uint32) {
			r.mu.Lock()
			defer r.mu.Unlock()
			for _, one := range only(t, r).state(r.at, true).Quarters {
				list = append(list, one[ratelimiter.Allowed])
			}
			return list
		}
		require.Equal(t, make([]uint32, hourSeconds/quarter), shown(), "neither as the newest nor as the oldest")
		for range quarter {
			secondOver()
		}
		require.EqualValues(t, 1, shown()[hourSeconds/quarter-1])
	})
}

func TestAnApplicationAtRestIsLeftAlone(t *testing.T) {
	inSynctest(t, func(t *testing.T, r *record) {
		var ticks atomic.Int64
		r.ticked = func() { ticks.Add(1) }
		<-time.After(time.Hour)
		require.Zero(t, ticks.Load(), "nothing was decided yet")
		r.Observe(event(ratelimiter.Rejected, "a"))
		<-time.After(time.Hour)
		list, _ := r.rejected.most(1)
		require.Empty(t, list, "who was rejected is forgotten first")
		require.InDelta(t, 600, ticks.Load(), 5)
		r.Observe(event(ratelimiter.Allowed, "a"))
		before := ticks.Load()
		secondOver()
		require.Greater(t, ticks.Load(), before, "it wakes up")
		require.EqualValues(t, 1, only(t, r).seconds[r.at%minutesSeconds][ratelimiter.Allowed])
	})
}

func TestAClockThatIsSetBack(t *testing.T) {
	for _, test := range []struct {
		back time.Duration
		kept uint32
	}{{5 * time.Second, 2}, {time.Hour, 1}} { // a little is waited for; else all begins anew
		inSynctest(t, func(t *testing.T, r *record) {
			now := time.Now().Add(2 * time.Hour)
			r.Observe(event(ratelimiter.Allowed, "a"))
			r.advance(now)
			r.Observe(event(ratelimiter.Allowed, "a"))
			r.advance(now.Add(-test.back))
			var kept uint32
			for _, one := range only(t, r).seconds {
				kept += one[ratelimiter.Allowed]
			}
			require.Equal(t, test.kept, kept)
			require.InDelta(t, now.Add(-test.back).Unix(), r.at, unsteady)
		})
	}
}

func TestALimitThatVariesIsCalledSo(t *testing.T) {
	inSynctest(t, func(t *testing.T, r *record) {
		e := event(ratelimiter.Allowed, "a")
		shown := func() limitState {
			r.mu.Lock()
			defer r.mu.Unlock()
			return only(t, r).state(r.at, false)
		}
		r.Observe(e)
		require.False(t, shown().Varies)
		e.Limit = 20
		r.Observe(e)
		require.True(t, shown().Varies)
		for range 3 * quarter {
			r.Observe(e)
			secondOver()
		}
		require.False(t, shown().Varies, "it was changed once, and that is long ago")
		require.Equal(t, "20/minute", shown().Limit)
	})
}

func TestALimitIsToldOnceItIsKnown(t *testing.T) {
	inSynctest(t, func(t *testing.T, r *record) {
		e := event(ratelimiter.Skipped, "")
		e.Limit = 0 // a function decides it
		r.Observe(e)
		require.Empty(t, only(t, r).state(r.at, false).Limit, "0 would be a limit that rejects everybody")
		e.Outcome = ratelimiter.Rejected
		r.Observe(e)
		require.Equal(t, "0/minute", only(t, r).state(r.at, false).Limit)
		e.Limit = 5
		r.Observe(e)
		require.True(t, only(t, r).state(r.at, false).Varies)
		r.other.varies.Store(true)
		require.False(t, r.other.state(r.at, false).Varies)
	})
}

func TestLatencyIsThatOfEachQuestionOnce(t *testing.T) {
	inSynctest(t, func(t *testing.T, r *record) {
		for range 98 {
			r.Observe(event(ratelimiter.Allowed, "a"))
		}
		slow := event(ratelimiter.BackendError, "a")
		slow.BackendLatency, slow.Err = 100*time.Millisecond, errors.New("time-out")
		r.Observe(slow)
		local := event(ratelimiter.Allowed, "a")
		local.Fallback = true
		r.Observe(local)
		second := event(ratelimiter.Allowed, "a")
		second.LimitIndex, second.BackendLatency = 1, time.Hour
		r.Observe(second)
		secondOver()
		got := r.backend.seconds[r.at%minutesSeconds]
		require.EqualValues(t, 1, got.fallbacks)
		require.InEpsilon(t, 1, float64(got.median)/10, 0.25, "microseconds")
		require.InEpsilon(t, 1, float64(got.p99)/10, 0.25)
		require.Equal(t, got, r.backend.quarters[r.at/quarter%quarterPlaces])
	})
}

// A page that is opened moves the second that the timer is about to move.
func TestASecondMayBeMovedInParts(t *testing.T) {
	inSynctest(t, func(t *testing.T, r *record) {
		fallback := event(ratelimiter.Allowed, "a")
		fallback.Fallback = true
		r.Observe(fallback)
		next := time.Now().Add(time.Second)
		for range 2 {
			r.advance(next)
			r.advance(next)
			require.EqualValues(t, 1, only(t, r).seconds[r.at%minutesSeconds][ratelimiter.Allowed])
			require.EqualValues(t, 1, r.backend.seconds[r.at%minutesSeconds].fallbacks)
			require.NotZero(t, r.backend.seconds[r.at%minutesSeconds].p99)
			next = next.Add(time.Second)
			r.Observe(fallback)
		}
	})
}

func TestStepsOfAHistogramHoldTheirTimes(t *testing.T) {
	for took := time.Duration(1); took < 16*time.Second; took += took/7 + 1 {
		at := step(took)
		require.Less(t, took, endOf(at))
		if at > 0 {
			require.GreaterOrEqual(t, took, endOf(at-1))
		}
	}
	require.Equal(t, len(histogram{})-1, step(time.Hour))
	require.Zero(t, (&histogram{}).quantile(0.5), "nothing was counted")
}

// flood sends made-up routes, names and scopes.
func flood(r *record, rounds int) {
	for i := range rounds {
		text := fmt.Sprintf("%d-%s", i, strings.Repeat("x", 200))
		for _, outcome := range []ratelimiter.Outcome{ratelimiter.Allowed, ratelimiter.Rejected, ratelimiter.Shadowed} {
			e := event(outcome, text)
			e.Route, e.Name = text, text
			r.Observe(e)
			e.Route, e.Name = "GET /", "per-minute"
			r.Observe(e)
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	heap := func() uint64 {
		var stats runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	before := heap()
	r := newRecord(func() {})
	defer r.close()
	r.watched.Store(true)
	flood(r, 20_000)
	r.rejected.advance(time.Now().Add(rejectedPeriod))
	flood(r, 20_000)
	r.advance(time.Now().Add(time.Second))
	used := heap() - before
	t.Logf("%d bytes, %d for each limit", used, unsafe.Sizeof(series{}))
	require.Less(t, used, uint64(5<<20), "bytes after 240 000 decisions on made-up limits and clients")
	require.Len(t, *r.known.Load(), maxSeries)
	require.Positive(t, r.other.counts[ratelimiter.Allowed].Load(), "the rest is counted together")
	runtime.KeepAlive(r)
}

func TestADecisionAllocatesNothing(t *testing.T) {
	scopes := make([]string, 4096)
	for i := range scopes {
		scopes[i] = fmt.Sprintf("client-%d", i)
	}
	for _, watched := range []bool{false, true} {
		for outcome := ratelimiter.Allowed; int(outcome) < outcomes; outcome++ {
			t.Run(fmt.Sprintf("%v, watched %v", outcome, watched), func(t *testing.T) {
				r := newRecord(func() {})
				defer r.close()
				r.watched.Store(watched)
				r.Observe(event(outcome, "first"))
				i := 0
				require.Zero(t, testing.AllocsPerRun(1000, func() {
					r.Observe(event(outcome, scopes[i%len(scopes)]))
					i++
				}))
			})
		}
	}
}
