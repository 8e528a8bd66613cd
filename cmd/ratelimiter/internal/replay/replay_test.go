package replay

import (
	"fmt"
	"hash/maphash"
	"slices"
	"testing"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/traffic"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// someTraffic draws a census of several clients, and one of the same traffic without the
// period, so that a replay skips no client.
func someTraffic(t *rapid.T, per time.Duration) (census, unmeasured *traffic.Census) {
	times := rapid.SliceOfN(rapid.Int64Range(0, 5*per.Microseconds()), 1, 300).Draw(t, "times")
	slices.Sort(times)
	census, unmeasured = traffic.NewCensus([]time.Duration{per}), traffic.NewCensus(nil)
	seed := maphash.MakeSeed()
	for _, at := range times {
		key := fmt.Appendf(nil, "%d", rapid.IntRange(0, 4).Draw(t, "client"))
		hash := maphash.Bytes(seed, key)
		census.Add(at, census.ID(key, hash), 0)
		unmeasured.Add(at, unmeasured.ID(key, hash), 0)
	}
	return census, unmeasured
}

func TestClientsSkippedByAReplayWouldNotBeRejected(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		per := rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second}).Draw(t, "per")
		census, unmeasured := someTraffic(t, per)
		limits := []ratelimiter.Limit{{Limit: rapid.Int64Range(0, 60).Draw(t, "limit"), Per: per}}
		for _, algorithm := range Algorithms {
			require.Equal(t, Run(unmeasured, algorithm, limits), Run(census, algorithm, limits))
		}
	})
	// A sliding log above 128 is coarse: it may reject clients that never exceeded the limit.
	census, unmeasured := traffic.NewCensus([]time.Duration{time.Second}), traffic.NewCensus(nil)
	for i := range int64(1000) {
		for _, c := range []*traffic.Census{census, unmeasured} {
			c.Add(i*5001, c.ID([]byte("a"), 1), 0)
		}
	}
	limits := []ratelimiter.Limit{{Limit: census.Most(0, 0), Per: time.Second}}
	require.EqualValues(t, 200, limits[0].Limit)
	require.Positive(t, Run(census, "sliding-log", limits).Requests)
	require.Equal(t, Run(unmeasured, "sliding-log", limits), Run(census, "sliding-log", limits))
}

// The maxima and the replay are independent computations of the same result.
func TestTheReplayAgreesWithTheRollingMaxima(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		per := rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second, time.Hour}).Draw(t, "per")
		limit := rapid.Int64Range(0, 128).Draw(t, "limit")
		if rapid.Bool().Draw(t, "low") {
			limit %= 12
		}
		census, unmeasured := someTraffic(t, per)
		above := map[uint32]bool{}
		for id := range uint32(census.Clients()) {
			if census.Most(id, 0) > limit {
				above[id] = true
			}
		}
		for _, algorithm := range Algorithms {
			o := Run(unmeasured, algorithm, []ratelimiter.Limit{{Limit: limit, Per: per}})
			rejected := map[uint32]bool{}
			var sum, inTime int64
			for _, c := range o.Clients {
				rejected[c.ID] = true
				sum += c.Requests
			}
			for _, n := range o.Rejections {
				inTime += n
			}
			require.Equal(t, o.Requests, sum)
			require.Equal(t, o.Requests, inTime)
			switch algorithm {
			case "sliding-log":
				require.Equal(t, above, rejected, "the log rejects those who have more than the limit in a period, and nobody else")
				require.LessOrEqual(t, o.Requests, census.Over(0, limit))
			case "fixed-window", "token-bucket":
				for id := range rejected {
					require.True(t, above[id], "%s rejects somebody who never had more than the limit", algorithm)
				}
			default:
				for id := range rejected {
					require.Greater(t, 2*census.Most(id, 0), limit)
				}
			}
		}
	})
}

// Every decision is compared with that of the library on the same clock.
func TestALimiterDecidesAsTheLibraryDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		algorithm := rapid.SampledFrom(Algorithms).Draw(t, "algorithm")
		kind, err := backends.ParseAlgorithm(algorithm)
		require.NoError(t, err)
		limits := []ratelimiter.Limit{
			{Limit: rapid.Int64Range(0, 200).Draw(t, "limit"), Per: 1009 * time.Microsecond},
			{Limit: rapid.Int64Range(1, 20).Draw(t, "other limit"), Per: 10 * time.Millisecond},
		}[:rapid.IntRange(1, 2).Draw(t, "limits")]
		l := NewLimiter(algorithm, limits)
		state := ""
		now := time.UnixMicro(1_700_000_000_000_000)
		for _, step := range rapid.SliceOf(rapid.IntRange(0, 3000)).Draw(t, "steps") {
			now = now.Add(time.Duration(step) * time.Microsecond)
			quotas := []backends.Quota{}
			for _, limit := range limits {
				quotas = append(quotas, backends.Quota{Algorithm: kind, Limit: limit.Limit, Per: limit.Per, Cost: 1})
			}
			verdicts := make([]backends.Verdict, len(quotas))
			require.NoError(t, backends.Decide(now, quotas, verdicts,
				func(string, string) (string, error) { return state, nil },
				func(_, _, text string, _ time.Time) error { state = text; return nil }))
			want, wait := true, time.Duration(0)
			for _, v := range verdicts {
				want = want && v.Allowed
				if v.RetryAfter < 0 || wait < 0 {
					wait = -1
				} else {
					wait = max(wait, v.RetryAfter)
				}
			}
			allowed, after := l.Take(now.UnixMicro())
			require.Equal(t, want, allowed)
			if wait > 0 {
				require.Equal(t, wait.Microseconds(), after)
			}
			require.Equal(t, wait < 0, after < 0)
		}
	})
}

func TestThePeakIsTheMostThatALimitAllowsOfAllClients(t *testing.T) {
	census := traffic.NewCensus([]time.Duration{time.Second})
	for i := range int64(30) {
		key := []byte{byte(i % 3)}
		census.Add(i, census.ID(key, uint64(i%3)), 0)
	}
	peak := Peak(census, "sliding-log", ratelimiter.Limit{Limit: 4, Per: time.Second}, 1000)
	require.EqualValues(t, 12, peak)
	require.EqualValues(t, 6, Peak(census, "sliding-log", ratelimiter.Limit{Limit: 4, Per: time.Second}, 5))
}
