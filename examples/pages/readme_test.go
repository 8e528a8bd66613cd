package pages_test

import (
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

func remaining(handler http.Handler, method, path string, change ...func(*http.Request)) string {
	return header(ask(handler, method, path, change...), "X-RateLimit-Remaining")
}

func TestTheReadmeLimitsARouteAndAGroup(t *testing.T) {
	engine, limiter := application(t, nil)
	search := ok

	engine.GET("/search", limiter.RateLimit(100, time.Minute), search)
	api := engine.Group("/api", limiter.RateLimits("100/minute; 5/second"))

	api.GET("/orders", ok)
	require.Equal(t, `"per-minute";q=100;w=60`, header(ask(engine, http.MethodGet, "/search"), "RateLimit-Policy"))
	require.Equal(t, `"per-minute";q=100;w=60, "per-second";q=5;w=1`, header(ask(engine, http.MethodGet, "/api/orders"), "RateLimit-Policy"))
}

func TestTheReadmeLimitsAKeyForEachScopeAndForEveryone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, nil)
		upload := ok

		engine.POST("/files/:bucket", limiter.RateLimit(1000, time.Hour, // for each API key
			ratelimiter.WithKey(ratelimiter.Shared("uploads")),
			ratelimiter.WithScope(ratelimiter.ByHeader("X-API-Key")),
			ratelimiter.WithLimit(20, time.Second, ratelimiter.WithScope(ratelimiter.ByEveryone))), upload)

		ours, theirs := with("X-API-Key", "ours"), with("X-API-Key", "theirs")
		for range 10 {
			require.Equal(t, []int{200}, statuses(engine, 1, http.MethodPost, "/files/a", ours))
			require.Equal(t, []int{200}, statuses(engine, 1, http.MethodPost, "/files/b", theirs))
		}
		require.Equal(t, []int{429, 429}, statuses(engine, 2, http.MethodPost, "/files/a", ours), "20 a second for everyone")
		used, err := limiter.Status(t.Context(), "uploads", "ours")
		require.NoError(t, err)
		require.EqualValues(t, 990, used[len(used)-1].Remaining, "what one limit rejects is not charged to the other")
	})
}

func TestTheReadmeCountsFailedLogins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, nil)
		login := func(c *gin.Context) {
			if c.GetHeader("Password") != "right" {
				c.Status(http.StatusUnauthorized)
			}
		}

		failed := func(c *gin.Context) bool { return c.Writer.Status() == http.StatusUnauthorized }
		engine.POST("/login", limiter.RateLimit(5, 15*time.Minute,
			ratelimiter.WithCountIf(failed), ratelimiter.WithBan(20, time.Hour, ratelimiter.Day)), login)

		right := with("Password", "right")
		require.NotContains(t, statuses(engine, 10, http.MethodPost, "/login", right), 429)
		require.Equal(t, []int{401, 401, 401, 401, 401, 429}, statuses(engine, 6, http.MethodPost, "/login"))
		pass(time.Hour)
		require.Equal(t, []int{200}, statuses(engine, 1, http.MethodPost, "/login", right), "one rejection does not ban")
		statuses(engine, 25, http.MethodPost, "/login")
		pass(time.Hour)
		require.Equal(t, []int{429}, statuses(engine, 1, http.MethodPost, "/login", right), "20 rejections do")
		pass(ratelimiter.Day)
		require.Equal(t, []int{200}, statuses(engine, 1, http.MethodPost, "/login", right))
	})
}

func TestTheReadmeLimitsEveryRoute(t *testing.T) {
	engine, health := gin.New(), ok

	limiter, err := ratelimiter.New(engine, ratelimiter.Config{
		"RATELIMITER_DEFAULT_LIMITS":     "100/minute; 5/second",
		"RATELIMITER_APPLICATION_LIMITS": "1000/hour",
	})
	engine.GET("/health", limiter.Exempt(), health)

	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, limiter.Close()) })
	engine.GET("/a", ok)
	engine.GET("/b", limiter.RateLimit(10, time.Minute), ok)
	policies := func(path string) string { return header(ask(engine, http.MethodGet, path), "RateLimit-Policy") }
	application := `"application-per-hour";q=1000;w=3600`
	require.Empty(t, policies("/health"))
	require.Equal(t, application+`, "per-minute";q=100;w=60, "per-second";q=5;w=1`, policies("/a"))
	require.Equal(t, application+`, "per-minute";q=10;w=60`, policies("/b"), "a RateLimit replaces the default limits")
	ask(engine, http.MethodGet, "/b", from("192.0.2.9:1"))
	left, err := limiter.Status(t.Context(), "application", "192.0.2.1")
	require.NoError(t, err)
	require.EqualValues(t, 998, left[0].Remaining, "for each client, over all routes")
	require.NoError(t, limiter.Update(ratelimiter.Config{"RATELIMITER_APPLICATION_LIMITS": "2000/hour"}))
	require.Contains(t, policies("/b"), `"application-per-hour";q=2000;w=3600`)
}

func TestTheReadmeQueuesRequestsAndLimitsHowManyRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, nil)
		convert := ok
		export := func(*gin.Context) { pass(time.Minute) }

		engine.POST("/convert", limiter.RateLimit(1, time.Second,
			ratelimiter.WithAlgorithm(ratelimiter.TokenBucket), ratelimiter.WithWait(10*time.Second)), convert)
		engine.POST("/export", limiter.Concurrent(2), export)

		inParallel := func(path string) map[int]int {
			var mu sync.Mutex
			var group sync.WaitGroup
			counts := map[int]int{}
			for range 3 {
				group.Go(func() {
					status := ask(engine, http.MethodPost, path).Code
					mu.Lock()
					defer mu.Unlock()
					counts[status]++
				})
			}
			group.Wait()
			return counts
		}
		began := time.Now()
		require.Equal(t, map[int]int{200: 3}, inParallel("/convert"))
		require.Equal(t, 2*time.Second, time.Since(began).Round(10*time.Millisecond))
		require.Equal(t, map[int]int{200: 2, 429: 1}, inParallel("/export"))
	})
}

func TestTheReadmeCorrectsACostAfterwards(t *testing.T) {
	engine, limiter := application(t, nil)
	generate := func(*gin.Context) int { return 730 }

	engine.POST("/chat", limiter.RateLimit(10_000, ratelimiter.Day, ratelimiter.WithCost(500)), func(c *gin.Context) {
		used := generate(c)
		_ = ratelimiter.SetCost(c, used) // if it fails, the estimate stays charged
	})

	require.Equal(t, "9500", remaining(engine, http.MethodPost, "/chat"), "the estimate")
	left, err := limiter.Status(t.Context(), "POST /chat", "192.0.2.1")
	require.NoError(t, err)
	require.EqualValues(t, 9270, left[0].Remaining, "what was used")
}

func TestTheReadmeTriesALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var observed outcomes
		engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_OBSERVER": &observed})
		feed := ok

		engine.GET("/feed", limiter.RateLimit(100, time.Minute,
			ratelimiter.WithLimit(50, time.Minute, ratelimiter.WithShadow())), feed)

		require.NotContains(t, statuses(engine, 60, http.MethodGet, "/feed"), 429)
		require.Equal(t, 10, observed[ratelimiter.Shadowed])
		require.Equal(t, 60+50, observed[ratelimiter.Allowed])
	})
}

// outcomes counts what an observer receives.
type outcomes map[ratelimiter.Outcome]int

func (o *outcomes) Observe(event ratelimiter.Event) {
	if *o == nil {
		*o = outcomes{}
	}
	(*o)[event.Outcome]++
}

func TestTheReadmeSharesLimitsInRedis(t *testing.T) {
	config := ratelimiter.Config{
		"RATELIMITER_BACKEND":         "redis",
		"RATELIMITER_BACKEND_OPTIONS": map[string]any{"url": "redis://redis.example:6379/0"},
	}

	require.NoError(t, accepts(config))
	config["RATELIMITER_BACKEND_OPTIONS"] = map[string]any{"url": "redis://" + miniredis.RunT(t).Addr()}
	config["RATELIMITER_TIMEOUT"] = time.Minute
	one, limiter := application(t, config)
	one.GET("/", limiter.RateLimit(1, time.Hour), ok)
	another, limiter := application(t, config)
	another.GET("/", limiter.RateLimit(1, time.Hour), ok)
	require.Equal(t, []int{200}, statuses(one, 1, http.MethodGet, "/"))
	require.Equal(t, []int{429}, statuses(another, 1, http.MethodGet, "/"))
}

func TestThePitfallsInTheReadmeAreReal(t *testing.T) {
	t.Run("engine.Use and groups count each route by itself, unless the key is shared", func(t *testing.T) {
		engine, limiter := application(t, nil)
		engine.GET("/before", ok)
		engine.Use(limiter.RateLimit(10, time.Hour))
		engine.GET("/a", ok)
		engine.GET("/b", ok)
		shared := engine.Group("/shared", limiter.RateLimit(10, time.Hour, ratelimiter.WithKey(ratelimiter.Shared("api")), ratelimiter.WithoutGroup()))
		shared.GET("/a", ok)
		shared.GET("/b", ok)
		require.Equal(t, "9", remaining(engine, http.MethodGet, "/a"))
		require.Equal(t, "9", remaining(engine, http.MethodGet, "/b"))
		require.Empty(t, remaining(engine, http.MethodGet, "/before"), "registered before")
		require.Equal(t, "9", remaining(engine, http.MethodGet, "/shared/a"))
		require.Equal(t, "8", remaining(engine, http.MethodGet, "/shared/b"))
	})
	t.Run("engine.Any counts each method by itself, unless the key is the path", func(t *testing.T) {
		engine, limiter := application(t, nil)
		engine.Any("/a", limiter.RateLimit(10, time.Hour), ok)
		engine.Any("/b", limiter.RateLimit(10, time.Hour, ratelimiter.WithKey(ratelimiter.ByPath)), ok)
		require.Equal(t, "9", remaining(engine, http.MethodGet, "/a"))
		require.Equal(t, "9", remaining(engine, http.MethodPost, "/a"))
		require.Equal(t, "9", remaining(engine, http.MethodGet, "/b"))
		require.Equal(t, "8", remaining(engine, http.MethodPost, "/b"))
	})
	t.Run("all clients of an unknown proxy count as one", func(t *testing.T) {
		for proxies, second := range map[string]string{"": "8", "10.0.0.0/8": "9"} {
			engine, limiter := application(t, nil)
			if proxies != "" {
				require.NoError(t, engine.SetTrustedProxies([]string{proxies}))
			}
			engine.GET("/", limiter.RateLimit(10, time.Hour), ok)
			proxy := from("10.0.0.1:1")
			require.Equal(t, "9", remaining(engine, http.MethodGet, "/", proxy, with("X-Forwarded-For", "198.51.100.7")))
			require.Equal(t, second, remaining(engine, http.MethodGet, "/", proxy, with("X-Forwarded-For", "198.51.100.8")))
		}
	})
}
