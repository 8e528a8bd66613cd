package logging

import (
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

func TestTheTimerIsSetOnlyWhileARecordIsPending(t *testing.T) {
	rejected := ratelimiter.Event{Outcome: ratelimiter.Rejected, Info: ratelimiter.Info{Scope: "a", Per: time.Minute}}
	other := ratelimiter.Event{Outcome: ratelimiter.Rejected, Info: ratelimiter.Info{Scope: "b", Per: time.Hour}}
	allowed := ratelimiter.Event{Outcome: ratelimiter.Allowed}
	failed := ratelimiter.Event{Outcome: ratelimiter.BackendError}
	for name, test := range map[string]struct {
		events  []ratelimiter.Event
		wait    time.Duration
		set     bool
		pending time.Duration // until the timer is stopped
	}{
		"no rejections":                 {events: []ratelimiter.Event{allowed}},
		"a client is rejected":          {events: []ratelimiter.Event{rejected}, set: true, pending: time.Minute},
		"another client is not tracked": {events: []ratelimiter.Event{rejected, other}, set: true, pending: time.Minute},
		"a limit of an hour":            {events: []ratelimiter.Event{other}, set: true, pending: 10 * time.Minute},
		"the backend is unavailable":    {events: []ratelimiter.Event{failed}},
		"the backend has answered":      {events: []ratelimiter.Event{failed, allowed}, wait: time.Second, set: true, pending: 9 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := New(slog.New(slog.NewTextHandler(io.Discard, nil)), WithMaxClients(1))
				set := func() bool {
					log.alarm.mu.Lock()
					defer log.alarm.mu.Unlock()
					return !log.alarm.at.IsZero()
				}
				for i, event := range test.events {
					if i > 0 {
						<-time.After(test.wait)
					}
					log.Observe(event)
				}
				require.Equal(t, test.set, set())
				if test.set {
					<-time.After(test.pending - time.Nanosecond)
					synctest.Wait()
					require.True(t, set())
					<-time.After(time.Nanosecond)
					synctest.Wait()
				}
				require.False(t, set())
				require.Zero(t, log.tracked.Load())
			})
		})
	}
}
