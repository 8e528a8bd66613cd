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
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
)

// healthy is the health of a backend that never failed.
func healthy() backends.Health { return backends.Health{} }

// event is a decision on a limit of 10 per minute.
func event(outcome ratelimiter.Outcome, scope string) ratelimiter.Event {
	return ratelimiter.Event{
		Info: ratelimiter.Info{
			Name: "per-minute", Key: "GET /", Scope: scope, Limit: 10, Remaining: 4, Per: time.Minute,
			Reset: time.Now().Add(time.Minute),
		},
		Route: "GET /", Outcome: outcome, Cost: 1, BackendLatency: time.Microsecond,
	}
}

// secondOver waits until the current second is over and in the rings.
func secondOver() {
	<-time.After(time.Second)
	synctest.Wait()
}

// only is the one series of a record, except for "other".
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
		r := newRecord(healthy, func() {})
		defer r.close()
		<-time.After(time.Second / 2) // move to the middle of a second
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
		require.Equal(t, []counts{{}, {2, 1}, {}, {0, 0, 0, 0, 0, 1}}, unrolled(s.seconds[:], r.at)[secondsKept-4:])
		require.Equal(t, counts{2, 1, 0, 0, 0, 1}, s.intervals[began/interval%intervalsKept])
	})
}

func TestSecondsAndIntervalsLeaveTheRings(t *testing.T) {
	inSynctest(t, func(t *testing.T, r *record) {
		r.Observe(event(ratelimiter.Allowed, "a"))
		count := func() (seconds, intervals uint32) {
			r.mu.Lock()
			defer r.mu.Unlock()
			s := only(t, r)
			for _, one := range s.seconds {
				seconds += one[ratelimiter.Allowed]
			}
			for _, one := range s.intervals {
				intervals += one[ratelimiter.Allowed]
			}
			return seconds, intervals
		}
		for at := range secondsKept + 2 {
			secondOver()
			seconds, intervals := count()
			require.Equal(t, at < secondsKept, seconds == 1, "after %d seconds", at+1)
			require.EqualValues(t, 1, intervals)
		}
		<-time.After(time.Hour)
		r.advance(time.Now())
		require.Empty(t, *r.known.Load(), "a limit that no request met for an hour is dropped")
	})
}

func TestAnIntervalIsShownWhenItIsOver(t *testing.T) {
	inSynctest(t, func(t *testing.T, r *record) {
		r.Observe(event(ratelimiter.Allowed, "a"))
		secondOver()
		shown := func() (list []uint32) {
			r.mu.Lock()
			defer r.mu.Unlock()
			for _, one := range r.seriesStates(true)[0].Hour {
				list = append(list, one[ratelimiter.Allowed])
			}
			return list
		}
		require.Equal(t, make([]uint32, shownHour/interval), shown(), "neither as the newest nor as the oldest")
		for range interval {
			secondOver()
		}
		require.EqualValues(t, 1, shown()[shownHour/interval-1])
	})
}

func TestAnIdleApplicationStaysIdle(t *testing.T) {
	inSynctest(t, func(t *testing.T, r *record) {
		var ticks atomic.Int64
		r.ticked = func() { ticks.Add(1) }
		<-time.After(time.Hour)
		require.Zero(t, ticks.Load(), "there was no decision yet")
		r.Observe(event(ratelimiter.Rejected, "a"))
		<-time.After(time.Hour)
		require.Empty(t, r.rejected.all().clients, "rejected clients expire first")
		require.InDelta(t, 600, ticks.Load(), 5)
		r.Observe(event(ratelimiter.Allowed, "a"))
		before := ticks.Load()
		secondOver()
		require.Greater(t, ticks.Load(), before, "the timer runs again")
		require.EqualValues(t, 1, only(t, r).seconds[r.at%secondsKept][ratelimiter.Allowed])
	})
}

func TestAClockThatIsSetBack(t *testing.T) {
	for _, test := range []struct {
		back time.Duration
		kept uint32
	}{{5 * time.Second, 2}, {time.Hour, 1}} { // after a larger step the history is dropped
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

func TestLatencyCountsEachCallOnce(t *testing.T) {
	inSynctest(t, func(t *testing.T, r *record) {
		for range 98 {
			r.Observe(event(ratelimiter.Allowed, "a"))
		}
		slow := event(ratelimiter.BackendError, "a")
		slow.BackendLatency, slow.Err = 100*time.Millisecond, errors.New("timeout")
		r.Observe(slow)
		local := event(ratelimiter.Allowed, "a")
		local.Fallback = true
		r.Observe(local)
		second := event(ratelimiter.Allowed, "a")
		second.LimitIndex, second.BackendLatency = 1, time.Hour
		r.Observe(second)
		secondOver()
		got := r.backend.seconds[r.at%shownSeconds].micros()
		require.InEpsilon(t, 1, got[0], 0.25)
		require.InEpsilon(t, 1, got[1], 0.25)
		require.Equal(t, got, r.backend.intervals[r.at/interval%intervalsKept].micros())
		require.EqualValues(t, 1, r.backend.fallbackRate(1))
	})
}

func TestLatencyIsThatOfTheLastTenSeconds(t *testing.T) {
	inSynctest(t, func(t *testing.T, r *record) {
		r.Observe(event(ratelimiter.Allowed, "a"))
		for second := range mean + 1 {
			secondOver()
			r.mu.Lock()
			p50 := r.backend.seconds[r.at%shownSeconds].p50
			r.mu.Unlock()
			require.Equal(t, second < mean, p50 > 0, "after %d seconds", second+1)
		}
	})
}

// A page that opens moves the second that the timer is about to move.
func TestASecondMayBeMovedInParts(t *testing.T) {
	inSynctest(t, func(t *testing.T, r *record) {
		fallback := event(ratelimiter.Allowed, "a")
		fallback.Fallback = true
		r.Observe(fallback)
		next := time.Now().Add(time.Second)
		for range 2 {
			r.advance(next)
			r.advance(next)
			require.EqualValues(t, 1, only(t, r).seconds[r.at%secondsKept][ratelimiter.Allowed])
			require.EqualValues(t, 1, r.backend.fellBack[r.at%mean])
			require.NotZero(t, r.backend.seconds[r.at%shownSeconds].p99)
			next = next.Add(time.Second)
			r.Observe(fallback)
		}
	})
}

func TestTheStepsOfAHistogramContainTheirDurations(t *testing.T) {
	for took := time.Duration(1); took < 16*time.Second; took += took/7 + 1 {
		at := step(took)
		require.Less(t, took, endOf(at))
		if at > 0 {
			require.GreaterOrEqual(t, took, endOf(at-1))
		}
	}
	require.Equal(t, len(histogram{})-1, step(time.Hour))
	require.Zero(t, (&histogram{}).quantile(0.5), "of an empty histogram")
}

// flood sends made-up routes, names, keys and scopes.
func flood(r *record, rounds int) {
	for i := range rounds {
		text := fmt.Sprintf("%d-%s", i, strings.Repeat("x", 200))
		for _, outcome := range []ratelimiter.Outcome{ratelimiter.Allowed, ratelimiter.Rejected, ratelimiter.Shadowed} {
			e := event(outcome, text)
			e.Route, e.Name, e.Key = text, text, "key of "+text
			r.Observe(e)
			e.Route, e.Name = "GET /", "per-minute"
			r.Observe(e)
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	heap := func() int64 {
		var stats runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&stats)
		return int64(stats.HeapAlloc)
	}
	before := heap()
	r := newRecord(healthy, func() {})
	defer r.close()
	r.watched.Store(true)
	flood(r, 20_000)
	r.rejected.advance(time.Now().Add(rejectedPeriod))
	flood(r, 20_000)
	r.advance(time.Now().Add(time.Second))
	used := heap() - before
	t.Logf("%d bytes, %d for each limit", used, unsafe.Sizeof(series{}))
	require.Less(t, used, int64(5_500_000), "bytes after 240,000 decisions on made-up limits and clients")
	require.Len(t, *r.known.Load(), maxSeries)
	require.Positive(t, r.other.counts[ratelimiter.Allowed].Load(), "the other limits are counted together")
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
				r := newRecord(healthy, func() {})
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
