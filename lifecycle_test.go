package ratelimiter_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

func TestInitAppWorksAgainAfterClose(t *testing.T) {
	limiter := &ratelimiter.RateLimiter{}
	handler := limiter.RateLimit(1, time.Hour) // like a package variable
	var engines []*gin.Engine
	for _, config := range []ratelimiter.Config{nil, {"RATELIMITER_DEFAULT_LIMITS": "1/hour"}, nil} {
		engine := gin.New()
		engines = append(engines, engine)
		require.NoError(t, limiter.InitApp(engine, config))
		engine.GET("/", handler, ok)
		engine.GET("/free", ok)
		require.Equal(t, []int{200, 429}, statuses(engine, "/", 2), "with new counters")
		free := 200
		if config != nil {
			free = 429
		}
		require.Equal(t, []int{200, free}, statuses(engine, "/free", 2))
		require.NoError(t, limiter.Close())
		require.NoError(t, limiter.Close(), "a second time does nothing")
		require.Equal(t, 503, get(engine, "/").Code)
	}
	require.NoError(t, limiter.InitApp(engines[1], ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "2/hour"}), "an engine with routes and the middleware from the first InitApp")
	require.Equal(t, []int{200, 200, 429}, statuses(engines[1], "/free", 3), "charged once per request")
	require.NoError(t, limiter.Close())
}

func TestAnEngineJoinsWithAnEqualConfiguration(t *testing.T) {
	config := func() ratelimiter.Config {
		return ratelimiter.Config{"RATELIMITER_BACKEND": "memory", "RATELIMITER_BACKEND_OPTIONS": map[string]any{"max_keys": 10}, "of": "others"}
	}
	first, limiter := application(t, config())
	second := gin.New()
	same := config()
	same["of"] = "nobody"
	require.NoError(t, limiter.InitApp(second, same))
	handler := limiter.RateLimit(1, time.Hour)
	first.GET("/", handler, ok)
	second.GET("/", handler, ok)
	require.Equal(t, 200, get(first, "/").Code)
	require.Equal(t, 429, get(second, "/").Code, "they share the counters")

	for _, change := range []func(ratelimiter.Config){
		func(c ratelimiter.Config) { c["RATELIMITER_BACKEND_OPTIONS"] = map[string]any{"max_keys": 11} },
		func(c ratelimiter.Config) { delete(c, "RATELIMITER_BACKEND_OPTIONS") },
		func(c ratelimiter.Config) { c["RATELIMITER_TIMEOUT"] = "1s" },
	} {
		other := config()
		change(other)
		require.ErrorIs(t, limiter.InitApp(gin.New(), other), ratelimiter.ErrAlreadyInitialised)
	}
	require.ErrorIs(t, limiter.InitApp(second, nil), ratelimiter.ErrAlreadyInitialised)
}

func TestObserversAreRemovedWithTheirConfiguration(t *testing.T) {
	limiter := &ratelimiter.RateLimiter{}
	first, second, added := &notebook{}, &notebook{}, &notebook{}
	defer limiter.AddObserver(added)()
	for _, observer := range []*notebook{first, second} {
		engine := gin.New()
		require.NoError(t, limiter.InitApp(engine, ratelimiter.Config{"RATELIMITER_OBSERVER": observer}))
		engine.GET("/", limiter.RateLimit(1, time.Hour), ok)
		get(engine, "/")
		require.NoError(t, limiter.Close())
	}
	require.Len(t, first.read(), 1)
	require.Len(t, second.read(), 1)
	require.Len(t, added.read(), 2)
}

func TestStatusKnowsLimitsWithFixedKeysFromTheStart(t *testing.T) {
	limiter := &ratelimiter.RateLimiter{}
	early := limiter.RateLimit(10, time.Hour, ratelimiter.WithKey(ratelimiter.Shared("early")))
	engine := gin.New()
	require.NoError(t, limiter.InitApp(engine, ratelimiter.Config{"RATELIMITER_APPLICATION_LIMITS": "1000/day"}))
	t.Cleanup(func() { require.NoError(t, limiter.Close()) })
	engine.GET("/", early, limiter.RateLimit(20, time.Hour, ratelimiter.WithKey(ratelimiter.Shared("late"))), ok)
	for key, limit := range map[string]int64{"early": 10, "late": 20, "application": 1000} {
		infos, err := limiter.Status(t.Context(), key, "192.0.2.1")
		require.NoError(t, err, key)
		require.Len(t, infos, 1)
		require.Equal(t, []int64{limit, limit}, []int64{infos[0].Limit, infos[0].Remaining}, key)
	}
	get(engine, "/")
	infos, err := limiter.Status(t.Context(), "early", "192.0.2.1")
	require.NoError(t, err)
	require.Len(t, infos, 1)
	require.EqualValues(t, 9, infos[0].Remaining)
	require.Equal(t, []string{"application", "early", "late"}, limiter.Keys())
}

func TestALimitCreatedForEachRequestDoesNotMakeStatusGrow(t *testing.T) {
	engine, limiter := application(t, nil)
	n := 0
	engine.GET("/", func(c *gin.Context) {
		n++
		limiter.RateLimit(1000, time.Hour)(c)
		limiter.RateLimit(1000+n, time.Minute, ratelimiter.WithKey(ratelimiter.Shared("k")))(c)
		limiter.RateLimit(1000, time.Minute, ratelimiter.WithKey(func(*gin.Context) string { return "f" }))(c)
		c.String(200, "ok")
	})
	statuses(engine, "/", 300)
	require.Equal(t, []string{"GET /", "f", "k"}, limiter.Keys())
	infos, err := limiter.Status(t.Context(), "GET /", "192.0.2.1")
	require.NoError(t, err)
	require.Len(t, infos, 1)
	require.EqualValues(t, 700, infos[0].Remaining)
	infos, err = limiter.Status(t.Context(), "k", "192.0.2.1")
	require.NoError(t, err)
	require.LessOrEqual(t, len(infos), 64)
	for i := range 20_000 {
		limiter.RateLimit(1, time.Hour, ratelimiter.WithKey(ratelimiter.Shared(fmt.Sprint("name", i))))
	}
	require.LessOrEqual(t, len(limiter.Keys()), 10_000)
}

func TestStatusKnowsAllKeysAfterASecondInitApp(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.GET("/:id", limiter.RateLimit(5, time.Hour, ratelimiter.WithKey(ratelimiter.ByParam("id"))), ok)
	engine.GET("/", limiter.RateLimit(5, time.Hour, ratelimiter.WithKey(ratelimiter.Shared("s"))), ok)
	get(engine, "/a")
	_, err := limiter.Status(t.Context(), "a", "192.0.2.1")
	require.NoError(t, err)
	require.NoError(t, limiter.Close())
	get(engine, "/a")
	require.NoError(t, limiter.InitApp(engine, nil))
	_, err = limiter.Status(t.Context(), "s", "192.0.2.1")
	require.NoError(t, err)
	get(engine, "/a")
	_, err = limiter.Status(t.Context(), "a", "192.0.2.1")
	require.NoError(t, err)
}

func TestStatusIgnoresRequestsBetweenCloseAndInitApp(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.GET("/", limiter.RateLimit(5, time.Hour), ok)
	require.NoError(t, limiter.Close())
	get(engine, "/")
	require.NoError(t, limiter.InitApp(engine, ratelimiter.Config{"RATELIMITER_KEY_PREFIX": "new"}))
	get(engine, "/")
	infos, err := limiter.Status(t.Context(), "GET /", "192.0.2.1")
	require.NoError(t, err)
	require.Len(t, infos, 1)
	require.EqualValues(t, 4, infos[0].Remaining)
}

func TestTheLimitsThatAreKnownFromTheStartAreThoseOfSharedKeysThatLimit(t *testing.T) {
	_, limiter := application(t, nil)
	key := func(name string) ratelimiter.Option { return ratelimiter.WithKey(ratelimiter.Shared(name)) }
	limiter.RateLimit(5, time.Hour, ratelimiter.WithLimit(9, time.Hour, key("added")))
	limiter.RateLimit(0, time.Hour, key("closed"))
	limiter.RateLimit(ratelimiter.Unlimited, time.Hour, key("free"))
	limiter.RateLimit(func(*gin.Context) int { return 5 }, time.Hour, key("plan"))
	require.Equal(t, []string{"added", "closed", "plan"}, limiter.Keys())
}

func TestUpdateReplacesTheConfiguredLimitsInStatusAndNoOthers(t *testing.T) {
	engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "9/hour", "RATELIMITER_APPLICATION_LIMITS": "90/hour"})
	engine.GET("/own", limiter.RateLimit(5, time.Minute, ratelimiter.WithDefaults()), ok)
	engine.GET("/default", ok)
	known := func() (names []string) {
		for _, key := range limiter.Keys() {
			infos, err := limiter.Status(t.Context(), key, "192.0.2.1")
			require.NoError(t, err)
			for _, info := range infos {
				names = append(names, key+": "+info.Name)
			}
		}
		return names
	}
	get(engine, "/own")
	get(engine, "/default")
	require.Equal(t, []string{"GET /default: per-hour", "GET /own: per-minute", "GET /own: per-hour", "application: application-per-hour"}, known())
	require.NoError(t, limiter.Update(ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "", "RATELIMITER_APPLICATION_LIMITS": "90/day"}))
	require.Equal(t, []string{"GET /own: per-minute", "application: application-per-day"}, known())
}

func TestStatusKnowsNoDefaultLimitOfAnExemptRoute(t *testing.T) {
	engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "9/hour"})
	engine.GET("/", limiter.Exempt(), ok)
	require.Equal(t, 200, get(engine, "/").Code)
	require.Empty(t, limiter.Keys())
}

func TestConfiguredLimitsAreChargedOnceAfterASecondInitAppWithTheSameEngine(t *testing.T) {
	limiter, engine := &ratelimiter.RateLimiter{}, gin.New()
	config := ratelimiter.Config{"RATELIMITER_APPLICATION_LIMITS": "2/hour"}
	require.NoError(t, limiter.InitApp(engine, config))
	require.NoError(t, limiter.Close())
	require.NoError(t, limiter.InitApp(engine, config))
	t.Cleanup(func() { require.NoError(t, limiter.Close()) })
	engine.GET("/", ok)
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/", 3))
}
