package ratelimiter_test

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

// envelope answers in the format of an application, with what FromContext returns.
func envelope(c *gin.Context) {
	info, found := ratelimiter.FromContext(c)
	c.JSON(-1, gin.H{"error": "envelope", "name": info.Name, "found": found, "banned": info.Banned})
}

func TestOneHandlerAnswersEveryRejection(t *testing.T) {
	onEveryBackend(t, func(t *testing.T, config ratelimiter.Config) {
		engine, limiter := application(t, with(config, "RATELIMITER_OVER_LIMIT", envelope,
			"RATELIMITER_DEFAULT_LIMITS", "1/hour", "RATELIMITER_APPLICATION_LIMITS", "8/hour", "RATELIMITER_APPLICATION_OPTIONS",
			options(ratelimiter.WithScope(ratelimiter.ByRoute), ratelimiter.WithSkip(func(c *gin.Context) bool { return c.FullPath() != "/application" }))))
		own := func(c *gin.Context) { c.String(http.StatusTeapot, "own") }
		engine.GET("/route", limiter.RateLimit(1, time.Hour), ok)
		engine.GET("/list", limiter.RateLimits("1/hour"), ok)
		engine.GET("/default", ok)
		engine.GET("/application", limiter.RateLimit(99, time.Hour), ok)
		engine.GET("/ban", limiter.RateLimit(1, time.Hour, ratelimiter.WithBan(1, time.Hour, time.Hour)), ok)
		engine.GET("/wait", limiter.RateLimit(1, time.Hour, ratelimiter.WithWait(time.Second)), ok)
		engine.GET("/costly", limiter.RateLimit(1, time.Hour, ratelimiter.WithCost(2)), ok)
		engine.GET("/own", limiter.RateLimit(1, time.Hour, ratelimiter.WithOverLimit(own)), ok)
		engine.GET("/observed", limiter.RateLimit(1, time.Hour, ratelimiter.WithObserveOnly(), ratelimiter.WithoutDefaults()), ok)

		for path, name := range map[string]string{
			"/route": "per-hour", "/list": "per-hour", "/default": "per-hour", "/application": "application-per-hour",
			"/ban": "per-hour", "/wait": "per-hour", "/costly": "per-hour",
		} {
			statuses(engine, path, 9)
			response := get(engine, path)
			require.Equal(t, 429, response.Code, path)
			require.Equal(t, "application/json; charset=utf-8", header(response, "Content-Type"))
			require.Equal(t, path != "/costly", header(response, "Retry-After") != "", path)
			banned := "false"
			if path == "/ban" {
				banned = "true"
			}
			require.JSONEq(t, `{"error":"envelope","name":"`+name+`","found":true,"banned":`+banned+`}`, response.Body.String(), path)
		}
		require.Equal(t, []int{200, 418}, statuses(engine, "/own", 2), "the limit's own handler comes first")
		require.Equal(t, []int{200, 200}, statuses(engine, "/observed", 2), "the handler is not called without a rejection")
	})
}

func TestOneHandlerAnswersEveryRequestThatCannotBeDecided(t *testing.T) {
	unavailable := func(c *gin.Context) { c.JSON(-1, gin.H{"error": "try again", "aborted": c.IsAborted()}) }
	var reported []string
	for name, limits := range map[string]ratelimiter.Config{
		"of a route":         {},
		"in a configuration": {"RATELIMITER_DEFAULT_LIMITS": "9/hour", "RATELIMITER_APPLICATION_LIMITS": "9/hour"},
	} {
		t.Run(name, func(t *testing.T) {
			engine, limiter := application(t, with(limits, "RATELIMITER_BACKEND", broken{errors.New("out of order")}, "RATELIMITER_ON_ERROR", "deny",
				"RATELIMITER_ON_UNAVAILABLE", unavailable, "RATELIMITER_OVER_LIMIT", envelope))
			engine.Use(func(c *gin.Context) {
				c.Next()
				reported = c.Errors.Errors()
			})
			engine.GET("/", limiter.RateLimit(9, time.Hour), ok)
			engine.GET("/observed", limiter.RateLimit(9, time.Hour, ratelimiter.WithObserveOnly()), ok)
			engine.GET("/none", ok)
			paths := []string{"/", "/none"}
			if limits["RATELIMITER_DEFAULT_LIMITS"] == nil {
				require.Equal(t, 200, get(engine, "/none").Code)
				require.Equal(t, 200, get(engine, "/observed").Code)
				paths = paths[:1]
			}
			for _, path := range paths {
				response := get(engine, path)
				require.Equal(t, 503, response.Code)
				require.Equal(t, "1", header(response, "Retry-After"))
				require.JSONEq(t, `{"error":"try again","aborted":true}`, response.Body.String())
			}
			if limits["RATELIMITER_DEFAULT_LIMITS"] == nil {
				require.Contains(t, reported[0], "out of order", "the reason is in the errors of the context")
			}
			require.NoError(t, limiter.Close())
			require.Equal(t, 503, get(engine, "/").Code)
			require.Contains(t, get(engine, "/").Body.String(), "try again", "also after Close")
		})
	}
}

func TestTheHandlerAnswersARequestThatIsRejectedAfterWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_OVER_LIMIT": envelope, "RATELIMITER_ALGORITHM": "token-bucket"})
		engine.GET("/", limiter.RateLimit(1, time.Minute, ratelimiter.WithWait(90*time.Second)), ok)
		answers := make(chan int, 4)
		for range 4 {
			go func() { answers <- get(engine, "/").Code }()
		}
		counted := map[int]int{}
		for range 4 {
			counted[<-answers]++
		}
		require.Equal(t, map[int]int{200: 2, 429: 2}, counted)
	})
}
