package main

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	_ "time/tzdata"

	"github.com/alicebob/miniredis/v2"
	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/examples/internal/exampletest"
	"github.com/stretchr/testify/require"
)

func init() { gin.SetMode(gin.TestMode) }

// onEachBackend runs a test with the counters in memory and in Redis.
func onEachBackend(t *testing.T, test func(t *testing.T, url string)) {
	for backend, options := range map[string]func(*testing.T) map[string]any{
		"memory": func(*testing.T) map[string]any { return nil },
		"redis":  func(t *testing.T) map[string]any { return map[string]any{"addr": miniredis.RunT(t).Addr()} },
	} {
		t.Run(backend, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // where no minute ends
				engine, limiter, err := newEngine(ratelimiter.Config{
					ratelimiter.ConfigBackend: backend, ratelimiter.ConfigBackendOptions: options(t),
					ratelimiter.ConfigTimeout: time.Minute,
				})
				require.NoError(t, err)
				t.Cleanup(func() { require.NoError(t, limiter.Close()) })
				test(t, exampletest.Serve(t, engine))
			})
		})
	}
}

func as(account, plan string) []string { return []string{"Account", account, "Plan", plan} }

func remaining(t *testing.T, url, path string, headers []string) string {
	return exampletest.Send(t, http.MethodGet, url+path, headers...).Header.Get("X-RateLimit-Remaining")
}

func TestAPlanIsAListOfLimitsForAllRoutes(t *testing.T) {
	onEachBackend(t, func(t *testing.T, url string) {
		statuses := exampletest.Statuses(t, 9, url+"/orders", as("ann", "free")...)
		statuses = append(statuses, exampletest.Statuses(t, 3, url+"/report", as("ann", "free")...)...)
		require.Equal(t, slices.Concat(slices.Repeat([]int{200}, 10), []int{429, 429}), statuses)
		require.Equal(t, "89", remaining(t, url, "/orders", as("ann", "team")), "the new plan keeps the usage")
		require.Equal(t, "9", remaining(t, url, "/orders", as("bob", "free")))
		policy := exampletest.Send(t, http.MethodGet, url+"/search", as("cy", "team")...).Header.Values("RateLimit-Policy")
		for _, name := range []string{`"per-minute"`, `"per-month"`, `"per-second-2"`, `"per-day-2"`, `"application-per-minute"`} {
			require.Contains(t, strings.Join(policy, ", "), name)
		}
	})
}

func TestRejectionsHaveCustomResponses(t *testing.T) {
	onEachBackend(t, func(t *testing.T, url string) {
		exampletest.Statuses(t, 3, url+"/report", as("ann", "team")...)
		rejected := exampletest.Send(t, http.MethodGet, url+"/report", as("ann", "team")...)
		require.Equal(t, http.StatusTooManyRequests, rejected.Status)
		var body struct {
			Error string
			Limit ratelimiter.Info
		}
		require.NoError(t, json.Unmarshal(rejected.Body, &body))
		require.Equal(t, "too many requests", body.Error)
		require.EqualValues(t, 3, body.Limit.Limit)
		require.Equal(t, ratelimiter.Week, body.Limit.Per)
		require.Equal(t, "Monday 00:00", body.Limit.Reset.UTC().Format("Monday 15:04"))
	})
}

func TestARequestIsChargedItsActualCost(t *testing.T) {
	onEachBackend(t, func(t *testing.T, url string) {
		for range 4 {
			require.Equal(t, 204, exampletest.Send(t, http.MethodGet, url+"/query", as("ann", "team")...).Status)
		}
		require.Equal(t, 429, exampletest.Send(t, http.MethodGet, url+"/query", as("ann", "team")...).Status)
		chat := exampletest.Send(t, http.MethodGet, url+"/chat", as("ann", "team")...)
		require.Equal(t, "part 1\npart 2\npart 3\n", string(chat.Body))
		require.Contains(t, exampletest.Send(t, http.MethodGet, url+"/chat", as("ann", "team")...).Header.Get("RateLimit"), `"tokens";r=1698`)
	})
}

func TestAnAdministratorBansAndPardons(t *testing.T) {
	onEachBackend(t, func(t *testing.T, url string) {
		admin := []string{"Authorization", "Basic YWRtaW46dG91cg=="}
		orders := func() int { return exampletest.Send(t, http.MethodGet, url+"/orders", as("ann", "team")...).Status }
		require.Equal(t, 401, exampletest.Send(t, http.MethodPost, url+"/admin/ban/ann").Status)
		require.Equal(t, 204, exampletest.Send(t, http.MethodPost, url+"/admin/ban/ann", admin...).Status)
		require.Equal(t, 429, orders())
		require.Equal(t, 204, exampletest.Send(t, http.MethodPost, url+"/admin/pardon/ann", admin...).Status)
		require.Equal(t, 200, orders())

		require.Equal(t, []int{200, 200, 200, 429}, exampletest.Statuses(t, 4, url+"/login"))
		require.Equal(t, 204, exampletest.Send(t, http.MethodPost, url+"/admin/reset", admin...).Status)
		require.Equal(t, []int{200}, exampletest.Statuses(t, 1, url+"/login"))
	})
}

func TestAClientThatIsRejectedFiveTimesIsBanned(t *testing.T) {
	onEachBackend(t, func(t *testing.T, url string) {
		require.Equal(t, []int{200, 200, 200, 429, 429, 429, 429, 429}, exampletest.Statuses(t, 8, url+"/login"))
		var body struct{ Limit ratelimiter.Info }
		require.NoError(t, json.Unmarshal(exampletest.Send(t, http.MethodGet, url+"/login").Body, &body))
		require.True(t, body.Limit.Banned)
	})
}

func TestAnAddressGetsTwoMailsAnHour(t *testing.T) {
	onEachBackend(t, func(t *testing.T, url string) {
		var statuses []int
		for range 3 {
			statuses = append(statuses, exampletest.Send(t, http.MethodPost, url+"/mail/ann@example.org").Status)
		}
		require.Equal(t, []int{204, 204, 429}, statuses)
		require.Equal(t, 204, exampletest.Send(t, http.MethodPost, url+"/mail/bob@example.org").Status)
	})
}

func TestHealthChecksAreNotLimited(t *testing.T) {
	onEachBackend(t, func(t *testing.T, url string) {
		answer := exampletest.Send(t, http.MethodGet, url+"/health", as("ann", "free")...)
		require.Equal(t, http.StatusOK, answer.Status)
		require.NotContains(t, answer.Header, "X-Ratelimit-Limit")
		require.NotContains(t, answer.Header, "Ratelimit-Policy")
		require.Equal(t, 200, exampletest.Send(t, http.MethodGet, url+"/export", as("ann", "free")...).Status)
	})
}

func TestWhereRedisIsAwayTheFallbackLimitsCount(t *testing.T) {
	server := miniredis.RunT(t)
	engine, limiter, err := newEngine(ratelimiter.Config{
		ratelimiter.ConfigBackend: "redis", ratelimiter.ConfigBackendOptions: map[string]any{"addr": server.Addr()},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, limiter.Close()) })
	url := exampletest.Serve(t, engine)
	server.Close()
	answer := exampletest.Send(t, http.MethodGet, url+"/orders", as("ann", "team")...)
	require.Equal(t, http.StatusOK, answer.Status)
	require.Contains(t, answer.Header.Get("RateLimit"), `"fallback-per-minute"`)
}
