package ratelimiter_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
)

func TestUpdateChangesLimitsAtRunTime(t *testing.T) {
	config := ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "2/hour", "RATELIMITER_KEY_PREFIX": "mine", "OTHER": 1}
	engine, limiter := application(t, config)
	engine.GET("/", ok)
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/", 3))
	require.NoError(t, limiter.Update(ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "4/hour"}))
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/", 3), "two units were already used")
	config["RATELIMITER_APPLICATION_LIMITS"] = "1/day"
	config["RATELIMITER_DEFAULT_LIMITS"] = ""
	require.NoError(t, limiter.Update(config))
	require.Equal(t, []int{200, 429}, statuses(engine, "/", 2))

	for want, bad := range map[string]ratelimiter.Config{
		"RATELIMITER_DEFAULT_LIMITS":    {"RATELIMITER_DEFAULT_LIMITS": "many", "RATELIMITER_APPLICATION_LIMITS": "100/day"},
		"RATELIMITER_TIMEOUT cannot":    {"RATELIMITER_TIMEOUT": "1s", "RATELIMITER_APPLICATION_LIMITS": "100/day"},
		"RATELIMITER_KEY_PREFIX cannot": {"RATELIMITER_KEY_PREFIX": "yours", "RATELIMITER_APPLICATION_LIMITS": "100/day"},
	} {
		require.ErrorContains(t, limiter.Update(bad), want)
		require.Equal(t, 429, get(engine, "/").Code, "nothing has changed")
	}
	require.NoError(t, limiter.Update(ratelimiter.Config{"RATELIMITER_APPLICATION_LIMITS": ""}))
	require.Equal(t, []int{200, 200}, statuses(engine, "/", 2))
}

func TestUpdateAddsLimitsToAnEngineWithoutLimits(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.GET("/", ok)
	require.Equal(t, []int{200, 200}, statuses(engine, "/", 2))
	require.NoError(t, limiter.Update(ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "1/hour"}))
	require.Equal(t, []int{200, 429}, statuses(engine, "/", 2))

	late := gin.New()
	late.GET("/", ok)
	limiter, err := ratelimiter.New(late, nil)
	require.NoError(t, err)
	require.ErrorContains(t, limiter.Update(ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "1/hour"}), "had 1 routes")
	require.NoError(t, limiter.Update(ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": ""}), "no limits fit every engine")
	var none ratelimiter.RateLimiter
	require.ErrorIs(t, none.Update(nil), ratelimiter.ErrNotInitialised)
	require.NoError(t, limiter.Close())
	require.ErrorIs(t, limiter.Update(nil), backends.ErrClosed)
}

func TestUnderLoadEveryRequestIsDecidedByOldOrNewLimits(t *testing.T) {
	engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "100/day"})
	admitted := make(chan struct{}, 1000)
	engine.GET("/", func(*gin.Context) { admitted <- struct{}{} })
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for n := range 200 {
				get(engine, "/")
				if i == 0 {
					limit := map[bool]string{true: "100/day", false: "100/day; 1000/hour"}[n%2 == 0]
					if err := limiter.Update(ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": limit}); err != nil {
						panic(err)
					}
				}
			}
		})
	}
	all.Wait()
	require.Len(t, admitted, 100)
}

type toldFunc func(ratelimiter.Event)

func (f toldFunc) Observe(e ratelimiter.Event) { f(e) }

// valued is an observer that is not a pointer.
type valued struct{ tell func(ratelimiter.Event) }

func (v valued) Observe(e ratelimiter.Event) { v.tell(e) }

func TestUpdateAcceptsTheWholeConfiguration(t *testing.T) {
	nobody := func(ratelimiter.Event) {}
	backend, err := backends.NewMemory(nil)
	require.NoError(t, err)
	for _, config := range []ratelimiter.Config{
		{"RATELIMITER_OBSERVER": toldFunc(nobody)},
		{"RATELIMITER_OBSERVER": []ratelimiter.Observer{toldFunc(nobody), valued{nobody}, &notebook{}}},
		{"RATELIMITER_BACKEND": backend, "RATELIMITER_TIMEOUT": time.Second},
		{"RATELIMITER_BACKEND_OPTIONS": map[string]any{"max_keys": 100}, "RATELIMITER_ON_ERROR": nil},
	} {
		_, limiter := application(t, config)
		config["RATELIMITER_DEFAULT_LIMITS"] = "3/hour"
		require.NoError(t, limiter.Update(config))
		require.Equal(t, "3/hour", limiter.Config()["RATELIMITER_DEFAULT_LIMITS"])
		for _, change := range []ratelimiter.Config{
			{"RATELIMITER_OBSERVER": &notebook{}},
			{"RATELIMITER_OBSERVER": []ratelimiter.Observer{toldFunc(nobody)}},
			{"RATELIMITER_BACKEND": "redis"},
			{"RATELIMITER_BACKEND_OPTIONS": map[string]any{"max_keys": 101}},
			{"RATELIMITER_BACKEND_OPTIONS": map[string]any{"max_keys": 100, "other": 1}},
		} {
			require.ErrorContains(t, limiter.Update(change), "cannot change")
		}
	}
}

func TestUpdateIgnoresNilValuesAndSuggestsCorrections(t *testing.T) {
	_, limiter := application(t, ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "3/hour"})
	require.NoError(t, limiter.Update(ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": nil, "RATELIMITER_APPLICATION_LIMITS": nil}))
	require.Equal(t, "3/hour", limiter.Config()["RATELIMITER_DEFAULT_LIMITS"], "nil counts as absent, as for InitApp")
	err := limiter.Update(ratelimiter.Config{"RATELIMITER_DEFAULT_LIMIT": "1/hour"})
	require.ErrorContains(t, err, `RATELIMITER_DEFAULT_LIMIT is not known; did you mean "RATELIMITER_DEFAULT_LIMITS"?`)
	require.NotContains(t, err.Error(), "cannot change")
	require.ErrorContains(t, limiter.Update(ratelimiter.Config{"RATELIMITER_OBSERVERS": nil, "RATELIMITER_COLOUR": 1}), "RATELIMITER_COLOUR is not known")
}

func TestStatusForgetsReplacedLimitsEvenIfARequestIsStillRunning(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.GET("/", ok)
	var stop atomic.Bool
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for !stop.Load() {
				get(engine, "/")
			}
		})
	}
	for n := range 2000 {
		text := fmt.Sprintf("1000000 per %d minutes", 1+n%1000)
		require.NoError(t, limiter.Update(ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": text}))
	}
	require.NoError(t, limiter.Update(ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "5/hour"}))
	stop.Store(true)
	all.Wait()
	get(engine, "/")
	left, err := limiter.Status(t.Context(), "GET /", "192.0.2.1")
	require.NoError(t, err)
	require.Len(t, left, 1)
}
