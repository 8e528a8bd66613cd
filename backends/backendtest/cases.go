package backendtest

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
)

// cases are all tests.
var cases = slices.Concat(
	each("admits the limit and no more", admitsTheLimit),
	each("a denied take changes nothing", deniedChangesNothing),
	each("takes all quotas or none", allOrNone),
	each("a peek changes nothing", peekChangesNothing),
	each("a refund restores what was taken and never more", refundRestores),
	each("a refund and a charge in one take are made one after the other", refundThenCharge),
	timed(each("a refund with a receipt gives back what still counts", receiptsAreHeeded)),
	timed(each("a receipt from before a reset gives back nothing", receiptsOutliveAReset)),
	timed(each("a refund and a charge in one take make units younger", renews)),
	each("a forced charge goes past the limit", forcedGoesPast),
	each("a shadow decides by itself and alters nothing", shadowAltersNothing),
	each("a changed limit applies at once and forgets nothing", changedLimit),
	each("keys and scopes of any bytes are kept apart", oddKeys),
	each("limits from nothing to the largest", extremes),
	each("many goroutines get the limit exactly", exactUnderConcurrency),
	each("many goroutines take all quotas or none", allOrNoneUnderConcurrency),
	each("reset forgets every limit of a key and scope", resetForgets),
	each("who is rejected too often is banned", bans),
	each("a ban is for a key and scope, and counts what is denied there", bansApart),
	each("bans of one period share their count, in one take too", bansTogether),
	timed(each("a ban ends when it says", banEnds)),
	each("many goroutines are banned after as many rejections", banUnderConcurrency),
	law("retry after and reset after are exact", exactWaits),
	law("never admits more than its bound in any window", boundHolds),
	law("a client that keeps to the limit is never denied", steadyPace),
	law("a client that asks at each RetryAfter gets the whole limit", wholeLimit),
	backward(law("a clock that runs back admits no more", clockRunsBack)),
	timed(each("what was forced is paid back by time", timePaysBack)),
	[]testCase{
		single("a context that is over is not served", contextOver),
		single("nonsense is an error", nonsense),
		single("algorithms and periods on one key have counters of their own", ownCounters),
		single("calendars of zones have counters of their own", calendarsApart),
		{name: "a window of a calendar ends with its day", timed: true, test: func(s *subject) { s.fresh(calendarEnds) }},
		single("closed it says so", closed),
		single("reset all forgets every limit, if the backend can", resetAll),
	},
)

func timed(list []testCase) []testCase {
	for i := range list {
		list[i].timed = true
	}
	return list
}

func backward(list []testCase) []testCase {
	for i := range list {
		list[i].backward = true
	}
	return list
}

func admitsTheLimit(s *subject, algorithm backends.Algorithm) {
	for want := int64(4); want >= 0; want-- {
		v := s.takeOne(daily(algorithm, 5))
		require.True(s, v.Allowed)
		require.Equal(s, want, v.Remaining)
		require.Positive(s, v.ResetAfter)
		require.Zero(s, v.RetryAfter)
	}
	v := s.takeOne(daily(algorithm, 5))
	require.False(s, v.Allowed)
	require.Zero(s, v.Remaining)
	require.Positive(s, v.RetryAfter)
	require.True(s, s.takeOne(costing(scoped(daily(algorithm, 5), "other"), 5)).Allowed, "the whole limit in one request")
}

func deniedChangesNothing(s *subject, algorithm backends.Algorithm) {
	s.takeOne(costing(daily(algorithm, 5), 3))
	for range 10 {
		v := s.takeOne(costing(daily(algorithm, 5), 3))
		require.False(s, v.Allowed)
		require.EqualValues(s, 2, v.Remaining)
	}
	v := s.takeOne(costing(daily(algorithm, 5), 6))
	require.False(s, v.Allowed)
	require.Negative(s, v.RetryAfter, "no waiting helps a cost over the limit")
	require.True(s, s.takeOne(costing(daily(algorithm, 5), 2)).Allowed)
}

func allOrNone(s *subject, algorithm backends.Algorithm) {
	wide, narrow := daily(algorithm, 10), daily(algorithm, 2)
	narrow.Per = time.Hour
	elsewhere := scoped(daily(algorithm, 10), "elsewhere")
	s.take(wide, narrow, elsewhere)
	s.take(wide, narrow, elsewhere)
	v := s.take(wide, narrow, elsewhere)
	require.Equal(s, []bool{true, false, true}, []bool{v[0].Allowed, v[1].Allowed, v[2].Allowed})
	require.Equal(s, []int64{8, 0, 8}, []int64{v[0].Remaining, v[1].Remaining, v[2].Remaining}, "none is charged")
	require.EqualValues(s, 7, s.takeOne(wide).Remaining)
	require.EqualValues(s, 7, s.takeOne(elsewhere).Remaining)
	v = s.take(scoped(wide, "shared"), scoped(wide, "shared"))
	require.Equal(s, []int64{9, 8}, []int64{v[0].Remaining, v[1].Remaining}, "one after the other")
}

func peekChangesNothing(s *subject, algorithm backends.Algorithm) {
	peek := costing(daily(algorithm, 2), 0)
	require.Equal(s, backends.Verdict{Allowed: true, Remaining: 2}, s.takeOne(peek))
	s.takeOne(daily(algorithm, 2))
	for range 3 {
		v := s.takeOne(peek)
		require.True(s, v.Allowed)
		require.EqualValues(s, 1, v.Remaining)
	}
	s.takeOne(daily(algorithm, 2))
	v := s.takeOne(peek)
	require.True(s, v.Allowed, "nothing is asked for, and nothing is over the limit")
	require.Zero(s, v.Remaining)
}

func forcedGoesPast(s *subject, algorithm backends.Algorithm) {
	forced := costing(daily(algorithm, 10), 14)
	forced.Forced = true
	v := s.takeOne(forced)
	require.True(s, v.Allowed)
	require.Zero(s, v.Remaining)
	require.False(s, s.takeOne(daily(algorithm, 10)).Allowed)
	require.False(s, s.takeOne(costing(daily(algorithm, 10), 0)).Allowed, "a peek sees that the limit is exceeded")
	require.Zero(s, s.takeOne(costing(daily(algorithm, 10), -4)).Remaining)
	require.EqualValues(s, 3, s.takeOne(costing(daily(algorithm, 10), -3)).Remaining)
}

func shadowAltersNothing(s *subject, algorithm backends.Algorithm) {
	enforced, shadow := daily(algorithm, 3), daily(algorithm, 1)
	shadow.Shadow = true
	s.take(enforced, shadow)
	v := s.take(enforced, shadow)
	require.True(s, v[0].Allowed)
	require.EqualValues(s, 1, v[0].Remaining, "the shadow has a counter of its own, and denies nothing")
	require.False(s, v[1].Allowed)
	s.takeOne(enforced)
	fresh := scoped(shadow, "fresh")
	v = s.take(enforced, fresh)
	require.False(s, v[0].Allowed)
	require.True(s, v[1].Allowed)
	require.EqualValues(s, 1, v[1].Remaining, "not charged, as the enforced one denied")
}

func changedLimit(s *subject, algorithm backends.Algorithm) {
	s.takeOne(costing(daily(algorithm, 100), 50))
	require.True(s, s.takeOne(daily(algorithm, 1000)).Allowed)
	require.False(s, s.takeOne(costing(daily(algorithm, 20), 15)).Allowed, "what was used is not forgotten")
	require.False(s, s.takeOne(costing(daily(algorithm, 1000), 990)).Allowed)
}

func oddKeys(s *subject, algorithm backends.Algorithm) {
	long := strings.Repeat("x", 1<<20)
	pairs := [][2]string{
		{"", ""}, {"a", ""}, {"", "a"}, {"a", "b"}, {"b", "a"}, {"a:b", "c"}, {"a", "b:c"}, {"a/b", "c"}, {"a", "b/c"},
		{"{a}", "{b}"}, {"{", "}"}, {"\x00", "\xff\xfe"}, {"\r\n", "\n"}, {"*", "?"}, {long, "a"}, {"a", long}, {"key", "snow ☃"},
	}
	for _, pair := range pairs {
		q := daily(algorithm, 1)
		q.Key, q.Scope = pair[0], pair[1]
		require.True(s, s.takeOne(q).Allowed, "%.20q", pair)
	}
	for _, pair := range pairs {
		q := daily(algorithm, 1)
		q.Key, q.Scope = pair[0], pair[1]
		require.False(s, s.takeOne(q).Allowed, "%.20q", pair)
	}
}

func extremes(s *subject, algorithm backends.Algorithm) {
	none := s.takeOne(daily(algorithm, 0))
	require.False(s, none.Allowed)
	require.Negative(s, none.RetryAfter)
	for i, q := range []backends.Quota{
		{Limit: 1, Per: 30 * 24 * time.Hour, Cost: 1},
		{Limit: backends.MaxLimit, Per: backends.MinPer, Cost: backends.MaxLimit},
		{Limit: backends.MaxLimit, Per: backends.MaxPer, Cost: backends.MaxLimit},
		{Limit: 1, Per: backends.MaxPer, Cost: 1},
	} {
		q.Key, q.Scope, q.Algorithm = "extreme", string(rune('a'+i)), algorithm
		v := s.takeOne(q)
		require.True(s, v.Allowed)
		require.Zero(s, v.Remaining)
		require.Positive(s, v.ResetAfter)
		require.LessOrEqual(s, v.ResetAfter, 2*q.Per)
	}
}

func exactUnderConcurrency(s *subject, algorithm backends.Algorithm) {
	require.EqualValues(s, 100, s.compete(16, 25, daily(algorithm, 100)))
}

func allOrNoneUnderConcurrency(s *subject, algorithm backends.Algorithm) {
	wide, narrow := scoped(daily(algorithm, 100), "wide"), scoped(daily(algorithm, 40), "narrow")
	require.EqualValues(s, 40, s.compete(16, 10, wide, narrow))
	require.EqualValues(s, 60, s.takeOne(costing(wide, 0)).Remaining, "what one denied, the other was not charged")
}

// compete takes quotas from many goroutines and counts the takes that were granted.
func (s *subject) compete(goroutines, takes int, quotas ...backends.Quota) int64 {
	var granted atomic.Int64
	var group sync.WaitGroup
	for range goroutines {
		group.Go(func() {
			verdicts := make([]backends.Verdict, len(quotas))
			for range takes {
				if err := s.backend.Take(s.Context(), quotas, verdicts); err != nil {
					s.Error(err)
					return
				}
				if !slices.ContainsFunc(verdicts, func(v backends.Verdict) bool { return !v.Allowed }) {
					granted.Add(1)
				}
			}
		})
	}
	group.Wait()
	return granted.Load()
}

func resetForgets(s *subject, algorithm backends.Algorithm) {
	hourly := daily(algorithm, 1)
	hourly.Per = time.Hour
	require.NoError(s, s.backend.Reset(s.Context(), "key", "scope"), "one never seen is no error")
	s.take(daily(algorithm, 1), hourly)
	require.NoError(s, s.backend.Reset(s.Context(), "key", "another scope"))
	require.NoError(s, s.backend.Reset(s.Context(), "another key", "scope"))
	require.False(s, s.takeOne(hourly).Allowed)
	require.NoError(s, s.backend.Reset(s.Context(), "key", "scope"))
	require.True(s, s.take(daily(algorithm, 1), hourly)[0].Allowed)
}

func contextOver(s *subject) {
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	q := daily(backends.SlidingWindow, 1)
	require.ErrorIs(s, s.backend.Take(ctx, []backends.Quota{q}, make([]backends.Verdict, 1)), context.Canceled)
	require.ErrorIs(s, s.backend.Reset(ctx, q.Key, q.Scope), context.Canceled)
	require.True(s, s.takeOne(q).Allowed, "nothing was charged")
}

func nonsense(s *subject) {
	for name, change := range map[string]func(q *backends.Quota){
		"negative limit": func(q *backends.Quota) { q.Limit = -1 },
		"huge limit":     func(q *backends.Quota) { q.Limit = backends.MaxLimit + 1 },
		"no period":      func(q *backends.Quota) { q.Per = 0 },
		"short period":   func(q *backends.Quota) { q.Per = backends.MinPer - 1 },
		"long period":    func(q *backends.Quota) { q.Per = backends.MaxPer + 1 },
		"huge cost":      func(q *backends.Quota) { q.Cost = backends.MaxLimit + 1 },
		"negative burst": func(q *backends.Quota) { q.Burst = -1 },
		"algorithm":      func(q *backends.Quota) { q.Algorithm = 200 },
		"short ban":      func(q *backends.Quota) { q.Ban = backends.MinPer - 1 },
		"long ban":       func(q *backends.Quota) { q.Ban = backends.MaxPer + 1 },
		"ban for none":   func(q *backends.Quota) { q.Ban, q.Limit = time.Hour, 0 },
		"ban by twos":    func(q *backends.Quota) { q.Ban, q.Cost = time.Hour, 2 },
		"forced ban":     func(q *backends.Quota) { q.Ban, q.Forced = time.Hour, true },
		"shadow ban":     func(q *backends.Quota) { q.Ban, q.Shadow = time.Hour, true },
	} {
		q := daily(backends.TokenBucket, 1)
		change(&q)
		good := scoped(daily(backends.TokenBucket, 1), name)
		require.ErrorIs(s, s.backend.Take(s.Context(), []backends.Quota{good, q}, make([]backends.Verdict, 2)), backends.ErrInvalidQuota, name)
		require.True(s, s.takeOne(good).Allowed, "nothing was charged")
	}
	q := daily(backends.SlidingWindow, 1)
	require.ErrorIs(s, s.backend.Take(s.Context(), []backends.Quota{q}, nil), backends.ErrInvalidQuota, "too few verdicts")
	require.NoError(s, s.backend.Take(s.Context(), nil, nil), "no quota is no error")
}

func ownCounters(s *subject) {
	for _, algorithm := range algorithms {
		for _, per := range []time.Duration{time.Hour, 24 * time.Hour} {
			q := daily(algorithm, 1)
			q.Per = per
			require.True(s, s.takeOne(q).Allowed)
			require.False(s, s.takeOne(q).Allowed)
		}
	}
}

func closed(s *subject) {
	require.NoError(s, s.backend.Close())
	require.NoError(s, s.backend.Close(), "a second time it does nothing")
	q := daily(backends.SlidingWindow, 1)
	require.ErrorIs(s, s.backend.Take(s.Context(), []backends.Quota{q}, make([]backends.Verdict, 1)), backends.ErrClosed)
	require.ErrorIs(s, s.backend.Reset(s.Context(), q.Key, q.Scope), backends.ErrClosed)
}

func resetAll(s *subject) {
	resetter, can := s.backend.(backends.AllResetter)
	if !can {
		return // it need not
	}
	require.NoError(s, resetter.ResetAll(s.Context(), "all/"), "none is no error")
	var quotas []backends.Quota
	for n := range 20 {
		q := daily(algorithms[n%len(algorithms)], 5)
		q.Key, q.Scope, q.Shadow = "all/"+strconv.Itoa(n/2), strconv.Itoa(n), n%3 == 0
		quotas = append(quotas, q)
	}
	denied := scoped(daily(backends.SlidingWindow, 1), "denied")
	denied.Key = "all/denied"
	for range 2 {
		for _, q := range quotas {
			require.EqualValues(s, 4, s.takeOne(q).Remaining)
		}
		require.True(s, s.takeOne(denied).Allowed)
		require.False(s, s.takeOne(denied).Allowed)
		require.False(s, s.takeOne(denied).Allowed)
		require.NoError(s, resetter.ResetAll(s.Context(), "all/"))
	}
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	require.ErrorIs(s, resetter.ResetAll(ctx, "all/"), context.Canceled)
	require.NoError(s, s.backend.Close())
	require.ErrorIs(s, resetter.ResetAll(s.Context(), "all/"), backends.ErrClosed)
}
