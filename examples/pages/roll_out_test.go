package pages_test

import (
	"fmt"
	"hash/fnv"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

// impact counts the requests and clients that limits reject, or would reject.
type impact struct {
	mu       sync.Mutex
	requests map[string]int             // by route, limit and outcome
	clients  map[string]map[string]bool // scopes by route, limit and outcome
}

func (i *impact) Observe(e ratelimiter.Event) {
	if e.Outcome != ratelimiter.Rejected && e.Outcome != ratelimiter.Shadowed {
		return
	}
	row := e.Route + ": " + e.Name + " " + e.Outcome.String()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.requests[row]++
	if i.clients[row] == nil {
		i.clients[row] = map[string]bool{}
	}
	i.clients[row][e.Scope] = true
}

func counted(t *testing.T, config ratelimiter.Config) (*gin.Engine, *ratelimiter.RateLimiter, *impact) {
	counts := &impact{requests: map[string]int{}, clients: map[string]map[string]bool{}}
	config["RATELIMITER_OBSERVER"] = counts
	engine, limiter := application(t, config)
	return engine, limiter, counts
}

func search(handler http.Handler, times int) []int {
	return statuses(handler, times, http.MethodGet, "/search")
}

func TestAShadowCountsWhatALowerLimitWouldReject(t *testing.T) {
	engine, limiter, counts := counted(t, ratelimiter.Config{})
	search := ok

	engine.GET("/search", limiter.RateLimit(100, time.Minute,
		ratelimiter.WithLimit(50, time.Minute, ratelimiter.WithShadow())), search)

	rejected := func(peer string, times int) (n int) {
		for _, status := range statuses(engine, times, http.MethodGet, "/search", from(peer+":1")) {
			if status == http.StatusTooManyRequests {
				n++
			}
		}
		return n
	}
	require.Equal(t, 0, rejected("192.0.2.1", 40))
	require.Equal(t, 0, rejected("192.0.2.2", 60))
	require.Equal(t, 5, rejected("192.0.2.3", 105))
	table := "| limit | requests | clients |\n|---|--:|--:|\n"
	for _, row := range slices.Sorted(maps.Keys(counts.requests)) {
		table += fmt.Sprintf("| `%s` | %d | %d |\n", row, counts.requests[row], len(counts.clients[row]))
	}
	page, err := os.ReadFile("../../docs/roll-out.md")
	require.NoError(t, err)
	require.Contains(t, string(page), table)
	require.Equal(t, map[string]bool{"192.0.2.2": true, "192.0.2.3": true}, counts.clients["GET /search: shadow-per-minute shadowed"])
	require.Equal(t, `"per-minute";q=100;w=60`, header(ask(engine, http.MethodGet, "/search"), "RateLimit-Policy"), "a shadow is in no header")
}

func TestANewLimitStartsAsAShadow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no minute ends
		engine, limiter, counts := counted(t, ratelimiter.Config{})
		search := ok

		engine.GET("/search", limiter.RateLimit(50, time.Minute, ratelimiter.WithShadow()), search)

		require.NotContains(t, statuses(engine, 60, http.MethodGet, "/search"), 429)
		require.Equal(t, map[string]int{"GET /search: shadow-per-minute shadowed": 10}, counts.requests)
	})
}

func TestALimitAppliesToAShareOfTheClients(t *testing.T) {
	engine, limiter, _ := counted(t, ratelimiter.Config{})
	search := ok

	var percent atomic.Int64
	forSome := func(_ *gin.Context, _, scope string) int {
		hash := fnv.New32a()
		_, _ = hash.Write([]byte(scope))
		if int64(hash.Sum32()%100) < percent.Load() {
			return 50
		}
		return ratelimiter.Unlimited
	}
	engine.GET("/search", limiter.RateLimit(forSome, time.Minute), search)

	limited := func() (n int) {
		for i := range 200 {
			if header(ask(engine, http.MethodGet, "/search", from("203.0.113."+strconv.Itoa(i)+":1")), "X-RateLimit-Limit") == "50" {
				n++
			}
		}
		return n
	}
	require.Zero(t, limited())
	percent.Store(10)
	require.InDelta(t, 20, limited(), 15)
	percent.Store(100)
	require.Equal(t, 200, limited())
}

func TestConfiguredLimitsChangeAtRunTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no minute ends
		engine, limiter, _ := counted(t, ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "100/minute"})
		engine.GET("/search", ok)
		engine.POST("/admin/limits", func(c *gin.Context) {
			err := limiter.Update(ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": c.PostForm("limits")})
			if err != nil {
				c.String(http.StatusBadRequest, "%s\n", err)
				return
			}
			c.Status(http.StatusNoContent)
		})
		change := func(limits string) int {
			return ask(engine, http.MethodPost, "/admin/limits", form("limits", limits)).Code
		}
		require.Equal(t, []int{200, 200, 200, 200}, search(engine, 4))
		require.Equal(t, 204, change("5/minute"))
		require.Equal(t, []int{200, 429}, search(engine, 2), "four were used already")
		require.Equal(t, 400, change("five a minute"))
		require.Equal(t, []int{429}, search(engine, 1), "nothing has changed")
		require.Equal(t, 204, change("100/minute"))
		require.Equal(t, []int{200}, search(engine, 1))
	})
}

func TestAShadowRejectsNothingWhenTheBackendFails(t *testing.T) {
	engine, limiter, _ := counted(t, ratelimiter.Config{
		"RATELIMITER_BACKEND": "redis", "RATELIMITER_BACKEND_OPTIONS": map[string]any{"addr": "127.0.0.1:1"},
		"RATELIMITER_ON_ERROR": "deny",
	})
	engine.GET("/search", limiter.RateLimit(50, time.Minute, ratelimiter.WithShadow()), ok)
	engine.GET("/enforced", limiter.RateLimit(50, time.Minute), ok)
	require.Equal(t, []int{200}, search(engine, 1))
	require.Equal(t, 503, ask(engine, http.MethodGet, "/enforced").Code)
}
