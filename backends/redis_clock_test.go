package backends_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/internal/redistest"
	"github.com/stretchr/testify/require"
)

// clockOf returns the clock of a new miniredis, set to a time.
func clockOf(t *testing.T, start time.Time) *miniClock {
	clock := &miniClock{miniredis.RunT(t), start, start}
	clock.Advance(0)
	return clock
}

// uncached returns options of a backend that does not cache denials. The local clock is not
// the server's here, so it would cache them too long.
func uncached(addr string) map[string]any {
	return map[string]any{"addr": addr, "local_denials": false}
}

// The same history runs on servers an hour behind, at and an hour ahead of the clock of
// this process. Periods of an hour are at the same position on all of them.
func TestAnApplicationWhoseClockIsAnHourOffGetsTheSameVerdicts(t *testing.T) {
	history := func(start time.Time) (verdicts []backends.Verdict, kept []time.Duration) {
		clock := clockOf(t, start)
		backend := open(t, uncached(clock.server.Addr()))
		for _, later := range []time.Duration{0, time.Minute, 0, 20 * time.Minute, 50 * time.Minute, time.Hour, time.Second} {
			clock.Advance(later)
			for _, algorithm := range everyAlgorithm {
				quota := hourly(algorithm.String(), 2)
				quota.Algorithm = algorithm
				verdicts = append(verdicts, take(t, backend, quota)...)
			}
			for _, key := range clock.server.Keys() {
				kept = append(kept, clock.server.TTL(key))
			}
		}
		return verdicts, kept
	}
	now := time.Now().Truncate(time.Hour).Add(7 * time.Minute)
	verdicts, kept := history(now)
	for _, wrong := range []time.Duration{-time.Hour, time.Hour} {
		otherVerdicts, otherKept := history(now.Add(wrong))
		require.Equal(t, verdicts, otherVerdicts, "%v", wrong)
		require.Equal(t, kept, otherKept, "%v", wrong)
	}
}

// In a bubble of synctest the year is 2000, and time passes only when a test waits.
func TestAnApplicationWhoseClockIsYearsOffSharesTheLimitsOfARealServer(t *testing.T) {
	server := redistest.Single(t)
	right := open(t, at(server.Addr))
	for _, algorithm := range everyAlgorithm {
		quota := hourly(algorithm.String(), 6)
		quota.Algorithm, quota.Per = algorithm, 720*time.Hour
		require.EqualValues(t, 5, take(t, right, quota)[0].Remaining)
		synctest.Test(t, func(t *testing.T) {
			wrong, err := backends.NewRedis(at(server.Addr))
			require.NoError(t, err)
			verdict := take(t, wrong, quota)[0]
			require.EqualValues(t, 4, verdict.Remaining)
			require.LessOrEqual(t, verdict.ResetAfter, 2*720*time.Hour, "on the server's clock")
			<-time.After(1000 * time.Hour)
			require.EqualValues(t, 3, take(t, wrong, quota)[0].Remaining, "nothing has expired")
			require.NoError(t, wrong.Close())
		})
		require.EqualValues(t, 2, take(t, right, quota)[0].Remaining)
	}
}

func TestAServerWhoseClockStepsAdmitsNoMoreThanItsClockAllows(t *testing.T) {
	for _, algorithm := range everyAlgorithm {
		for name, step := range map[string]time.Duration{"back": -90 * time.Minute, "forward": 90 * time.Minute} {
			t.Run(algorithm.String()+" "+name, func(t *testing.T) {
				clock := clockOf(t, time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC))
				backend := open(t, uncached(clock.server.Addr()))
				const limit = 10
				quota := hourly("k", limit)
				quota.Algorithm = algorithm
				admitted := func() (n int64) {
					for range 3 * limit {
						if take(t, backend, quota)[0].Allowed {
							n++
						}
					}
					return n
				}
				require.EqualValues(t, limit, admitted())
				clock.Advance(step)
				during := admitted()
				clock.Advance(-step)
				after := admitted()
				t.Logf("%d while the clock is wrong, %d once it is right again", during, after)
				if step < 0 {
					require.Zero(t, during, "a clock that runs backwards grants nothing")
				} else {
					require.LessOrEqual(t, during, int64(limit), "as if that time had passed")
				}
				require.Zero(t, after, "and only once")

				clock.Advance(6 * time.Hour)
				require.EqualValues(t, limit, admitted(), "the step has no lasting effect")
			})
		}
	}
}
