package ratelimiter_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
)

// notebook records the events that it receives.
type notebook struct {
	mu     sync.Mutex
	events []ratelimiter.Event
}

func (n *notebook) Observe(event ratelimiter.Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.events = append(n.events, event)
}

// read returns the events since the last call, as limit and outcome.
func (n *notebook) read() (events []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, event := range n.events {
		events = append(events, event.Name+" "+event.Outcome.String())
	}
	n.events = nil
	return events
}

func TestAnObserverReceivesEveryDecision(t *testing.T) {
	observer := &notebook{}
	engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_OBSERVER": observer})
	engine.GET("/users/:id", limiter.RateLimit(2, time.Minute, ratelimiter.WithCost(2)), ok)
	get(engine, "/users/1")
	get(engine, "/users/2")
	require.Len(t, observer.events, 2)
	first, second := observer.events[0], observer.events[1]
	require.Equal(t, "GET /users/:id", first.Route)
	require.Equal(t, "GET /users/:id", first.Key)
	require.Equal(t, "192.0.2.1", first.Scope)
	require.Equal(t, "per-minute", first.Name)
	require.EqualValues(t, 2, first.Cost)
	require.EqualValues(t, 2, first.Limit)
	require.EqualValues(t, 0, first.Remaining)
	require.Equal(t, time.Minute, first.Per)
	require.Equal(t, ratelimiter.Allowed, first.Outcome)
	require.Positive(t, first.BackendLatency)
	require.False(t, first.Fallback)
	require.Equal(t, ratelimiter.Rejected, second.Outcome)
	require.True(t, second.Exceeded)
	require.Positive(t, second.RetryAfter)
}

func TestEveryOutcomeHasAName(t *testing.T) {
	failing := broken{errors.New("it is gone")}
	skip := func(*gin.Context) bool { return true }
	for name, test := range map[string]struct {
		config  ratelimiter.Config
		limit   any
		options []ratelimiter.Option
		want    []string
	}{
		"allowed":  {nil, 1, nil, []string{"per-minute allowed"}},
		"rejected": {nil, 0, nil, []string{"per-minute rejected"}},
		"a shadow that is exceeded": {
			nil, 0, []ratelimiter.Option{ratelimiter.WithShadow()}, []string{"shadow-per-minute shadowed"},
		},
		"over the limit and allowed": {
			nil, 0, []ratelimiter.Option{ratelimiter.WithOverLimit(nil)}, []string{"per-minute shadowed"},
		},
		"a shadow next to a limit": {
			nil, 1, []ratelimiter.Option{ratelimiter.WithLimit(0, time.Minute, ratelimiter.WithShadow())},
			[]string{"per-minute allowed", "shadow-per-minute shadowed"},
		},
		"one of two limits rejects": {
			nil, 1, []ratelimiter.Option{ratelimiter.WithLimit(0, time.Hour)}, []string{"per-minute allowed", "per-hour rejected"},
		},
		"skipped": {
			nil, 1, []ratelimiter.Option{ratelimiter.WithSkip(skip), ratelimiter.WithLimit(9, time.Hour)},
			[]string{"per-minute skipped", "per-hour skipped"},
		},
		"skipped, though nothing is allowed": {nil, 0, []ratelimiter.Option{ratelimiter.WithSkip(skip)}, []string{"per-minute skipped"}},
		"unlimited":                          {nil, func(*gin.Context) int { return ratelimiter.Unlimited }, nil, nil},
		"switched off": {
			ratelimiter.Config{"RATELIMITER_ENABLED": false}, 1, nil, nil,
		},
		"no backend, and let through": {
			ratelimiter.Config{"RATELIMITER_BACKEND": failing, "RATELIMITER_ON_ERROR": "allow"}, 1, nil, []string{"per-minute backend_error"},
		},
		"no backend, and answered 503": {
			ratelimiter.Config{"RATELIMITER_BACKEND": failing, "RATELIMITER_ON_ERROR": "deny"}, 1, nil, []string{"per-minute backend_error"},
		},
		"no backend, and limited in memory": {
			ratelimiter.Config{"RATELIMITER_BACKEND": failing}, 0, nil, []string{"per-minute rejected"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			observer := &notebook{}
			config := ratelimiter.Config{"RATELIMITER_OBSERVER": observer}
			for key, value := range test.config {
				config[key] = value
			}
			engine, limiter := application(t, config)
			engine.GET("/", limiter.RateLimit(test.limit, time.Minute, test.options...), ok)
			get(engine, "/")
			for i, event := range observer.events {
				require.Equal(t, i, event.LimitIndex)
				require.Equal(t, "GET /", event.Route)
				require.Equal(t, test.config["RATELIMITER_BACKEND"] != nil && test.config["RATELIMITER_ON_ERROR"] == nil, event.Fallback)
				if event.Outcome == ratelimiter.BackendError || event.Fallback {
					require.ErrorIs(t, event.Err, failing.err)
				} else {
					require.NoError(t, event.Err)
				}
			}
			require.Equal(t, test.want, observer.read())
		})
	}
}

func TestAnUnlimitedLimitIsNotObserved(t *testing.T) {
	observer := &notebook{}
	engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_OBSERVER": observer})
	skip := ratelimiter.WithSkip(func(c *gin.Context) bool { return c.Query("skip") != "" })
	engine.GET("/", limiter.RateLimit(ratelimiter.Unlimited, time.Minute, skip, ratelimiter.WithLimit(5, time.Hour)), ok)
	get(engine, "/")
	require.Equal(t, []string{"per-hour allowed"}, observer.read())
	get(engine, "/?skip=1")
	require.Zero(t, observer.events[0].LimitIndex)
	require.Equal(t, []string{"per-hour skipped"}, observer.read())
}

func TestAnEventContainsTheRouteForAnyKey(t *testing.T) {
	observer := &notebook{}
	engine, limiter := application(t, ratelimiter.Config{
		"RATELIMITER_OBSERVER": observer, "RATELIMITER_APPLICATION_LIMITS": "100/minute", "RATELIMITER_DEFAULT_LIMITS": "10/minute",
	})
	engine.GET("/a/:id", limiter.RateLimit(1, time.Hour, ratelimiter.WithKey(ratelimiter.Shared("uploads"))), ok)
	engine.GET("/b", ok)
	for _, path := range []string{"/a/1", "/b", "/nowhere"} {
		get(engine, path)
	}
	var events []string
	for _, event := range observer.events {
		events = append(events, event.Route+": "+event.Key+" "+event.Name)
	}
	require.Equal(t, []string{
		"GET /a/:id: application application-per-minute",
		"GET /a/:id: uploads per-hour",
		"GET /b: application application-per-minute",
		"GET /b: GET /b per-minute",
		"unmatched: application application-per-minute",
		"unmatched: unmatched per-minute",
	}, events)
}

// panicking is an observer that panics.
type panicking struct{}

func (panicking) Observe(ratelimiter.Event) { panic("a fault") }

func TestAPanickingObserverAffectsNeitherTheRequestNorOtherObservers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no minute ends
		observer := &notebook{}
		engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_OBSERVER": []ratelimiter.Observer{panicking{}, observer}})
		engine.GET("/", limiter.RateLimit(1, time.Minute), ok)
		require.Equal(t, []int{200, 429}, statuses(engine, "/", 2))
		require.Equal(t, []string{"per-minute allowed", "per-minute rejected"}, observer.read())
		require.EqualValues(t, 2, limiter.Stats().ObserverPanics)
	})
}

func TestObserversCanBeAddedAndRemovedAtRunTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no minute ends
		var limiter ratelimiter.RateLimiter
		early, late, configured := &notebook{}, &notebook{}, &notebook{}
		limiter.AddObserver(early)
		limiter.AddObserver(nil)()
		var missing *notebook
		limiter.AddObserver(missing)()
		engine := gin.New()
		require.NoError(t, limiter.InitApp(engine, ratelimiter.Config{"RATELIMITER_OBSERVER": configured}))
		engine.GET("/", limiter.RateLimit(2, time.Minute), ok)

		get(engine, "/")
		remove := limiter.AddObserver(late)
		twice := limiter.AddObserver(late)
		get(engine, "/")
		twice()
		twice()
		get(engine, "/")
		remove()
		get(engine, "/")
		require.Equal(t, []string{"per-minute allowed", "per-minute allowed", "per-minute rejected"}, late.read())
		for _, all := range []*notebook{early, configured} {
			require.Equal(t, []string{"per-minute allowed", "per-minute allowed", "per-minute rejected", "per-minute rejected"}, all.read())
		}
	})
}

func TestAddingAndRemovingObserversIsFreeOfRaces(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.GET("/", limiter.RateLimit(1, time.Minute), ok)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 100 {
				remove := limiter.AddObserver(&notebook{})
				get(engine, "/")
				remove()
			}
		})
	}
	group.Wait()
	require.Zero(t, limiter.Config()["RATELIMITER_OBSERVER"])
}

func TestARequestOfADisconnectedClientIsNotObserved(t *testing.T) {
	observer := &notebook{}
	engine, limiter := application(t, ratelimiter.Config{
		"RATELIMITER_OBSERVER": observer, "RATELIMITER_BACKEND": broken{context.Canceled}, "RATELIMITER_ON_ERROR": "deny",
	})
	left, leave := context.WithCancel(t.Context())
	engine.GET("/", func(*gin.Context) { leave() }, limiter.RateLimit(1, time.Minute), ok)
	get(engine, "/", func(r *http.Request) { *r = *r.WithContext(left) })
	require.Empty(t, observer.events, "before the call")

	left, leave = context.WithCancel(t.Context())
	engine, limiter = application(t, ratelimiter.Config{
		"RATELIMITER_OBSERVER": observer, "RATELIMITER_BACKEND": impatient{leave: leave}, "RATELIMITER_ON_ERROR": "deny",
	})
	engine.GET("/", limiter.RateLimit(1, time.Minute), ok)
	get(engine, "/", func(r *http.Request) { *r = *r.WithContext(left) })
	require.Empty(t, observer.events, "and during it")
}

// impatient is a backend during whose call the client disconnects.
type impatient struct {
	broken
	leave func()
}

func (i impatient) Take(ctx context.Context, quotas []backends.Quota, verdicts []backends.Verdict) error {
	i.leave()
	return i.broken.Take(ctx, quotas, verdicts)
}

// slow is a backend that takes a second for each call.
type slow struct{ broken }

func (slow) Take(context.Context, []backends.Quota, []backends.Verdict) error {
	pass(time.Second)
	return errors.New("too late")
}

func TestAnEventContainsTheBackendLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		observer := &notebook{}
		engine, limiter := application(t, ratelimiter.Config{
			"RATELIMITER_OBSERVER": observer, "RATELIMITER_BACKEND": slow{}, "RATELIMITER_TIMEOUT": "1m",
		})
		engine.GET("/", limiter.RateLimit(1, time.Minute, ratelimiter.WithLimit(2, time.Hour)), ok)
		get(engine, "/")
		require.Len(t, observer.events, 2)
		for _, event := range observer.events {
			require.Equal(t, time.Second, event.BackendLatency)
			require.True(t, event.Fallback)
		}
	})
}

// idle is an observer that does nothing.
type idle struct{}

func (idle) Observe(ratelimiter.Event) {}

func TestAnObserverCausesNoAllocation(t *testing.T) {
	measure := func(observers []ratelimiter.Observer) float64 {
		w := &nowhere{http.Header{}}
		c, engine := gin.CreateTestContext(w)
		limiter, err := ratelimiter.New(engine, ratelimiter.Config{"RATELIMITER_OBSERVER": observers})
		require.NoError(t, err)
		engine.GET("/users/:id", limiter.RateLimit(1<<40, time.Minute, ratelimiter.WithLimit(1<<40, time.Hour)), func(*gin.Context) {})
		c.Request = httptest.NewRequest(http.MethodGet, "/users/7", nil)
		return testing.AllocsPerRun(1000, func() {
			clear(w.header)
			engine.HandleContext(c)
		})
	}
	require.Equal(t, measure(nil), measure([]ratelimiter.Observer{idle{}, panicking{}, idle{}}))
}

// callback is an observer that is a function.
type callback func(ratelimiter.Event)

func (f callback) Observe(event ratelimiter.Event) { f(event) }

func TestANilObserverIsIgnored(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.GET("/", limiter.RateLimit(1, time.Minute), ok)
	for _, none := range []ratelimiter.Observer{nil, (*notebook)(nil), callback(nil)} {
		limiter.AddObserver(none)()
		limiter.AddObserver(none)
	}
	get(engine, "/")
	require.Zero(t, limiter.Stats().ObserverPanics)
	require.Zero(t, limiter.Config()["RATELIMITER_OBSERVER"])
}

func TestAnInvalidObserverIsRejected(t *testing.T) {
	var missing *notebook
	for name, value := range map[string]any{
		"a text":       "prometheus",
		"a nil":        missing,
		"a nil in all": []ratelimiter.Observer{idle{}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ratelimiter.New(gin.New(), ratelimiter.Config{"RATELIMITER_OBSERVER": value})
			require.ErrorContains(t, err, "RATELIMITER_OBSERVER")
		})
	}
}

func TestStatsReportWhatTheLimiterHasDone(t *testing.T) {
	var none ratelimiter.RateLimiter
	require.Zero(t, none.Stats())

	engine, limiter := application(t, nil)
	engine.GET("/", limiter.RateLimit(1, time.Minute), ok)
	for _, peer := range []string{"192.0.2.1:1", "192.0.2.2:1", "192.0.2.1:1"} {
		get(engine, "/", from(peer))
	}
	require.Equal(t, ratelimiter.Stats{Memory: backends.MemoryStats{Keys: 2}}, limiter.Stats())

	engine, limiter = application(t, ratelimiter.Config{"RATELIMITER_BACKEND": broken{errors.New("it is gone")}})
	engine.GET("/", limiter.RateLimit(100, time.Minute), ok)
	require.False(t, slices.Contains(statuses(engine, "/", 7), 503))
	stats := limiter.Stats()
	require.True(t, stats.Health.Open)
	require.EqualValues(t, 5, stats.Health.Failures, "then the backend is no longer called")
	require.Equal(t, 1, stats.Memory.Keys, "in the fallback memory")
}

func TestAnUnknownOutcomeIsShownAsItsNumber(t *testing.T) {
	require.Equal(t, "Outcome(6)", (ratelimiter.Banned + 1).String())
}

func TestAnEventHasNoErrorOnceTheBackendHasRecovered(t *testing.T) {
	observer, backend := &notebook{}, &switching{texts: newTexts()}
	engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_OBSERVER": observer, "RATELIMITER_BACKEND": backend})
	engine.GET("/", limiter.RateLimit(9, time.Minute), ok)
	for _, away := range []bool{true, false} {
		backend.away.Store(away)
		get(engine, "/")
	}
	require.ErrorContains(t, observer.events[0].Err, "out of order")
	require.NoError(t, observer.events[1].Err)
}

func TestTheEventOfAFailureContainsHowLongTheRequestWaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		observer, backend := &notebook{}, &switching{texts: newTexts()}
		engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_OBSERVER": observer, "RATELIMITER_BACKEND": backend, "RATELIMITER_ON_ERROR": "deny"})
		engine.GET("/", limiter.RateLimit(1, 10*time.Second, perSecond, ratelimiter.WithWait(time.Minute)), ok)
		crowd := newCrowd()
		crowd.send(engine, "/")
		crowd.send(engine, "/")
		backend.away.Store(true)
		require.Equal(t, []string{"200 at 0s", "503 at 10s"}, crowd.result())
		failed := observer.events[1]
		require.Equal(t, ratelimiter.BackendError, failed.Outcome)
		require.Equal(t, []time.Duration{10 * time.Second, 0}, []time.Duration{failed.QueueTime, failed.BackendLatency})
	})
}
