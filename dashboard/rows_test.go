package dashboard

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// on is a decision on a limit of a route.
func on(route, name string, outcome ratelimiter.Outcome) ratelimiter.Event {
	e := event(outcome, "a")
	e.Route, e.Key, e.Name = route, route, name
	return e
}

// withKey is a decision on a limit of a route whose key is not the route.
func withKey(key string, e ratelimiter.Event) ratelimiter.Event {
	e.Key = key
	return e
}

func observe(r *record, times int, e ratelimiter.Event) {
	for range times {
		r.Observe(e)
	}
}

func rowsOf(r *record) []row {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rows()
}

func titles(rows []row) (list []string) {
	for _, one := range rows {
		list = append(list, one.Title)
	}
	return list
}

func TestWithoutRequestsThereAreNoRows(t *testing.T) {
	inSynctest(t, func(t *testing.T, r *record) {
		data, err := json.Marshal(rowsOf(r))
		require.NoError(t, err)
		require.JSONEq(t, "[]", string(data), "the page expects a list")
	})
}

func TestTheLimitThatRejectsMostIsFirst(t *testing.T) {
	inSynctest(t, func(t *testing.T, r *record) {
		observe(r, 50, on("GET /busy", "per-minute", ratelimiter.Allowed))
		observe(r, 10, on("GET /quiet", "per-minute", ratelimiter.Allowed))
		observe(r, 3, on("GET /some", "per-minute", ratelimiter.Rejected))
		observe(r, 2, on("GET /most", "per-minute", ratelimiter.Rejected))
		observe(r, 2, on("GET /most", "per-minute", ratelimiter.Banned))
		shadow := on("GET /shadow", "shadow-per-minute", ratelimiter.Shadowed)
		shadow.Shadow = true
		observe(r, 20, shadow)
		secondOver()
		require.Equal(t, []string{"GET /most", "GET /some", "GET /shadow", "GET /busy", "GET /quiet"}, titles(rowsOf(r)))

		for range shownSeconds {
			secondOver()
		}
		require.Equal(t, "GET /busy", rowsOf(r)[0].Title, "rejections count for five minutes, and then the requests of the last hour")
	})
}

func TestRoutesThatShareALimitAreOneRow(t *testing.T) {
	inSynctest(t, func(t *testing.T, r *record) {
		for _, route := range []string{"GET /", "GET /cart", "POST /checkout"} {
			observe(r, 2, withKey("application", on(route, "application-per-minute", ratelimiter.Allowed)))
			observe(r, 1, withKey("application", on(route, "application-per-minute", ratelimiter.Rejected)))
		}
		// A route numbers the limits that have one name.
		observe(r, 3, withKey("uploads", on("POST /photos", "per-minute", ratelimiter.Allowed)))
		observe(r, 4, withKey("uploads", on("POST /videos", "per-minute-2", ratelimiter.Allowed)))
		observe(r, 1, on("POST /videos", "per-minute", ratelimiter.Allowed))
		secondOver()
		rows := rowsOf(r)
		require.Equal(t, []string{"application", "uploads", "POST /videos"}, titles(rows))
		require.Equal(t, []string{ofApplication, ofSharedKey, ofRoute}, []string{rows[0].Kind, rows[1].Kind, rows[2].Kind})
		require.Equal(t, []int{1, 2, 3}, rows[0].Series)
		require.Equal(t, tally{6, 3}, rows[0].Minutes)
		require.Equal(t, tally{6, 3}, rows[0].Hour)
		require.EqualValues(t, 7, rows[1].Minutes.requests())
	})
}

func TestLimitsThatDifferAreNotOneRow(t *testing.T) {
	inSynctest(t, func(t *testing.T, r *record) {
		shared := withKey("uploads", on("POST /photos", "per-minute", ratelimiter.Allowed))
		r.Observe(shared)
		perHour, shadow, application := shared, shared, shared
		perHour.Route, perHour.Per = "POST /videos", time.Hour
		r.Observe(perHour)
		shadow.Route, shadow.Shadow = "POST /songs", true
		r.Observe(shadow)
		// A key may have the name of the key of the application limits.
		r.Observe(withKey("application", on("GET /", "per-minute", ratelimiter.Allowed)))
		application.Key, application.Route, application.Name = "application", "GET /cart", "application-per-minute"
		r.Observe(application)
		require.Len(t, rowsOf(r), 5)
	})
}

func TestALimitWhoseKeyDependsOnTheRequestBelongsToItsRoute(t *testing.T) {
	inSynctest(t, func(t *testing.T, r *record) {
		for _, tenant := range []string{"acme", "zenith"} {
			for _, route := range []string{"GET /invoices", "GET /orders"} {
				r.Observe(withKey(tenant, on(route, "per-minute", ratelimiter.Allowed)))
			}
		}
		rows := rowsOf(r)
		require.ElementsMatch(t, []string{"GET /invoices", "GET /orders"}, titles(rows))
		require.Equal(t, ofRoute, rows[0].Kind)
	})
}

func TestCallsOutsideRequestsAreRows(t *testing.T) {
	inSynctest(t, func(t *testing.T, r *record) {
		r.Observe(withKey("emails", on("", "per-minute", ratelimiter.Allowed)))
		r.Observe(withKey("job 1", on("", "per-hour", ratelimiter.Allowed)))
		r.Observe(withKey("job 2", on("", "per-hour", ratelimiter.Allowed)))
		rows := rowsOf(r)
		require.ElementsMatch(t, []string{"emails", ""}, titles(rows))
		require.Equal(t, []string{ofCalls, ofCalls}, []string{rows[0].Kind, rows[1].Kind})
	})
}

func TestARateIsTheMeanOfTenSeconds(t *testing.T) {
	inSynctest(t, func(t *testing.T, r *record) {
		rate := func() float64 { return rowsOf(r)[0].Rate[ratelimiter.Allowed] }
		observe(r, 60, on("GET /", "per-minute", ratelimiter.Allowed))
		secondOver()
		require.EqualValues(t, 60, rate(), "after a start, of the time since then")
		secondOver()
		require.EqualValues(t, 30, rate())
		for range mean - 2 {
			secondOver()
		}
		require.EqualValues(t, 6, rate())
		secondOver()
		require.EqualValues(t, 0, rate())
		observe(r, 40, on("GET /", "per-minute", ratelimiter.Allowed))
		secondOver()
		require.EqualValues(t, 4, rate())
	})
}

func TestARequestCountsOnceInTheTotals(t *testing.T) {
	inSynctest(t, func(t *testing.T, r *record) {
		totals := func() totals {
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.totals()
		}
		// Of 10 requests the application limit rejects 2; of the other 8 one RateLimit with
		// two limits rejects 3, one of them by both.
		observe(r, 8, withKey("application", on("GET /", "application-per-minute", ratelimiter.Allowed)))
		observe(r, 2, withKey("application", on("GET /", "application-per-minute", ratelimiter.Rejected)))
		observe(r, 6, on("GET /", "per-second", ratelimiter.Allowed))
		observe(r, 2, on("GET /", "per-second", ratelimiter.Rejected))
		observe(r, 5, on("GET /", "per-minute", ratelimiter.Allowed))
		observe(r, 3, on("GET /", "per-minute", ratelimiter.Rejected))
		observe(r, 4, on("GET /other", "per-minute", ratelimiter.Allowed))
		observe(r, 1, withKey("emails", on("", "per-minute", ratelimiter.Banned)))
		secondOver()
		require.EqualValues(t, 15, totals().Requests)
		require.EqualValues(t, 6, totals().Rejected)
	})
}

func TestTheTotalOfARouteIsBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limits := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) tally {
			return tally{rapid.Uint64Range(0, 50).Draw(t, "allowed"), rapid.Uint64Range(0, 50).Draw(t, "rejected")}
		}), 1, 5).Draw(t, "limits")
		requests, rejected := routeTotal(limits)
		var strictest, all uint64
		for i := range limits {
			strictest, all = max(strictest, limits[i].rejected()), all+limits[i].rejected()
			require.GreaterOrEqual(t, requests, limits[i].requests())
		}
		require.GreaterOrEqual(t, rejected, strictest)
		require.LessOrEqual(t, rejected, all)
		require.LessOrEqual(t, rejected, requests)
	})
}

func TestALimitIsALineOnlyWhereTheChartCanShowIt(t *testing.T) {
	shared := on("GET /", "per-second", ratelimiter.Allowed)
	shared.Scope, shared.Per, shared.Limit = everyone, time.Second, 40
	for name, test := range map[string]struct {
		change func(*ratelimiter.Event)
		line   float64
	}{
		"all clients share 40 per second":    {func(*ratelimiter.Event) {}, 40},
		"all clients share 40 per 5 seconds": {func(e *ratelimiter.Event) { e.Per = 5 * time.Second }, 8},
		"each client has a limit":            {func(e *ratelimiter.Event) { e.Scope = "a" }, 0},
		"a request costs two units":          {func(e *ratelimiter.Event) { e.Cost = 2 }, 0},
		"a mean of 10 s may exceed 40/min":   {func(e *ratelimiter.Event) { e.Per = time.Minute }, 0},
		"a mean of 10 s may contain a burst": {func(e *ratelimiter.Event) { e.Burst = 100 }, 0},
		"requests in progress":               {func(e *ratelimiter.Event) { e.Per = 0 }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inSynctest(t, func(t *testing.T, r *record) {
				e := shared
				test.change(&e)
				r.Observe(e)
				require.Equal(t, test.line, rowsOf(r)[0].Line)
			})
		})
	}
	inSynctest(t, func(t *testing.T, r *record) {
		r.Observe(shared)
		changed := shared
		changed.Limit = 50
		r.Observe(changed)
		require.Zero(t, rowsOf(r)[0].Line, "the limit varies")
	})
	inSynctest(t, func(t *testing.T, r *record) {
		r.Observe(withKey("acme", shared))
		require.EqualValues(t, 40, rowsOf(r)[0].Line)
		r.Observe(withKey("zenith", shared))
		require.Zero(t, rowsOf(r)[0].Line, "each key has a limit")
	})
}

func TestALimitThatVariesIsMarked(t *testing.T) {
	inSynctest(t, func(t *testing.T, r *record) {
		e := event(ratelimiter.Allowed, "a")
		shown := func() row { return rowsOf(r)[0] }
		r.Observe(e)
		require.False(t, shown().Varies)
		e.Limit = 20
		r.Observe(e)
		require.True(t, shown().Varies)
		for range 3 * interval {
			r.Observe(e)
			secondOver()
		}
		require.False(t, shown().Varies, "it changed once, a while ago")
		require.Equal(t, "20/minute", shown().Limit)
	})
}

func TestASharedLimitThatDiffersBetweenRoutesVaries(t *testing.T) {
	inSynctest(t, func(t *testing.T, r *record) {
		r.Observe(withKey("uploads", on("POST /photos", "per-minute", ratelimiter.Allowed)))
		secondOver()
		other := withKey("uploads", on("POST /videos", "per-minute", ratelimiter.Allowed))
		other.Limit = 50
		r.Observe(other)
		secondOver()
		rows := rowsOf(r)
		require.Len(t, rows, 1)
		require.True(t, rows[0].Varies)
		require.Equal(t, "50/minute", rows[0].Limit, "the limit of the latest decision")
		for range mean {
			secondOver()
		}
		require.False(t, rowsOf(r)[0].Varies, "an old decision says nothing about the limit now")
	})
}

func TestALimitIsShownOnceItIsKnown(t *testing.T) {
	inSynctest(t, func(t *testing.T, r *record) {
		e := event(ratelimiter.Skipped, "")
		e.Limit = 0 // a function decides it
		r.Observe(e)
		require.Empty(t, rowsOf(r)[0].Limit, "0 would be a limit that rejects every request")
		e.Outcome = ratelimiter.Rejected
		r.Observe(e)
		require.Equal(t, "0/minute", rowsOf(r)[0].Limit)
		concurrent := on("GET /export", "concurrent", ratelimiter.Allowed)
		concurrent.Per, concurrent.Limit = 0, 3
		observe(r, 1, concurrent)
		require.Equal(t, "3 at once", rowsOf(r)[1].Limit)
		r.other.varies.Store(true)
		r.other.active.Store(1)
		last := rowsOf(r)[2]
		require.Equal(t, ofOther, last.Kind)
		require.Empty(t, last.Limit, "it is many limits")
	})
}
