package pages_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

func TestLimitsWithAlgorithmsOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := ratelimiter.Config{"RATELIMITER_ALGORITHM": "sliding-window"} // the default
		engine, limiter := application(t, config)
		engine.GET("/search", limiter.RateLimit(100, time.Minute), ok)
		engine.GET("/report", limiter.RateLimit(1000, ratelimiter.Month, ratelimiter.WithCalendar(nil)), ok)
		engine.POST("/login", limiter.RateLimit(5, time.Hour, ratelimiter.WithAlgorithm(ratelimiter.SlidingLog)), ok)
		engine.GET("/events", limiter.RateLimit(100, time.Minute,
			ratelimiter.WithAlgorithm(ratelimiter.TokenBucket), ratelimiter.WithBurst(20)), ok)

		allowed := func(times int, method, path string) (n int) {
			for _, status := range statuses(engine, times, method, path) {
				if status == http.StatusOK {
					n++
				}
			}
			return n
		}
		pass(59 * time.Minute) // a full hour is near, and so is a full minute
		pass(59 * time.Second)
		require.Equal(t, 100, allowed(110, http.MethodGet, "/search"))
		require.Equal(t, 1000, allowed(1010, http.MethodGet, "/report"))
		require.Equal(t, 5, allowed(10, http.MethodPost, "/login"))
		require.Equal(t, 20, allowed(30, http.MethodGet, "/events"))
		pass(2 * time.Second)
		require.Equal(t, 2, allowed(10, http.MethodGet, "/search"), "most of the previous window still counts")
		require.Zero(t, allowed(10, http.MethodPost, "/login"), "an hour has not passed")
		require.Equal(t, 3, allowed(10, http.MethodGet, "/events"), "a hundred a minute come back evenly")
		pass(31 * ratelimiter.Day)
		require.Equal(t, 1000, allowed(1010, http.MethodGet, "/report"), "another month")
	})
}
