package dashboard

import (
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
)

// outagesOf is the outages of a record, and whether its backend is failing.
func outagesOf(r *record) (list []outage, failing bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.outages), r.failing() != nil
}

func TestFailedCallsAreAnOutage(t *testing.T) {
	fallback := event(ratelimiter.Allowed, "a")
	fallback.Fallback = true
	for name, failure := range map[string]ratelimiter.Event{
		"a decision in memory": fallback,
		"no decision":          event(ratelimiter.BackendError, "a"),
	} {
		t.Run(name, func(t *testing.T) {
			inSynctest(t, func(t *testing.T, r *record) {
				r.Observe(event(ratelimiter.Allowed, "a"))
				secondOver()
				outages, failing := outagesOf(r)
				require.Empty(t, outages)
				require.False(t, failing)
				began := time.Now().Unix()
				r.Observe(failure)
				secondOver()
				secondOver()
				r.Observe(failure) // two seconds later: the same outage
				secondOver()
				outages, failing = outagesOf(r)
				require.Equal(t, []outage{{began, began + 2}}, outages)
				require.True(t, failing)
				for range unsteady {
					secondOver()
				}
				_, failing = outagesOf(r)
				require.False(t, failing, "the backend has answered long enough")
				secondOver()
				again := time.Now().Unix()
				r.Observe(failure)
				secondOver()
				outages, _ = outagesOf(r)
				require.Equal(t, []outage{{began, began + 2}, {again, again}}, outages)
			})
		})
	}
}

func TestAnOpenBreakerIsAnOutageFromItsStart(t *testing.T) {
	inSynctest(t, func(t *testing.T, r *record) {
		var health atomic.Pointer[backends.Health]
		health.Store(&backends.Health{})
		r.health = func() backends.Health { return *health.Load() }
		secondOver()
		began := time.Now()
		health.Store(&backends.Health{Open: true, Since: began})
		<-time.After(30 * time.Minute) // without requests the timer does not run
		r.arm()
		secondOver()
		outages, _ := outagesOf(r)
		require.Equal(t, []outage{{began.Unix(), time.Now().Unix() - 1}}, outages)
		<-time.After(time.Hour)
		synctest.Wait()
		outages, _ = outagesOf(r)
		ended := time.Now().Unix() - 1
		require.Equal(t, []outage{{began.Unix(), ended}}, outages, "an outage is followed to its end, with requests or without")
		health.Store(&backends.Health{Since: time.Now()})
		secondOver()
		outages, _ = outagesOf(r)
		require.Equal(t, []outage{{began.Unix(), ended}}, outages)
	})
}

func TestOutagesAreKeptForAnHour(t *testing.T) {
	inSynctest(t, func(t *testing.T, r *record) {
		r.Observe(event(ratelimiter.BackendError, "a"))
		secondOver()
		for range shownHour - 1 {
			r.Observe(event(ratelimiter.Allowed, "a"))
			secondOver()
		}
		outages, _ := outagesOf(r)
		require.Len(t, outages, 1)
		r.Observe(event(ratelimiter.Allowed, "a"))
		secondOver()
		outages, _ = outagesOf(r)
		require.Empty(t, outages)
	})
}
