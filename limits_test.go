package ratelimiter_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestLimitsAreReadAsPeopleWriteThem(t *testing.T) {
	day := 24 * time.Hour
	for text, want := range map[string][]ratelimiter.Limit{
		"100/minute":             {{100, time.Minute}},
		"100/minute; 5/second":   {{100, time.Minute}, {5, time.Second}},
		"100 per 5 minutes":      {{100, 5 * time.Minute}},
		"100/5minutes":           {{100, 5 * time.Minute}},
		"10-S, 10-M, 10-H, 10-D": {{10, time.Second}, {10, time.Minute}, {10, time.Hour}, {10, day}},
		"1 PER DAY":              {{1, day}},
		" 7 / hours ;":           {{7, time.Hour}},
		"1_000 per 1m30s":        {{1000, 90 * time.Second}},
		"1/week":                 {{1, 7 * day}},
		"0/min":                  {{0, time.Minute}},
		"5/250ms":                {{5, 250 * time.Millisecond}},
		"10000000000000/366 d":   {{backends.MaxLimit, backends.MaxPer}},
	} {
		limits, err := ratelimiter.ParseLimits(text)
		require.NoError(t, err, text)
		require.Equal(t, want, limits, text)
	}
}

func TestALimitIsWrittenAsItIsRead(t *testing.T) {
	for limit, want := range map[ratelimiter.Limit]string{
		{Limit: 100, Per: time.Minute}:      "100/minute",
		{Limit: 0, Per: 24 * time.Hour}:     "0/day",
		{Limit: 30, Per: 90 * time.Second}:  "30 per 1m30s",
		{Limit: 1, Per: 7 * 24 * time.Hour}: "1 per 168h",
	} {
		require.Equal(t, want, limit.String())
	}
	rapid.Check(t, func(t *rapid.T) {
		limit := ratelimiter.Limit{
			Limit: rapid.Int64Range(0, backends.MaxLimit).Draw(t, "limit"),
			Per:   time.Duration(rapid.Int64Range(int64(backends.MinPer), int64(backends.MaxPer)).Draw(t, "per")),
		}
		read, err := ratelimiter.ParseLimits(limit.String())
		require.NoError(t, err)
		require.Equal(t, []ratelimiter.Limit{limit}, read)
	})
}

func TestAWrongLimitPointsAtThePlace(t *testing.T) {
	for text, says := range map[string]string{
		"":                            "holds no limit",
		" ; ":                         "holds no limit",
		"many/minute":                 `"many/minute" at character 1`,
		"5/second; x":                 `"x" at character 11`,
		"5/second;\r\n\u00a0x":        `"x" at character 13`,
		"5":                           `stands "/"`,
		"5/":                          `"" is not a period`,
		"-5/minute":                   "from 0",
		"10000000000001/s":            "from 0 to 10000000000000",
		"99999999999999999999/s":      "from 0",
		"5/367 days":                  "from 1ms to 8784h0m0s",
		"5/99999999999999999999 days": "not a period",
		"5/9999999999 days":           "from 1ms",
		"5/1us":                       "from 1ms",
		"5/month":                     `"month" is not a period`,
		"5 pro minute":                `stands "/"`,
		"1.5/minute":                  `stands "/"`,
		"5/minute; 9/60s":             "two limits for 1m0s",
		"5/-1 minute":                 "not a period",
		"5/minute/2":                  "not a period",
		"5--M":                        `"-m" is not a period`,
		"+5/minute":                   "begins with a number",
		"_5/minute":                   "begins with a number",
	} {
		_, err := ratelimiter.ParseLimits(text)
		require.ErrorContains(t, err, says, text)
	}
}

func FuzzParseLimits(f *testing.F) {
	for _, seed := range []string{"100/minute; 5/second", "10-M", "1 per 1m30s", "5/-1 m", ";", "1_0/h", "é/s"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		limits, err := ratelimiter.ParseLimits(text)
		if err != nil {
			require.Empty(t, limits)
			return
		}
		require.NotEmpty(t, limits)
		texts := make([]string, len(limits))
		for i, limit := range limits {
			texts[i] = limit.String()
		}
		again, err := ratelimiter.ParseLimits(strings.Join(texts, "; "))
		require.NoError(t, err)
		require.Equal(t, limits, again, "written as they are read")
		for _, limit := range limits {
			require.GreaterOrEqual(t, limit.Limit, int64(0))
			require.LessOrEqual(t, limit.Limit, backends.MaxLimit)
			require.GreaterOrEqual(t, limit.Per, backends.MinPer)
			require.LessOrEqual(t, limit.Per, backends.MaxPer)
		}
	})
}

func limitedByDefault(t *testing.T, config ratelimiter.Config) (*gin.Engine, *ratelimiter.RateLimiter) {
	engine, limiter := application(t, config)
	engine.GET("/a", ok)
	engine.GET("/b", ok)
	engine.GET("/own", limiter.RateLimit(3, time.Hour), ok)
	engine.GET("/exempt", limiter.Exempt(), ok)
	return engine, limiter
}

func TestDefaultLimitsHoldForEachRouteByItself(t *testing.T) {
	engine, _ := limitedByDefault(t, ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "2/hour"})
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/a", 3))
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/b", 3))
	require.Equal(t, []int{200, 200, 200, 429}, statuses(engine, "/own", 4), "a limit of its own replaces them")
	require.Equal(t, []int{200, 200, 200, 200}, statuses(engine, "/exempt", 4))
	require.Equal(t, []int{404, 404, 429}, statuses(engine, "/nowhere", 3))
}

func TestApplicationLimitsHoldForAllRoutesTogether(t *testing.T) {
	engine, _ := limitedByDefault(t, ratelimiter.Config{
		"RATELIMITER_DEFAULT_LIMITS": "2/hour", "RATELIMITER_APPLICATION_LIMITS": "4/hour",
	})
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/a", 3), "the default limit refuses, and the refused one is not counted")
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/own", 3), "application limits hold beside a limit of its own")
	require.Equal(t, 429, get(engine, "/b").Code)
	require.Equal(t, []int{200, 200}, statuses(engine, "/exempt", 2))
	require.Equal(t, `"application-per-hour";q=4;w=3600, "per-hour";q=2;w=3600`, header(get(engine, "/a"), "RateLimit-Policy"))
}

func TestConfiguredLimitsCannotComeAfterRoutes(t *testing.T) {
	engine := gin.New()
	engine.GET("/", ok)
	for _, key := range []string{"RATELIMITER_DEFAULT_LIMITS", "RATELIMITER_APPLICATION_LIMITS"} {
		_, err := ratelimiter.New(engine, ratelimiter.Config{key: "2/hour"})
		require.ErrorContains(t, err, "before the first route or group")
	}
	_, err := ratelimiter.New(engine, nil)
	require.NoError(t, err)
}
