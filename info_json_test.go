package ratelimiter_test

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestInfoIsEncodedInSnakeCaseAndSeconds(t *testing.T) {
	info := ratelimiter.Info{
		Name: "per-minute", Key: "GET /", Scope: "192.0.2.1", Limit: 100, Remaining: 7, Burst: 20,
		Per: time.Minute, RetryAfter: 1500 * time.Millisecond, Reset: time.Date(2026, 1, 1, 1, 0, 30, 5000, time.FixedZone("", 3600)), Exceeded: true,
	}
	text, err := json.Marshal(info)
	require.NoError(t, err)
	require.JSONEq(t, `{"name":"per-minute","key":"GET /","scope":"192.0.2.1","limit":100,"remaining":7,"burst":20,
		"per":60,"retry_after":1.5,"reset":"2026-01-01T00:00:30.000005Z","exceeded":true,"banned":false,"shadow":false}`, string(text))
	text, err = json.Marshal(&ratelimiter.Info{RetryAfter: -1})
	require.NoError(t, err)
	require.JSONEq(t, `{"name":"","key":"","scope":"","limit":0,"remaining":0,"per":0,"retry_after":-1,"exceeded":false,"banned":false,"shadow":false}`, string(text))
	event, err := json.Marshal(ratelimiter.Event{
		Info: info, Route: "GET /", Outcome: ratelimiter.Rejected, Cost: 2, Fallback: true, BackendLatency: 1001 * time.Nanosecond, QueueTime: time.Hour, LimitIndex: 1, Err: errors.New("away"),
	})
	require.NoError(t, err)
	require.JSONEq(t, `{"name":"per-minute","key":"GET /","scope":"192.0.2.1","limit":100,"remaining":7,"burst":20,
		"per":60,"retry_after":1.5,"reset":"2026-01-01T00:00:30.000005Z","exceeded":true,"banned":false,"shadow":false,
		"route":"GET /","outcome":"rejected","cost":2,"fallback":true,"backend_latency":0.000001001,"queue_time":3600,"limit_index":1,"error":"away"}`, string(event))
}

func TestInfoSurvivesARoundTripThroughJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		duration := func(name string) time.Duration {
			return time.Duration(rapid.Int64Range(0, math.MaxInt64).Draw(t, name))
		}
		e := ratelimiter.Event{Info: ratelimiter.Info{
			Name: rapid.String().Draw(t, "name"), Key: rapid.String().Draw(t, "key"), Scope: rapid.String().Draw(t, "scope"),
			Limit: rapid.Int64().Draw(t, "limit"), Remaining: rapid.Int64().Draw(t, "remaining"), Burst: rapid.Int64().Draw(t, "burst"),
			Per: duration("per"), RetryAfter: duration("retry"), Reset: time.UnixMicro(rapid.Int64Range(0, 1<<52).Draw(t, "reset")).UTC(),
			Exceeded: rapid.Bool().Draw(t, "exceeded"), Banned: rapid.Bool().Draw(t, "banned"), Shadow: rapid.Bool().Draw(t, "shadow"),
		}, Route: "GET /", Outcome: rapid.SampledFrom([]ratelimiter.Outcome{ratelimiter.Allowed, ratelimiter.Banned}).Draw(t, "outcome"),
			Cost: 3, Fallback: true, BackendLatency: duration("backend_latency"), QueueTime: duration("queue_time"), LimitIndex: 2, Err: errors.New("away")}
		text, err := json.Marshal(e.Info)
		require.NoError(t, err)
		var info ratelimiter.Info
		require.NoError(t, json.Unmarshal(text, &info))
		require.Equal(t, e.Info, info)
		text, err = json.Marshal(e)
		require.NoError(t, err)
		var event ratelimiter.Event
		require.NoError(t, json.Unmarshal(text, &event))
		require.Equal(t, e, event)
	})
}

// A RetryAfter of "never" has the value that a backend returns.
func TestANegativeRetryAfterSurvivesARoundTripThroughJSON(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.GET("/", limiter.RateLimit(0, time.Hour, ratelimiter.WithOverLimit(func(c *gin.Context) {
		info, _ := ratelimiter.FromContext(c)
		c.JSON(http.StatusTooManyRequests, info)
		var read ratelimiter.Info
		text, err := json.Marshal(info)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, &read))
		require.Equal(t, info.RetryAfter, read.RetryAfter)
		require.True(t, info.Reset.Equal(read.Reset))
	})))
	require.Contains(t, get(engine, "/").Body.String(), `"retry_after":-1,`)
}

func TestInvalidJSONIsAnError(t *testing.T) {
	for text, want := range map[string]time.Duration{"60": time.Minute, "6e1": time.Minute, "0.25": 250 * time.Millisecond, "null": 0, "-5": -time.Microsecond, "-1e99": -time.Microsecond} {
		var info ratelimiter.Info
		require.NoError(t, json.Unmarshal([]byte(`{"per":`+text+`}`), &info), text)
		require.Equal(t, want, info.Per, text)
	}
	for _, text := range []string{`"1m"`, `"60"`, `1e99`, `true`, `9223372037`} {
		var info ratelimiter.Info
		require.ErrorContains(t, json.Unmarshal([]byte(`{"per":`+text+`}`), &info), "use a number of seconds", text)
	}
	var event ratelimiter.Event
	require.ErrorContains(t, json.Unmarshal([]byte(`{"outcome":"lost"}`), &event), `"lost" is not an outcome; use one of allowed`)
}
