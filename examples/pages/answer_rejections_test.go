package pages_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/stretchr/testify/require"
)

func TestRejectionsHaveCustomResponses(t *testing.T) {
	search, page := ok, ok

	type envelope struct {
		Error string            `json:"error"`
		Limit *ratelimiter.Info `json:"limit,omitempty"`
	}
	config := ratelimiter.Config{
		"RATELIMITER_OVER_LIMIT": func(c *gin.Context) {
			info, _ := ratelimiter.FromContext(c)
			c.JSON(http.StatusTooManyRequests, envelope{"rate_limited", &info})
		},
		"RATELIMITER_ON_ERROR": "deny",
		"RATELIMITER_ON_UNAVAILABLE": func(c *gin.Context) {
			c.JSON(http.StatusServiceUnavailable, envelope{Error: "try_again"})
		},
	}
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, config)
	engine.GET("/search", limiter.RateLimit(1, time.Hour), search)
	engine.GET("/page", limiter.RateLimit(1, time.Hour, ratelimiter.WithOverLimit(func(c *gin.Context) {
		c.String(http.StatusTooManyRequests, "Later, please.\n")
	})), page)

	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, limiter.Close()) })
	typed(t, "answer-rejections.md", engine)

	var read envelope
	statuses(engine, 1, http.MethodGet, "/search")
	require.NoError(t, json.Unmarshal(ask(engine, http.MethodGet, "/search").Body.Bytes(), &read))
	require.Equal(t, time.Hour, read.Limit.Per)
	require.Positive(t, read.Limit.RetryAfter)

	config["RATELIMITER_BACKEND"] = away{}
	engine, limiter = application(t, config)
	engine.GET("/search", limiter.RateLimit(1, time.Hour), ok)
	response := ask(engine, http.MethodGet, "/search")
	require.Equal(t, 503, response.Code)
	require.JSONEq(t, `{"error":"try_again"}`, response.Body.String())
}

// away is a backend that fails.
type away struct{}

func (away) Take(context.Context, []backends.Quota, []backends.Verdict) error {
	return errors.New("away")
}

func (away) Reset(context.Context, string, string) error { return nil }
func (away) Close() error                                { return nil }
