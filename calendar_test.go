package ratelimiter_test

import (
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
	_ "time/tzdata"

	"github.com/alicebob/miniredis/v2"
	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

func zoneNamed(t *testing.T, name string) *time.Location {
	zone, err := time.LoadLocation(name)
	require.NoError(t, err)
	return zone
}

// calendarEnds are the end of a month and both days on which the clocks change, in two
// time zones.
var calendarEnds = []struct {
	what, zone string
	per        time.Duration
	now, end   string
}{
	{"a month's end in Zurich", "Europe/Zurich", ratelimiter.Month, "2026-10-31T23:00:00+01:00", "2026-11-01T00:00:00+01:00"},
	{"a month's end in New York", "America/New_York", ratelimiter.Month, "2026-10-31T23:00:00-04:00", "2026-11-01T00:00:00-04:00"},
	{"23 hours in Zurich", "Europe/Zurich", ratelimiter.Day, "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00"},
	{"23 hours in New York", "America/New_York", ratelimiter.Day, "2026-03-08T00:00:00-05:00", "2026-03-09T00:00:00-04:00"},
	{"25 hours in Zurich", "Europe/Zurich", ratelimiter.Day, "2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00"},
	{"25 hours in New York", "America/New_York", ratelimiter.Day, "2026-11-01T00:00:00-04:00", "2026-11-02T00:00:00-05:00"},
	{"a week from Monday", "Europe/Zurich", ratelimiter.Week, "2026-06-08T00:00:00+02:00", "2026-06-15T00:00:00+02:00"},
	{"a leap year", "America/New_York", ratelimiter.Year, "2028-02-29T12:00:00-05:00", "2029-01-01T00:00:00-05:00"},
}

func parseTime(t *testing.T, text string) time.Time {
	parsed, err := time.Parse(time.RFC3339, text)
	require.NoError(t, err)
	return parsed
}

// moveTo moves the clock of a synctest bubble.
func moveTo(to time.Time) { <-time.After(time.Until(to)) }

// calendarEngine returns an engine with one route that allows two requests per period.
func calendarEngine(t *testing.T, config ratelimiter.Config, per time.Duration, zone *time.Location) *gin.Engine {
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, config)
	require.NoError(t, err)
	t.Cleanup(func() { _ = limiter.Close() })
	engine.GET("/", limiter.RateLimit(2, per, ratelimiter.WithCalendar(zone)), func(c *gin.Context) { c.Status(http.StatusOK) })
	return engine
}

func TestACalendarLimitEndsWithItsWindow(t *testing.T) {
	for _, c := range calendarEnds {
		t.Run(c.what, func(t *testing.T) {
			now, end := parseTime(t, c.now), parseTime(t, c.end)
			zone := zoneNamed(t, c.zone)
			t.Run("memory", func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					moveTo(now)
					engine := calendarEngine(t, nil, c.per, zone)
					checkWindow(t, engine, now, end, moveTo)
				})
			})
			t.Run("redis", func(t *testing.T) {
				server := miniredis.RunT(t)
				server.SetTime(now)
				engine := calendarEngine(t, ratelimiter.Config{
					"RATELIMITER_BACKEND":         "redis",
					"RATELIMITER_BACKEND_OPTIONS": map[string]any{"addr": server.Addr(), "local_denials": false},
					"RATELIMITER_TIMEOUT":         time.Minute,
				}, c.per, zone)
				checkWindow(t, engine, now, end, server.SetTime)
			})
		})
	}
}

// checkWindow uses up a limit of 2 and checks that requests are rejected until the end of
// the window, and not longer.
func checkWindow(t *testing.T, engine *gin.Engine, now, end time.Time, goTo func(time.Time)) {
	for range 2 {
		require.Equal(t, http.StatusOK, get(engine, "/").Code)
	}
	denied := get(engine, "/")
	require.Equal(t, http.StatusTooManyRequests, denied.Code)
	require.Equal(t, strconv.Itoa(int(end.Sub(now)/time.Second)), denied.Header().Get("Retry-After"))
	goTo(end.Add(-time.Microsecond))
	require.Equal(t, http.StatusTooManyRequests, get(engine, "/").Code)
	goTo(end)
	require.Equal(t, http.StatusOK, get(engine, "/").Code)
}

func TestTheClockOfRedisDeterminesTheCalendarWindow(t *testing.T) {
	for _, ahead := range []time.Duration{-time.Hour, 0, time.Hour, -50 * time.Hour, 50 * time.Hour} {
		server := miniredis.RunT(t)
		now := time.Now().Truncate(time.Second).Add(ahead)
		server.SetTime(now)
		end := now.Add(time.Minute)
		zone := time.FixedZone("where it is a minute to midnight", -int(end.Unix()%(24*3600)))
		engine := calendarEngine(t, ratelimiter.Config{
			"RATELIMITER_BACKEND":         "redis",
			"RATELIMITER_BACKEND_OPTIONS": map[string]any{"addr": server.Addr(), "local_denials": false},
			"RATELIMITER_TIMEOUT":         time.Minute,
			"RATELIMITER_ON_ERROR":        "deny",
		}, ratelimiter.Day, zone)
		checkWindow(t, engine, now, end, server.SetTime)
	}
}

func TestTheResetOfACalendarLimitIsTheEndOfItsWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		moveTo(parseTime(t, "2028-02-10T12:00:00+01:00"))
		engine := calendarEngine(t, ratelimiter.Config{"RATELIMITER_TIME_ZONE": "Europe/Zurich"}, ratelimiter.Month, nil)
		end := parseTime(t, "2028-03-01T00:00:00+01:00").Unix()
		require.Equal(t, strconv.FormatInt(end, 10), get(engine, "/").Header().Get("X-RateLimit-Reset"))
	})
}

func TestACalendarInAListAppliesToDaysAndLongerPeriods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := parseTime(t, "2026-10-31T23:59:00+01:00")
		moveTo(now)
		zurich := ratelimiter.WithCalendar(zoneNamed(t, "Europe/Zurich"))
		for what, open := range map[string]func(*gin.Engine) (*ratelimiter.RateLimiter, []gin.HandlerFunc){
			"a text": func(engine *gin.Engine) (*ratelimiter.RateLimiter, []gin.HandlerFunc) {
				limiter, err := ratelimiter.New(engine, nil)
				require.NoError(t, err)
				return limiter, []gin.HandlerFunc{limiter.RateLimits("5/hour; 1/month", zurich)}
			},
			"a function": func(engine *gin.Engine) (*ratelimiter.RateLimiter, []gin.HandlerFunc) {
				limiter, err := ratelimiter.New(engine, nil)
				require.NoError(t, err)
				list := func(*gin.Context) []ratelimiter.Limit {
					return []ratelimiter.Limit{{Limit: 5, Per: time.Hour}, {Limit: 1, Per: ratelimiter.Month}}
				}
				return limiter, []gin.HandlerFunc{limiter.RateLimits(list, zurich)}
			},
			"the configuration": func(engine *gin.Engine) (*ratelimiter.RateLimiter, []gin.HandlerFunc) {
				limiter, err := ratelimiter.New(engine, ratelimiter.Config{
					"RATELIMITER_DEFAULT_LIMITS":  "5/hour; 1/month",
					"RATELIMITER_DEFAULT_OPTIONS": []ratelimiter.Option{zurich},
				})
				require.NoError(t, err)
				return limiter, nil
			},
		} {
			engine := gin.New()
			limiter, handlers := open(engine)
			engine.GET("/", append(handlers, func(c *gin.Context) { c.Status(http.StatusOK) })...)
			require.Equal(t, http.StatusOK, get(engine, "/").Code, what)
			require.Equal(t, "60", get(engine, "/").Header().Get("Retry-After"), what)
			require.NoError(t, limiter.Close())
		}
	})
}

func TestACalendarSupportsDaysWeeksMonthsAndYears(t *testing.T) {
	limiter, err := ratelimiter.New(gin.New(), nil)
	require.NoError(t, err)
	calendar := ratelimiter.WithCalendar(time.UTC)
	require.PanicsWithValue(t, "ratelimiter: WithCalendar requires a period of ratelimiter.Day, Week, Month or Year, not 1h0m0s; change the period or remove WithCalendar",
		func() { limiter.RateLimit(1, time.Hour, calendar) })
	require.PanicsWithValue(t, "ratelimiter: WithCalendar requires fixed windows, not sliding-log; remove WithAlgorithm and WithBurst",
		func() {
			limiter.RateLimit(1, ratelimiter.Day, calendar, ratelimiter.WithAlgorithm(ratelimiter.SlidingLog))
		})
	require.PanicsWithValue(t, "ratelimiter: WithCalendar requires fixed windows, not token-bucket; remove WithAlgorithm and WithBurst",
		func() { limiter.RateLimit(1, ratelimiter.Day, ratelimiter.WithBurst(5), calendar) })
	require.NotPanics(t, func() {
		limiter.RateLimit(1, time.Minute, ratelimiter.WithAlgorithm(ratelimiter.TokenBucket), ratelimiter.WithLimit(1, ratelimiter.Day, calendar))
	})
}

func TestTwoTimeZonesOnOneKeyCountSeparately(t *testing.T) {
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, limiter.Close()) })
	shared := ratelimiter.WithKey(ratelimiter.Shared("exports"))
	for path, zone := range map[string]string{"/zurich": "Europe/Zurich", "/zurich-too": "Europe/Zurich", "/york": "America/New_York"} {
		engine.GET(path, limiter.RateLimit(2, ratelimiter.Year, shared, ratelimiter.WithCalendar(zoneNamed(t, zone))), func(c *gin.Context) { c.Status(http.StatusOK) })
	}
	for path, left := range map[string]string{"/zurich": "1", "/york": "1"} {
		require.Equal(t, left, get(engine, path).Header().Get("X-RateLimit-Remaining"), path)
	}
	require.Equal(t, "0", get(engine, "/zurich-too").Header().Get("X-RateLimit-Remaining"))
}

// A list follows the calendar with RATELIMITER_TIME_ZONE alone: half a minute before the
// month ends in Zurich, the next request may come in half a minute.
func TestLimitsInAListFollowTheCalendarWhereATimeZoneIsSet(t *testing.T) {
	list := []ratelimiter.Limit{{Limit: 100, Per: time.Hour}, {Limit: 1, Per: ratelimiter.Month}}
	zurich := ratelimiter.Config{"RATELIMITER_TIME_ZONE": "Europe/Zurich"}
	with := func(key, text string) ratelimiter.Config {
		return ratelimiter.Config{"RATELIMITER_TIME_ZONE": "Europe/Zurich", key: text}
	}
	const untilTheMonthEnds = "30"
	for what, c := range map[string]struct {
		config     ratelimiter.Config
		middleware func(*ratelimiter.RateLimiter) gin.HandlerFunc
		retryAfter string
	}{
		"a text": {zurich, func(r *ratelimiter.RateLimiter) gin.HandlerFunc { return r.RateLimits("100/hour; 1/month") }, untilTheMonthEnds},
		"limits": {zurich, func(r *ratelimiter.RateLimiter) gin.HandlerFunc { return r.RateLimits(list) }, untilTheMonthEnds},
		"a function": {zurich, func(r *ratelimiter.RateLimiter) gin.HandlerFunc {
			return r.RateLimits(func(*gin.Context) []ratelimiter.Limit { return list })
		}, untilTheMonthEnds},
		"default limits":     {with("RATELIMITER_DEFAULT_LIMITS", "100/hour; 1/month"), nil, untilTheMonthEnds},
		"application limits": {with("RATELIMITER_APPLICATION_LIMITS", "100/hour; 1/month"), nil, untilTheMonthEnds},
		"the option's own zone": {zurich, func(r *ratelimiter.RateLimiter) gin.HandlerFunc {
			return r.RateLimits("1/month", ratelimiter.WithCalendar(time.FixedZone("an hour behind Zurich", 0)))
		}, "3630"},
		"fixed windows": {zurich, func(r *ratelimiter.RateLimiter) gin.HandlerFunc {
			return r.RateLimits("1/month", ratelimiter.WithAlgorithm(ratelimiter.FixedWindow))
		}, untilTheMonthEnds},
		"another algorithm": {zurich, func(r *ratelimiter.RateLimiter) gin.HandlerFunc {
			return r.RateLimits("1/month", ratelimiter.WithAlgorithm(ratelimiter.SlidingLog))
		}, "2592000"},
		"no zone": {nil, func(r *ratelimiter.RateLimiter) gin.HandlerFunc {
			return r.RateLimits("1/month", ratelimiter.WithAlgorithm(ratelimiter.SlidingLog))
		}, "2592000"},
		"no list": {zurich, func(r *ratelimiter.RateLimiter) gin.HandlerFunc {
			return r.RateLimit(1, ratelimiter.Month, ratelimiter.WithBurst(1))
		}, "2592000"},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				moveTo(parseTime(t, "2026-10-31T23:59:30+01:00"))
				engine := gin.New()
				limiter, err := ratelimiter.New(engine, c.config)
				require.NoError(t, err)
				var handlers []gin.HandlerFunc
				if c.middleware != nil {
					handlers = append(handlers, c.middleware(limiter))
				}
				engine.GET("/", append(handlers, func(c *gin.Context) { c.Status(http.StatusOK) })...)
				require.Equal(t, http.StatusOK, get(engine, "/").Code)
				require.Equal(t, c.retryAfter, get(engine, "/").Header().Get("Retry-After"))
				require.NoError(t, limiter.Close())
			})
		})
	}
}

func TestAListWithoutATimeZoneCountsAMonthAs30Days(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		moveTo(parseTime(t, "2026-10-31T23:59:30Z"))
		engine := gin.New()
		limiter, err := ratelimiter.New(engine, nil)
		require.NoError(t, err)
		engine.GET("/", limiter.RateLimits("1/month"), func(c *gin.Context) { c.Status(http.StatusOK) })
		require.Equal(t, http.StatusOK, get(engine, "/").Code)
		moveTo(parseTime(t, "2026-11-01T00:00:00Z"))
		require.Equal(t, http.StatusTooManyRequests, get(engine, "/").Code)
		require.NoError(t, limiter.Close())
	})
}

// A request pays a counter once: the second limit only charges what the first has not.
func TestLimitsOfOneRequestShareACounterIfTheirTimeZoneIsTheSame(t *testing.T) {
	zurich := func() ratelimiter.Option { return ratelimiter.WithCalendar(zoneNamed(t, "Europe/Zurich")) }
	utc, windows := ratelimiter.WithCalendar(time.UTC), ratelimiter.WithAlgorithm(ratelimiter.FixedWindow)
	for name, test := range map[string]struct {
		first, second ratelimiter.Option
		want          []int64
	}{
		"one zone, loaded twice":    {zurich(), zurich(), []int64{98, 98}},
		"two zones":                 {zurich(), utc, []int64{99, 98}},
		"fixed windows and a zone":  {windows, utc, []int64{99, 98}},
		"a zone and fixed windows":  {utc, windows, []int64{99, 98}},
		"fixed windows without one": {windows, windows, []int64{98, 98}},
	} {
		t.Run(name, func(t *testing.T) {
			engine, limiter := application(t, nil)
			key := ratelimiter.WithKey(ratelimiter.Shared("exports"))
			first := limiter.RateLimit(100, ratelimiter.Year, key, test.first)
			second := limiter.RateLimit(100, ratelimiter.Year, key, test.second, ratelimiter.WithCost(2))
			engine.GET("/", first, second, func(c *gin.Context) {
				infos, err := limiter.Peek(c)
				require.NoError(t, err)
				require.Equal(t, test.want, []int64{infos[0].Remaining, infos[1].Remaining})
			})
			require.Equal(t, 200, get(engine, "/").Code)
		})
	}
}
