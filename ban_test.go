package ratelimiter_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
)

func TestAClientThatIsRejectedTooOftenIsBannedEvenIfItSlowsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, nil)
		engine.GET("/", limiter.RateLimit(2, time.Second, ratelimiter.WithBan(3, time.Minute, time.Hour)), ok)
		require.Equal(t, []int{200, 200, 429, 429}, statuses(engine, "/", 4))
		pass(2 * time.Second)
		require.Equal(t, []int{200, 200, 429}, statuses(engine, "/", 3), "two rejections do not ban, the third does")
		require.Equal(t, 200, get(engine, "/", from("192.0.2.9:1")).Code, "others are not banned")
		for range 6 {
			pass(9 * time.Minute)
			require.Equal(t, 429, get(engine, "/").Code)
		}
		pass(6*time.Minute - time.Nanosecond)
		require.Equal(t, 429, get(engine, "/").Code)
		pass(time.Nanosecond)
		require.Equal(t, []int{200, 200, 429}, statuses(engine, "/", 3), "the ban ends after an hour")
	})
}

func TestRejectionsFarApartDoNotBan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, nil)
		engine.GET("/", limiter.RateLimit(1, time.Second, ratelimiter.WithBan(2, time.Minute, time.Hour)), ok)
		for range 5 {
			require.Equal(t, []int{200, 429}, statuses(engine, "/", 2))
			pass(time.Minute)
		}
	})
}

func TestABanIsReportedEverywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		observer := &notebook{}
		engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_OBSERVER": observer})
		var info ratelimiter.Info
		engine.GET("/", limiter.RateLimit(5, time.Minute, ratelimiter.WithLimit(1, time.Second), ratelimiter.WithBan(2, time.Minute, time.Hour)), ok)
		engine.GET("/page", limiter.RateLimit(0, time.Minute, ratelimiter.WithBan(1, time.Minute, time.Hour),
			ratelimiter.WithOverLimit(func(c *gin.Context) { info, _ = ratelimiter.FromContext(c) })), ok)
		require.Equal(t, []int{200, 429}, statuses(engine, "/", 2))
		infos, err := limiter.Status(t.Context(), "GET /", "192.0.2.1")
		require.NoError(t, err)
		require.False(t, infos[0].Banned)
		observer.read()

		banned := get(engine, "/")
		require.Equal(t, 429, banned.Code)
		hour := time.Now().Add(time.Hour)
		require.Equal(t, map[string]string{
			"Retry-After": "3600", "X-RateLimit-Limit": "5", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": strconv.FormatInt(hour.Unix(), 10),
			"RateLimit": `"per-minute";r=0;t=3600, "per-second";r=0;t=3600`, "RateLimit-Policy": `"per-minute";q=5;w=60, "per-second";q=1;w=1`,
		}, limitHeadersOf(banned))
		var problem map[string]any
		require.NoError(t, json.Unmarshal(banned.Body.Bytes(), &problem))
		require.Equal(t, "Rate limit was exceeded", problem["title"])
		require.Contains(t, problem["detail"], "This client is banned")
		require.Equal(t, []any{"per-minute", "per-second"}, problem["violated-policies"])
		require.Equal(t, []string{"per-minute banned", "per-second banned"}, observer.read())

		for range 2 {
			infos, err = limiter.Status(t.Context(), "GET /", "192.0.2.1")
			require.NoError(t, err)
			require.Len(t, infos, 2)
			for _, info := range infos {
				require.True(t, info.Banned)
				require.True(t, info.Exceeded)
				require.Zero(t, info.Remaining)
				require.Equal(t, time.Hour, info.RetryAfter)
				require.True(t, info.Reset.Equal(hour))
			}
		}
		get(engine, "/page")
		require.True(t, info.Banned)
		require.Equal(t, hour, info.Reset.Local())

		require.NoError(t, limiter.Reset(t.Context(), "GET /", "192.0.2.1"))
		infos, err = limiter.Status(t.Context(), "GET /", "192.0.2.1")
		require.NoError(t, err)
		require.False(t, infos[0].Banned, "Reset lifts the ban")
		require.Equal(t, 200, get(engine, "/").Code)
	})
}

func TestPeekReportsThatABanWasLifted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no minute ends
		engine, limiter := application(t, nil)
		var before, after []ratelimiter.Info
		lift := func(c *gin.Context) {
			before, _ = limiter.Peek(c)
			require.NoError(t, limiter.Reset(t.Context(), "GET /", "192.0.2.1"))
			after, _ = limiter.Peek(c)
		}
		engine.GET("/", limiter.RateLimit(1, time.Minute, ratelimiter.WithBan(1, time.Minute, time.Hour), ratelimiter.WithOverLimit(lift)), ok)
		require.Equal(t, []int{200, 429, 200}, statuses(engine, "/", 3))
		require.True(t, before[0].Banned)
		require.False(t, after[0].Banned)
		require.EqualValues(t, 1, after[0].Remaining)
	})
}

func TestAClientIsOnlyBannedForItsOwnRejections(t *testing.T) {
	engine, limiter := application(t, nil)
	everyone := ratelimiter.WithLimit(1, time.Hour, ratelimiter.WithScope(ratelimiter.ByEveryone), ratelimiter.WithName("all"))
	shadow := ratelimiter.WithLimit(1, time.Hour, ratelimiter.WithShadow())
	engine.GET("/", limiter.RateLimit(10, time.Hour, everyone, shadow, ratelimiter.WithBan(1, time.Hour, time.Hour)), ok)
	require.Equal(t, []int{200, 429, 429}, statuses(engine, "/", 3))
	infos, err := limiter.Status(t.Context(), "GET /", "192.0.2.1")
	require.NoError(t, err)
	require.False(t, infos[0].Banned)
	require.EqualValues(t, 9, infos[0].Remaining)
	infos, err = limiter.Status(t.Context(), "GET /", "everyone")
	require.NoError(t, err)
	for _, info := range infos {
		require.False(t, info.Banned, "all clients together are not banned either")
	}
}

func TestStatusReportsEachBanSeparately(t *testing.T) {
	engine, limiter := application(t, nil)
	shared := ratelimiter.WithKey(ratelimiter.Shared("k"))
	hourly := limiter.RateLimit(2, time.Hour, shared, ratelimiter.WithBan(1, time.Hour, time.Hour))
	engine.GET("/hourly", hourly, ok)
	engine.GET("/second", limiter.RateLimit(9, time.Hour, shared), hourly, ok)
	engine.GET("/other", limiter.RateLimit(9, time.Minute, shared, ratelimiter.WithBan(1, time.Minute, time.Hour)), ok)
	require.Equal(t, 200, get(engine, "/other").Code)
	require.Equal(t, 200, get(engine, "/hourly").Code)
	require.Equal(t, []int{200, 429}, statuses(engine, "/second", 2))
	bans := func() (names []string) {
		infos, err := limiter.Status(t.Context(), "k", "192.0.2.1")
		require.NoError(t, err)
		require.Len(t, infos, 3)
		for _, info := range infos {
			if info.Banned {
				names = append(names, info.Name)
			}
		}
		return names
	}
	require.Equal(t, []string{"per-hour-2"}, bans(), "the name of the last binding")
	require.Equal(t, 429, get(engine, "/hourly").Code)
	require.Equal(t, 200, get(engine, "/other").Code)
}

func TestRetryAfterOfAShortBanCoversTheWaitForTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, nil)
		engine.GET("/", limiter.RateLimit(1, time.Hour, ratelimiter.WithAlgorithm(ratelimiter.FixedWindow), ratelimiter.WithBan(1, time.Hour, time.Second)), ok)
		require.Equal(t, []int{200, 429}, statuses(engine, "/", 2))
		banned := get(engine, "/")
		require.Equal(t, "3600", header(banned, "Retry-After"))
		require.Equal(t, strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10), header(banned, "X-RateLimit-Reset"))
	})
}

func TestARequestOverTheLimitHasNoRetryAfterDuringABanEither(t *testing.T) {
	engine, limiter := application(t, nil)
	var info ratelimiter.Info
	engine.GET("/", limiter.RateLimit(1, time.Hour, byHeader, ratelimiter.WithBan(1, time.Hour, time.Hour),
		ratelimiter.WithOverLimit(func(c *gin.Context) { info, _ = ratelimiter.FromContext(c) })), ok)
	for range 2 {
		require.Equal(t, 429, get(engine, "/", ofCost(2)).Code)
		require.True(t, info.Banned)
		require.Negative(t, info.RetryAfter, "waiting does not help")
	}
}

func TestABanDoesNotApplyToAShadow(t *testing.T) {
	observer := &notebook{}
	engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_OBSERVER": observer})
	engine.GET("/", limiter.RateLimit(0, time.Hour, ratelimiter.WithLimit(9, time.Hour, ratelimiter.WithShadow()), ratelimiter.WithBan(1, time.Hour, time.Hour)), ok)
	get(engine, "/")
	require.Equal(t, []string{"per-hour banned", "shadow-per-hour allowed"}, observer.read())
}

func TestABannedClientIsChargedNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no minute ends
		engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_APPLICATION_LIMITS": "100/hour"})
		everyone := ratelimiter.WithLimit(50, time.Hour, ratelimiter.WithScope(ratelimiter.ByEveryone))
		engine.GET("/", limiter.RateLimit(1, time.Second, everyone, ratelimiter.WithBan(1, time.Hour, time.Hour)), ok)
		require.Equal(t, []int{200, 429, 429, 429}, statuses(engine, "/", 4))
		for key, scope := range map[string]string{"GET /": "everyone", "application": "192.0.2.1"} {
			infos, err := limiter.Status(t.Context(), key, scope)
			require.NoError(t, err)
			for _, info := range infos {
				if info.Per == time.Hour {
					require.Equal(t, info.Limit-1, info.Remaining, key)
				}
			}
		}
	})
}

// Two middlewares with the same limit have separate counters. A ban must see all counters
// of its own rule.
func TestABanCountsNextToAnotherMiddlewareWithTheSameLimit(t *testing.T) {
	engine, limiter := application(t, nil)
	group := engine.Group("/", limiter.RateLimit(100, time.Hour))
	group.GET("/", limiter.RateLimit(50, time.Minute, ratelimiter.WithLimit(1, time.Hour), ratelimiter.WithBan(2, time.Hour, 3*time.Hour)), ok)
	require.Equal(t, []int{200, 429, 429}, statuses(engine, "/", 3))
	require.Equal(t, "10800", header(get(engine, "/"), "Retry-After"))
	require.NoError(t, limiter.Reset(t.Context(), "GET /", "192.0.2.1"))
	require.Equal(t, 200, get(engine, "/").Code)
}

func TestMiddlewaresOnOneRouteCountRejectionsForTheirOwnBans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, nil)
		group := engine.Group("/", limiter.RateLimit(3, time.Minute, ratelimiter.WithBan(3, time.Hour, 24*time.Hour)))
		group.GET("/", limiter.RateLimit(1, time.Second, ratelimiter.WithBan(100, time.Hour, time.Hour)), ok)
		require.Equal(t, []int{200, 429, 429, 429, 429}, statuses(engine, "/", 5), "rejected by the second middleware")
		pass(2 * time.Second)
		require.Equal(t, 200, get(engine, "/").Code)
		pass(2 * time.Second)
		require.Equal(t, 200, get(engine, "/").Code)
		require.Equal(t, []int{429, 429}, statuses(engine, "/", 2), "rejected by the first middleware")
		pass(2 * time.Minute)
		require.Equal(t, 200, get(engine, "/").Code, "the first has rejected twice, not six times")
	})
}

// If a limit of the rule is unlimited for a request, the other limits must keep the
// counters on which the ban is stored.
func TestABanAppliesEvenIfALimitOfTheRuleIsUnlimited(t *testing.T) {
	engine, limiter := application(t, nil)
	unless := func(limit int) func(*gin.Context) int {
		return func(c *gin.Context) int {
			if c.GetHeader("Unlimited") != "" {
				return ratelimiter.Unlimited
			}
			return limit
		}
	}
	ban := ratelimiter.WithBan(2, 2*time.Hour, 3*time.Hour)
	group := engine.Group("/", limiter.RateLimit(unless(100), time.Hour, ratelimiter.WithBan(9, time.Hour, time.Hour)))
	group.GET("/", limiter.RateLimit(unless(1), time.Hour, ratelimiter.WithLimit(9, time.Minute), ban), ok)
	group.GET("/innermost", limiter.RateLimit(unless(9), time.Hour, ratelimiter.WithLimit(9, time.Minute), ban), limiter.RateLimit(2, time.Hour), ok)
	group.GET("/inner", limiter.RateLimit(unless(1), time.Hour, ratelimiter.WithLimit(1, time.Minute), ban), limiter.RateLimit(1, time.Minute), ok)
	require.Equal(t, []int{200, 429, 429}, statuses(engine, "/", 3))
	require.Equal(t, 429, get(engine, "/", withHeader("Unlimited", "yes")).Code)
	require.Equal(t, []int{200, 429}, statuses(engine, "/inner", 2), "the inner limit has a separate counter")
	require.Equal(t, 429, get(engine, "/inner", withHeader("Unlimited", "yes")).Code)
	require.Equal(t, "10800", header(get(engine, "/inner"), "Retry-After"))
	require.Equal(t, []int{200, 200}, statuses(engine, "/innermost", 2, withHeader("Unlimited", "yes")))
	require.Equal(t, 429, get(engine, "/innermost").Code, "the innermost has one counter")
}

func TestFailedLoginsBanAcrossProcesses(t *testing.T) {
	server := miniredis.RunT(t)
	server.SetTime(time.Now())
	config := onRedis(server.Addr())
	failed := func(c *gin.Context) bool { return c.Writer.Status() == http.StatusUnauthorized }
	var engines [2]*gin.Engine
	for i := range engines {
		engine, limiter := application(t, config)
		engine.GET("/login", limiter.RateLimit(2, time.Minute, ratelimiter.WithCountIf(failed), ratelimiter.WithBan(3, time.Hour, 24*time.Hour)),
			func(c *gin.Context) { c.Status(http.StatusUnauthorized) })
		engines[i] = engine
	}
	var codes []int
	for i := range 7 {
		codes = append(codes, get(engines[i%2], "/login").Code)
	}
	require.Equal(t, []int{401, 401, 429, 429, 429, 429, 429}, codes)
	server.SetTime(time.Now().Add(2 * time.Hour))
	server.FastForward(2 * time.Hour)
	for _, engine := range engines {
		require.Equal(t, 429, get(engine, "/login").Code, "the client is still banned two hours later")
	}
}

func TestEachProcessBansSeparatelyDuringAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no minute ends
		engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_BACKEND": broken{errors.New("it is gone")}})
		engine.GET("/", limiter.RateLimit(1, time.Second, ratelimiter.WithBan(2, time.Hour, time.Hour)), ok)
		require.Equal(t, []int{200, 429, 429}, statuses(engine, "/", 3))
		require.Equal(t, "3600", header(get(engine, "/"), "Retry-After"))
	})
}

func TestAnInvalidBanPanicsAtRegistration(t *testing.T) {
	_, limiter := application(t, nil)
	most := backends.MaxLimit
	for name, test := range map[string]struct {
		make func()
		says string
	}{
		"after no rejection": {func() { ratelimiter.WithBan(0, time.Minute, time.Hour) }, "must be from 1"},
		"after too many":     {func() { ratelimiter.WithBan(1+int(most), time.Minute, time.Hour) }, "must be from 1 to 10000000000000"},
		"no period":          {func() { ratelimiter.WithBan(1, 0, time.Hour) }, "the period must be positive"},
		"nanoseconds":        {func() { ratelimiter.WithBan(1, time.Hour, 3600) }, "use 3600*time.Second"},
		"too long":           {func() { ratelimiter.WithBan(1, time.Hour, backends.MaxPer+1) }, "366 days"},
		"of one limit": {func() {
			limiter.RateLimit(1, time.Hour, ratelimiter.WithLimit(1, time.Minute, ratelimiter.WithBan(1, time.Hour, time.Hour)))
		}, "not of WithLimit"},
		"of a shadow": {func() {
			limiter.RateLimit(1, time.Hour, ratelimiter.WithBan(1, time.Hour, time.Hour), ratelimiter.WithShadow())
		}, "WithBan needs limits that reject"},
		"observe only": {func() {
			limiter.RateLimit(1, time.Hour, ratelimiter.WithOverLimit(nil), ratelimiter.WithBan(1, time.Hour, time.Hour))
		}, "WithBan needs limits that reject"},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() { require.Contains(t, recover(), test.says) }()
			test.make()
		})
	}
}

// limitHeadersOf returns the rate limit headers of a response.
func limitHeadersOf(response *httptest.ResponseRecorder) map[string]string {
	found := map[string]string{}
	for _, name := range []string{"Retry-After", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "RateLimit", "RateLimit-Policy"} {
		if value := header(response, name); value != "" {
			found[name] = value
		}
	}
	return found
}

func TestALimitWithItsOwnScopeDoesNotBanEvenIfTheScopeIsTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no minute ends
		engine, limiter := application(t, nil)
		account := ratelimiter.WithScope(ratelimiter.ByHeader("X-Account")) // the client address without the header
		engine.GET("/", limiter.RateLimit(100, time.Second, ratelimiter.WithBan(1, time.Hour, time.Hour), ratelimiter.WithLimit(1, time.Minute, account)), ok)
		require.Equal(t, []int{200, 429}, statuses(engine, "/", 2))
		require.Equal(t, []int{200}, statuses(engine, "/", 1, withHeader("X-Account", "7")))
	})
}

func TestARejectionByTheSecondLimitCountsForARepeatedBan(t *testing.T) {
	engine, limiter := application(t, nil)
	grows := ratelimiter.WithBan(1, time.Hour, time.Hour, ratelimiter.Day)
	engine.GET("/", limiter.RateLimit(100, ratelimiter.Day, ratelimiter.WithLimit(1, time.Hour), grows), ok)
	require.Equal(t, []int{200, 429}, statuses(engine, "/", 2))
	require.Contains(t, get(engine, "/").Body.String(), "This client is banned")
}

func TestStatusReportsTheBanOfOneOfTwoRateLimitsOnAKey(t *testing.T) {
	engine, limiter := application(t, nil)
	shared := ratelimiter.WithKey(ratelimiter.Shared("k"))
	engine.GET("/", limiter.RateLimit(9, time.Minute, shared), limiter.RateLimit(1, time.Hour, shared, ratelimiter.WithBan(1, time.Hour, time.Hour)), ok)
	require.Equal(t, []int{200, 429}, statuses(engine, "/", 2))
	infos, err := limiter.Status(t.Context(), "k", "192.0.2.1")
	require.NoError(t, err)
	require.Equal(t, []bool{false, true}, []bool{infos[0].Banned, infos[1].Banned})
}

func TestARejectedRequestTakesOneCallToTheBackend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newTexts()
		engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_BACKEND": store})
		engine.GET("/plain", limiter.RateLimit(0, time.Minute), ok)
		engine.GET("/ban", limiter.RateLimit(0, time.Minute, ratelimiter.WithBan(2, time.Hour, time.Hour)), ok)
		for _, path := range []string{"/plain", "/ban"} {
			before := len(store.takes)
			require.Equal(t, 429, get(engine, path).Code)
			require.Len(t, store.takes[before:], 1, path)
		}
	})
}
