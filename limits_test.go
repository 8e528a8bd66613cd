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

func TestParseLimitsAcceptsCommonNotations(t *testing.T) {
	for text, want := range map[string][]ratelimiter.Limit{
		"100/minute":             {{100, time.Minute}},
		"100/minute; 5/second":   {{100, time.Minute}, {5, time.Second}},
		"100 per 5 minutes":      {{100, 5 * time.Minute}},
		"100/5minutes":           {{100, 5 * time.Minute}},
		"10-S, 10-M, 10-H, 10-D": {{10, time.Second}, {10, time.Minute}, {10, time.Hour}, {10, ratelimiter.Day}},
		"1 PER DAY":              {{1, ratelimiter.Day}},
		" 7 / hours ;":           {{7, time.Hour}},
		"1_000 per 1m30s":        {{1000, 90 * time.Second}},
		"0/min":                  {{0, time.Minute}},
		"007/min":                {{7, time.Minute}},
		"10000000000000/366 d":   {{backends.MaxLimit, backends.MaxPer}},

		"000000000000000000000000000007/min": {{7, time.Minute}}, // the maximum of 30 digits

		// Short periods.
		"10/ms":         {{10, time.Millisecond}},
		"10 per 100 ms": {{10, 100 * time.Millisecond}},
		"5/250ms":       {{5, 250 * time.Millisecond}},
		"5 / 2000 us":   {{5, 2 * time.Millisecond}},
		"5/1500µs":      {{5, 1500 * time.Microsecond}},

		// Long periods.
		"1/week":      {{1, ratelimiter.Week}},
		"10000/month": {{10000, 30 * ratelimiter.Day}},
		"5/year":      {{5, 365 * ratelimiter.Day}},

		// Separators between limits and between words.
		"100/minute | 5/second":        {{100, time.Minute}, {5, time.Second}},
		"100/minute\n5/second\r\n":     {{100, time.Minute}, {5, time.Second}},
		"100/minute;;5/second":         {{100, time.Minute}, {5, time.Second}},
		"100/minute,5/second;\t1/hour": {{100, time.Minute}, {5, time.Second}, {1, time.Hour}},
		"100\u00a0per\t5 \u2003 hours": {{100, 5 * time.Hour}},

		// Units and number formats.
		"10r/s":                       {{10, time.Second}},
		"10 r/m":                      {{10, time.Minute}},
		"100 requests/minute":         {{100, time.Minute}},
		"1 request per second":        {{1, time.Second}},
		"100 req/min":                 {{100, time.Minute}},
		"1k/hour":                     {{1000, time.Hour}},
		"20K requests per 2 hours":    {{20_000, 2 * time.Hour}},
		"3M/day":                      {{3_000_000, ratelimiter.Day}},
		"2 M-D":                       {{2_000_000, ratelimiter.Day}},
		"10_000_000M/day":             {{backends.MaxLimit, ratelimiter.Day}},
		"5/M":                         {{5, time.Minute}},
		"1/s;1/m;1/h;1/d;1/week;1/ms": {{1, time.Second}, {1, time.Minute}, {1, time.Hour}, {1, ratelimiter.Day}, {1, ratelimiter.Week}, {1, time.Millisecond}},
	} {
		limits, err := ratelimiter.ParseLimits(text)
		require.NoError(t, err, text)
		require.Equal(t, want, limits, text)
	}
}

func TestParseLimitsReadsTheStringOfALimit(t *testing.T) {
	for limit, want := range map[ratelimiter.Limit]string{
		{Limit: 100, Per: time.Minute}:            "100/minute",
		{Limit: 0, Per: ratelimiter.Day}:          "0/day",
		{Limit: 30, Per: 90 * time.Second}:        "30 per 1m30s",
		{Limit: 1, Per: ratelimiter.Week}:         "1/week",
		{Limit: 10_000, Per: ratelimiter.Month}:   "10000/month",
		{Limit: 1, Per: ratelimiter.Year}:         "1/year",
		{Limit: 10, Per: time.Millisecond}:        "10/millisecond",
		{Limit: 10, Per: 1500 * time.Microsecond}: "10 per 1.5ms",
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

func TestAParseErrorContainsThePositionAndACorrection(t *testing.T) {
	for text, says := range map[string]string{
		"":                       "contains no limit",
		" ; |":                   "contains no limit",
		"many/minute":            `"many/minute" at character 1`,
		"5/second; x":            `"x" at character 11`,
		"5/second;\r\n\u00a0x":   `"x" at character 13`,
		"5/second\n é/s":         `"é/s" at character 11`,
		"5/minute; 9/60s":        `"9/60s" at character 11 of "5/minute; 9/60s": this is the second limit per minute`,
		"-5/minute":              "begins with a whole number from 0",
		"+5/minute":              "begins with a whole number",
		"_5/minute":              "begins with a whole number",
		".5/minute":              "begins with a whole number",
		"10000000000001/s":       "from 0 to 10000000000000",
		"10_000_001M/s":          "from 0 to 10000000000000",
		"99999999999999999999/s": "from 0",
		"9223372036854775807M/s": "from 0",
		"5_/minute":              `write a number, "/" or "per", and a period`,
		"1__0/minute":            `write a number`,

		// The period.
		"5":                           `as in 100/minute`,
		"5/":                          `"" is not a period`,
		"5s":                          "write 5/s",
		"5 minutes":                   "write 5/minutes",
		"1_000M":                      "write 1000/M",
		"5/367 days":                  "from 1ms to 8784h0m0s",
		"5/2 years":                   "from 1ms to 8784h0m0s",
		"5/99999999999999999999 days": "from 1ms",
		"5/9999999999 days":           "from 1ms",
		"5/1us":                       "from 1ms",
		"5/0 minutes":                 "from 1ms",
		"5/ss":                        `"ss" is not a period`,
		"5/hs":                        `"hs" is not a period`,
		"5/ds":                        `"ds" is not a period`,
		"5/fortnight":                 `"fortnight" is not a period; write second, minute, hour, day, week, month or year`,
		"5/-1 minute":                 "not a period",
		"5/minute/2":                  "not a period",
		"5--M":                        `"-M" is not a period`,

		// A limit that is not a whole number.
		"0.5 per 183 days": "write 1 per 366d",
		"0.5 per 184 days": "begins with a whole number",

		// Separators.
		"5 pro minute":      `as in 100/minute or 100 requests per minute`,
		"100 tokens/minute": `as in 100/minute or 100 requests per minute`,
		"1,000/minute":      `"1" at character 1 of "1,000/minute": write a number, "/" or "per", and a period, as in 100/minute or 100 requests per minute; a thousand is 1000, 1_000 or 1k`,
		"5m/day":            "write M for million",
		"10 m/s":            "write M for million",

		// Fractions.
		"1.5/second":       "write 3 per 2 seconds",
		"1.5 per second":   "write 3 per 2 seconds",
		"0.1 req/minute":   "write 1 per 10 minutes",
		"2.50/hour":        "write 5 per 2 hours",
		"1.5 per 2s":       "write 3 per 4s",
		"2.0/second":       "write 2/second",
		"0.0/second":       "write 0/second",
		"1.5k/hour":        "write 1500/hour",
		"1.2345k/hour":     "write 2469 per 2 hours",
		"0.001/month":      "whole number from 0",
		"1.23456789/month": "whole number from 0",
		"1.5/hs":           `"hs" is not a period`,
		"0." + strings.Repeat("0", 100_000) + "1/s": "whole number from 0",
	} {
		_, err := ratelimiter.ParseLimits(text)
		require.ErrorContains(t, err, says, text)
	}
}

// TestTheSuggestedCorrectionParses parses the corrections in the errors.
func TestTheSuggestedCorrectionParses(t *testing.T) {
	for text, want := range map[string]ratelimiter.Limit{
		"1.5/second":     {Limit: 3, Per: 2 * time.Second},
		"1.25 per 90s":   {Limit: 5, Per: 6 * time.Minute},
		"0.5/month":      {Limit: 1, Per: 2 * ratelimiter.Month},
		"1.2345k/hour":   {Limit: 2469, Per: 2 * time.Hour},
		"5 milliseconds": {Limit: 5, Per: time.Millisecond},
		"1_000M":         {Limit: 1000, Per: time.Minute},
	} {
		_, err := ratelimiter.ParseLimits(text)
		require.Error(t, err, text)
		_, advice, found := strings.Cut(err.Error(), "; write ")
		require.True(t, found, err)
		limits, err := ratelimiter.ParseLimits(advice)
		require.NoError(t, err, text)
		require.Equal(t, []ratelimiter.Limit{want}, limits)
	}
}

func FuzzParseLimits(f *testing.F) {
	for _, seed := range []string{
		"100/minute; 5/second", "10-M", "1 per 1m30s", "5/-1 m", ";", "1_0/h", "é/s", "10 per 100 ms", "5/1500µs", "1.5k req/s", "3M/day|1r/s", "1\u00a0per\u2003week", "0.5/month",
	} {
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
		for _, separator := range []string{"; ", ",", "|", "\n"} {
			again, err := ratelimiter.ParseLimits(strings.Join(texts, separator))
			require.NoError(t, err)
			require.Equal(t, limits, again, "in the form that ParseLimits reads")
		}
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

func TestDefaultLimitsApplyToEachRouteSeparately(t *testing.T) {
	engine, _ := limitedByDefault(t, ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "2/hour"})
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/a", 3))
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/b", 3))
	require.Equal(t, []int{200, 200, 200, 429}, statuses(engine, "/own", 4), "a RateLimit on the route replaces the default limits")
	require.Equal(t, []int{200, 200, 200, 200}, statuses(engine, "/exempt", 4))
	require.Equal(t, []int{404, 404, 429}, statuses(engine, "/nowhere", 3))
}

func TestApplicationLimitsApplyToAllRoutesTogether(t *testing.T) {
	engine, _ := limitedByDefault(t, ratelimiter.Config{
		"RATELIMITER_DEFAULT_LIMITS": "2/hour", "RATELIMITER_APPLICATION_LIMITS": "4/hour",
	})
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/a", 3), "the default limit rejects, and the application limit is not charged")
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/own", 3), "application limits apply in addition to a RateLimit")
	require.Equal(t, 429, get(engine, "/b").Code)
	require.Equal(t, []int{200, 200}, statuses(engine, "/exempt", 2))
	require.Equal(t, `"application-per-hour";q=4;w=3600, "per-hour";q=2;w=3600`, header(get(engine, "/a"), "RateLimit-Policy"))
}

func TestConfiguredLimitsAreRejectedAfterRoutes(t *testing.T) {
	engine := gin.New()
	engine.GET("/", ok)
	for _, key := range []string{"RATELIMITER_DEFAULT_LIMITS", "RATELIMITER_APPLICATION_LIMITS"} {
		_, err := ratelimiter.New(engine, ratelimiter.Config{key: "2/hour"})
		require.ErrorContains(t, err, "before the first route or group")
	}
	_, err := ratelimiter.New(engine, nil)
	require.NoError(t, err)
}
