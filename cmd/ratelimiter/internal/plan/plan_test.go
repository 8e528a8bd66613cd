package plan

import (
	"fmt"
	"hash/maphash"
	"testing"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/replay"
	"github.com/gin-ratelimiter/ratelimiter/cmd/ratelimiter/internal/traffic"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func someCensus(t *rapid.T) *traffic.Census {
	census := traffic.NewCensus([]time.Duration{time.Second, 10 * time.Second, time.Minute})
	seed := maphash.MakeSeed()
	at := int64(1_700_000_000_000_000)
	for range rapid.IntRange(1, 400).Draw(t, "events") {
		at += rapid.Int64Range(0, 1_000_000).Draw(t, "step")
		key := fmt.Appendf(nil, "%d", rapid.IntRange(0, 30).Draw(t, "a")*rapid.IntRange(0, 3).Draw(t, "b"))
		census.Add(at, census.ID(key, maphash.Bytes(seed, key)), 0)
	}
	return census
}

func TestARecommendationMeetsItsTargetUnderEachAlgorithm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		census := someCensus(t)
		curves := Curves(census)
		algorithm := rapid.SampledFrom(replay.Algorithms).Draw(t, "algorithm")
		text := rapid.SampledFrom([]string{"0%-clients", "5%-clients", "20%-clients", "2%-requests", "30%-requests", "20/second"}).Draw(t, "target")
		target, err := ParseTarget(text)
		require.NoError(t, err)
		advice, err := Recommend(census, curves, []time.Duration{time.Second, 10 * time.Second, time.Minute}, target, algorithm)
		if !target.IsShare() && err != nil {
			require.ErrorContains(t, err, "even one request per client exceeds it")
			return
		}
		require.NoError(t, err)
		if !target.IsShare() {
			require.LessOrEqual(t, replay.Peak(census, algorithm, advice.Limits[0], target.Server.Limit), target.Server.Limit)
			return
		}
		o := replay.Run(census, algorithm, advice.Limits)
		require.False(t, target.Exceeded(len(o.Clients), census.Clients(), o.Requests, census.History.Events))
	})
}

func TestAnExactLimiterRejectsTheClientsAboveTheLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		census := someCensus(t)
		for k, curve := range Curves(census) {
			limit := rapid.Int64Range(1, 128).Draw(t, "limit")
			per := time.Duration(census.Periods[k]) * time.Microsecond
			o := replay.Run(census, "sliding-log", []ratelimiter.Limit{{Limit: limit, Per: per}})
			require.Len(t, o.Clients, curve.Over(limit))
			fit := curve.Tightest(2)
			require.LessOrEqual(t, curve.Over(fit), 2)
			require.True(t, fit == 1 || curve.Over(fit-1) > 2, "a lower limit would do")
		}
	})
}

func TestRoundNumbersAreNeverLower(t *testing.T) {
	for limit, want := range map[int64]int64{0: 1, 5: 5, 7: 8, 9: 10, 75: 80, 81: 100, 101: 120, 121: 150, 610: 800, 999_999: 1_000_000} {
		require.Equal(t, want, Round(limit))
	}
}

func TestTargetsAreParsed(t *testing.T) {
	for text, want := range map[string]Target{
		"0.1%-clients": {Clients: 0.1}, "1%": {Clients: 1}, "1% requests": {Requests: 1, kind: byRequests},
	} {
		got, err := ParseTarget(text)
		require.NoError(t, err)
		want.Text = text
		require.Equal(t, want, got)
	}
	for _, text := range []string{"", "x%", "101%", "NaN%", "1%-users", "0/second", "1/second; 2/minute"} {
		_, err := ParseTarget(text)
		require.Error(t, err, text)
	}
}

func TestAWholeNumberMeetsItsOwnShare(t *testing.T) {
	for percent, want := range map[string]int64{"0.1": 1, "0.3": 3, "0.7": 7, "1.1": 11, "2.9": 29, "5.7": 57, "100": 1000} {
		target, err := ParseTarget(percent + "%")
		require.NoError(t, err)
		require.False(t, target.Exceeded(int(want), 1000, 0, 1000), percent)
		require.True(t, target.Exceeded(int(want)+1, 1000, 0, 1000), percent)
		require.Equal(t, want, PartOf(target.Clients, 1000), percent)
	}
}

func TestTheKindOfAClientDependsOnItsRequests(t *testing.T) {
	census := traffic.NewCensus([]time.Duration{time.Minute})
	who := map[string]uint32{}
	at := int64(0)
	add := func(name string, passed time.Duration, traits traffic.Traits) {
		at += passed.Microseconds()
		id := census.ID([]byte(name), maphash.String(maphash.MakeSeed(), "x"))
		if known, ok := who[name]; ok {
			id = known
		}
		who[name] = id
		census.Add(at, id, traits)
	}
	for range 20 {
		add("scanning", time.Second, traffic.Fault)
		add("page", 0, traffic.Asset)
	}
	for range 30 {
		add("steady", time.Minute, 0)
	}
	for i := range 60 {
		add("bursty", time.Duration(i/59)*10*time.Hour, 0)
	}
	for name, id := range who {
		require.Equal(t, name, KindOf(census, id))
	}
}

func TestEachRouteMeetsTheTarget(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		census := traffic.NewCensus([]time.Duration{time.Second, time.Minute})
		seed := maphash.MakeSeed()
		at := int64(1_700_000_000_000_000)
		for range rapid.IntRange(1, 300).Draw(t, "events") {
			at += rapid.Int64Range(0, 1_000_000).Draw(t, "step")
			key := fmt.Appendf(nil, "%d\x00GET /%d", rapid.IntRange(0, 9).Draw(t, "client"), rapid.IntRange(0, 3).Draw(t, "route"))
			census.Add(at, census.ID(key, maphash.Bytes(seed, key)), 0)
		}
		algorithm := rapid.SampledFrom(replay.Algorithms).Draw(t, "algorithm")
		target, err := ParseTarget(rapid.SampledFrom([]string{"0%", "20%", "5%-requests"}).Draw(t, "target"))
		require.NoError(t, err)
		routes := EachRoute(census, []time.Duration{time.Second, time.Minute}, target, algorithm, 3)
		require.LessOrEqual(t, len(routes), 3)
		for i, r := range routes {
			require.GreaterOrEqual(t, r.Requests, int64(10))
			require.True(t, i == 0 || r.Requests <= routes[i-1].Requests)
			rejected := map[string]int64{}
			outcome := replay.Run(census, algorithm, r.Limits)
			for _, c := range outcome.Clients {
				if name, route := census.Name(c.ID); route == r.Name {
					rejected[name] = c.Requests
				}
			}
			var requests int64
			for _, n := range rejected {
				requests += n
			}
			require.Len(t, rejected, r.RejectedClients)
			require.Equal(t, requests, r.RejectedRequests)
			require.False(t, target.Exceeded(len(rejected), r.Clients, requests, r.Requests))
		}
	})
}

func TestTheLimitOfARouteIsTheLowestRoundOneThatMeetsTheTarget(t *testing.T) {
	census := traffic.NewCensus([]time.Duration{time.Minute})
	for i := range int64(100) {
		for route, every := range map[string]int64{"GET /often": 1, "GET /seldom": 10, "GET /hardly": 12} {
			key := []byte("a\x00" + route)
			if i%every == 0 {
				census.Add(i*1000, census.ID(key, uint64(every)), 0)
			}
		}
	}
	target, err := ParseTarget("0%")
	require.NoError(t, err)
	routes := EachRoute(census, []time.Duration{time.Minute}, target, "sliding-log", 20)
	require.Len(t, routes, 2)
	require.Equal(t, "GET /often", routes[0].Name)
	require.Equal(t, []ratelimiter.Limit{{Limit: 100, Per: time.Minute}}, routes[0].Limits)
	require.Equal(t, []ratelimiter.Limit{{Limit: 10, Per: time.Minute}}, routes[1].Limits)
}

// Neither limit helps alone, and the first not at all.
func TestLimitsThatRejectTheSameRequestsAreRaisedTogether(t *testing.T) {
	periods := []time.Duration{time.Second, time.Minute, time.Hour}
	census := traffic.NewCensus(periods)
	key := []byte("a\x00GET /")
	for i := range int64(10) { // of which five come hours later
		census.Add(i+i/5*12*time.Hour.Microseconds(), census.ID(key, 1), 0)
	}
	limits := []ratelimiter.Limit{{Limit: 1000, Per: periods[0]}, {Limit: 1, Per: periods[1]}, {Limit: 1, Per: periods[2]}}
	outcome := replay.Run(census, "sliding-log", limits)
	steps := 0
	for ; outcome.Requests > 0 && steps < 10; steps++ {
		limits, outcome = loosen(census, limits, outcome)
	}
	require.LessOrEqual(t, steps, 4)
	require.EqualValues(t, 5, limits[1].Limit)
	require.EqualValues(t, 5, limits[2].Limit)

	target, err := ParseTarget("0%")
	require.NoError(t, err)
	a := &routeAdviser{census: census, target: target, algorithm: "sliding-log"}
	a.find(periods, 1)
	a.routes[0].Limits = []ratelimiter.Limit{{Limit: 1000, Per: periods[0]}, {Limit: 1, Per: periods[1]}, {Limit: 1, Per: periods[2]}}
	a.loosen()
	require.EqualValues(t, 5, a.routes[0].Limits[2].Limit)
}
