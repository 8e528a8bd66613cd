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
	each("a refund restores the units taken and never more", refundRestores),
	each("a refund and a charge in one take are made in order", refundThenCharge),
	timed(each("a refund with a receipt restores only units that still count", refundWithReceipt)),
	timed(each("a receipt from before a reset restores nothing", receiptAfterReset)),
	timed(each("a refund and a forced charge in one take renew units", renews)),
	each("a forced charge goes past the limit", forcedGoesPast),
	each("a shadow decides independently and affects no other quota", shadowAltersNothing),
	each("a changed limit applies at once and keeps its history", changedLimit),
	each("keys and scopes may contain any bytes", oddKeys),
	each("limits from zero to the largest", extremes),
	each("many goroutines get exactly the limit", exactUnderConcurrency),
	each("many goroutines take all quotas or none", allOrNoneUnderConcurrency),
	each("reset clears every limit of a key and scope", resetForgets),
	each("a client with too many rejections is banned", bans),
	each("a ban counts only denials of its own key and scope", bansApart),
	each("bans with the same period share a counter", bansTogether),
	timed(each("a ban ends exactly at RetryAfter", banEnds)),
	each("many goroutines are banned after exactly the limit of rejections", banUnderConcurrency),
	law("RetryAfter and ResetAfter are exact", exactWaits),
	law("no rolling window admits more than the bound", boundHolds),
	law("a client within the limit is never denied", steadyPace),
	law("a client that retries at RetryAfter gets the whole limit", wholeLimit),
	backward(law("a clock that runs backwards admits no more", clockRunsBack)),
	timed(each("a forced charge is paid back over time", timePaysBack)),
	[]testCase{
		single("a context that has ended is an error", contextEnded),
		single("an invalid quota is an error", invalidQuotas),
		single("each algorithm and period has a counter of its own", ownCounters),
		single("each time zone has a calendar of its own", calendarsApart),
		{name: "a calendar window ends with its day", timed: true, test: func(s *subject) { s.fresh(calendarEnds) }},
		single("a closed backend returns ErrClosed", closed),
		single("reset all clears every limit, if supported", resetAll),
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
	require.Negative(s, v.RetryAfter, "waiting does not help if the cost is over the limit")
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
	require.Equal(s, []int64{9, 8}, []int64{v[0].Remaining, v[1].Remaining}, "charged in order")
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
	require.True(s, v.Allowed, "the limit is used up but not exceeded")
	require.Zero(s, v.Remaining)
}

func forcedGoesPast(s *subject, algorithm backends.Algorithm) {
	forced := costing(daily(algorithm, 10), 14)
	forced.Forced = true
	v := s.takeOne(forced)
	require.True(s, v.Allowed)
	require.Zero(s, v.Remaining)
	require.False(s, s.takeOne(daily(algorithm, 10)).Allowed)
	require.False(s, s.takeOne(costing(daily(algorithm, 10), 0)).Allowed, "a peek is denied when the limit is exceeded")
	require.Zero(s, s.takeOne(costing(daily(algorithm, 10), -4)).Remaining)
	require.EqualValues(s, 3, s.takeOne(costing(daily(algorithm, 10), -3)).Remaining)
}

func shadowAltersNothing(s *subject, algorithm backends.Algorithm) {
	enforced, shadow := daily(algorithm, 3), daily(algorithm, 1)
	shadow.Shadow = true
	s.take(enforced, shadow)
	v := s.take(enforced, shadow)
	require.True(s, v[0].Allowed)
	require.EqualValues(s, 1, v[0].Remaining, "the shadow has a counter of its own and does not deny")
	require.False(s, v[1].Allowed)
	s.takeOne(enforced)
	fresh := scoped(shadow, "fresh")
	v = s.take(enforced, fresh)
	require.False(s, v[0].Allowed)
	require.True(s, v[1].Allowed)
	require.EqualValues(s, 1, v[1].Remaining, "not charged, because the enforced quota denied")
}

func changedLimit(s *subject, algorithm backends.Algorithm) {
	s.takeOne(costing(daily(algorithm, 100), 50))
	require.True(s, s.takeOne(daily(algorithm, 1000)).Allowed)
	require.False(s, s.takeOne(costing(daily(algorithm, 20), 15)).Allowed, "used units still count")
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
	require.EqualValues(s, 60, s.takeOne(costing(wide, 0)).Remaining, "denied takes charge neither quota")
}

// compete takes quotas from many goroutines and counts the takes that were allowed.
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
	require.NoError(s, s.backend.Reset(s.Context(), "key", "scope"), "an unknown key is not an error")
	s.take(daily(algorithm, 1), hourly)
	require.NoError(s, s.backend.Reset(s.Context(), "key", "another scope"))
	require.NoError(s, s.backend.Reset(s.Context(), "another key", "scope"))
	require.False(s, s.takeOne(hourly).Allowed)
	require.NoError(s, s.backend.Reset(s.Context(), "key", "scope"))
	require.True(s, s.take(daily(algorithm, 1), hourly)[0].Allowed)
}

func contextEnded(s *subject) {
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	q := daily(backends.SlidingWindow, 1)
	require.ErrorIs(s, s.backend.Take(ctx, []backends.Quota{q}, make([]backends.Verdict, 1)), context.Canceled)
	require.ErrorIs(s, s.backend.Reset(ctx, q.Key, q.Scope), context.Canceled)
	require.True(s, s.takeOne(q).Allowed, "nothing was charged")
}

func invalidQuotas(s *subject) {
	for name, change := range map[string]func(q *backends.Quota){
		"negative limit":   func(q *backends.Quota) { q.Limit = -1 },
		"huge limit":       func(q *backends.Quota) { q.Limit = backends.MaxLimit + 1 },
		"no period":        func(q *backends.Quota) { q.Per = 0 },
		"short period":     func(q *backends.Quota) { q.Per = backends.MinPer - 1 },
		"long period":      func(q *backends.Quota) { q.Per = backends.MaxPer + 1 },
		"huge cost":        func(q *backends.Quota) { q.Cost = backends.MaxLimit + 1 },
		"huge refund":      func(q *backends.Quota) { q.Cost = -backends.MaxLimit - 1 },
		"negative burst":   func(q *backends.Quota) { q.Burst = -1 },
		"huge burst":       func(q *backends.Quota) { q.Burst = backends.MaxLimit + 1 },
		"algorithm":        func(q *backends.Quota) { q.Algorithm = 200 },
		"next algorithm":   func(q *backends.Quota) { q.Algorithm = backends.TokenBucket + 1 },
		"after that":       func(q *backends.Quota) { q.Algorithm = backends.TokenBucket + 2 },
		"short ban":        func(q *backends.Quota) { q.Ban = backends.MinPer - 1 },
		"long ban":         func(q *backends.Quota) { q.Ban = backends.MaxPer + 1 },
		"ban with limit 0": func(q *backends.Quota) { q.Ban, q.Limit = time.Hour, 0 },
		"ban with cost 2":  func(q *backends.Quota) { q.Ban, q.Cost = time.Hour, 2 },
		"ban with cost -1": func(q *backends.Quota) { q.Ban, q.Cost = time.Hour, -1 },
		"forced ban":       func(q *backends.Quota) { q.Ban, q.Forced = time.Hour, true },
		"shadow ban":       func(q *backends.Quota) { q.Ban, q.Shadow = time.Hour, true },
	} {
		q := daily(backends.TokenBucket, 1)
		change(&q)
		good := scoped(daily(backends.TokenBucket, 1), name)
		require.ErrorIs(s, s.backend.Take(s.Context(), []backends.Quota{good, q}, make([]backends.Verdict, 2)), backends.ErrInvalidQuota, name)
		require.True(s, s.takeOne(good).Allowed, "nothing was charged")
	}
	q := daily(backends.SlidingWindow, 1)
	require.ErrorIs(s, s.backend.Take(s.Context(), []backends.Quota{q}, nil), backends.ErrInvalidQuota, "too few verdicts")
	require.NoError(s, s.backend.Take(s.Context(), nil, nil), "no quotas, no error")
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
	require.NoError(s, s.backend.Close(), "closing again does nothing")
	q := daily(backends.SlidingWindow, 1)
	require.ErrorIs(s, s.backend.Take(s.Context(), []backends.Quota{q}, make([]backends.Verdict, 1)), backends.ErrClosed)
	require.ErrorIs(s, s.backend.Reset(s.Context(), q.Key, q.Scope), backends.ErrClosed)
}

func resetAll(s *subject) {
	resetter, ok := s.backend.(backends.AllResetter)
	if !ok {
		return // it is optional
	}
	require.NoError(s, resetter.ResetAll(s.Context(), "all/"), "no matching key is not an error")
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
