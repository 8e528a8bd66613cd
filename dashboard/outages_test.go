package dashboard

import (
	"testing"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
)

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
				require.Empty(t, r.outages)
				require.Nil(t, r.failing())
				began := time.Now().Unix()
				r.Observe(failure)
				secondOver()
				secondOver()
				r.Observe(failure) // two seconds later: the same outage
				secondOver()
				require.Equal(t, []outage{{began, began + 2}}, r.outages)
				require.NotNil(t, r.failing())
				for range unsteady {
					secondOver()
				}
				require.Nil(t, r.failing(), "the backend has answered long enough")
				secondOver()
				again := time.Now().Unix()
				r.Observe(failure)
				secondOver()
				require.Equal(t, []outage{{began, began + 2}, {again, again}}, r.outages)
			})
		})
	}
}

func TestAnOpenBreakerIsAnOutageFromItsStart(t *testing.T) {
	inSynctest(t, func(t *testing.T, r *record) {
		var health backends.Health
		r.health = func() backends.Health { return health }
		secondOver()
		began := time.Now()
		health = backends.Health{Open: true, Since: began}
		<-time.After(30 * time.Minute) // without requests the timer does not run
		r.arm()
		secondOver()
		require.Equal(t, []outage{{began.Unix(), r.at}}, r.outages)
		<-time.After(time.Hour)
		require.Equal(t, []outage{{began.Unix(), r.at}}, r.outages, "an outage is followed to its end, with requests or without")
		ended := r.at
		health = backends.Health{Since: time.Now()}
		secondOver()
		require.Equal(t, []outage{{began.Unix(), ended}}, r.outages)
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
		require.Len(t, r.outages, 1)
		r.Observe(event(ratelimiter.Allowed, "a"))
		secondOver()
		require.Empty(t, r.outages)
	})
}
