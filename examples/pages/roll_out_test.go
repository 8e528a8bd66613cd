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
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

// harm counts whom limits have rejected, or would have.
type harm struct {
	mu       sync.Mutex
	requests map[string]int             // by route, limit and outcome
	clients  map[string]map[string]bool // the same, and whom
}

func (h *harm) Observe(e ratelimiter.Event) {
	if e.Outcome != ratelimiter.Rejected && e.Outcome != ratelimiter.Shadowed {
		return
	}
	about := e.Route + ": " + e.Name + " " + e.Outcome.String()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.requests[about]++
	if h.clients[about] == nil {
		h.clients[about] = map[string]bool{}
	}
	h.clients[about][e.Scope] = true
}

func watched(t *testing.T, config ratelimiter.Config) (*gin.Engine, *ratelimiter.RateLimiter, *harm) {
	watch := &harm{requests: map[string]int{}, clients: map[string]map[string]bool{}}
	config["RATELIMITER_OBSERVER"] = watch
	engine, limiter := application(t, config)
	return engine, limiter, watch
}

func search(handler http.Handler, times int) []int {
	return statuses(handler, times, http.MethodGet, "/search")
}

func TestAShadowTellsWhomALowerLimitWouldReject(t *testing.T) {
	engine, limiter, watch := watched(t, ratelimiter.Config{})
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
	for _, about := range slices.Sorted(maps.Keys(watch.requests)) {
		table += fmt.Sprintf("| `%s` | %d | %d |\n", about, watch.requests[about], len(watch.clients[about]))
	}
	page, err := os.ReadFile("../../docs/roll-out.md")
	require.NoError(t, err)
	require.Contains(t, string(page), table)
	require.Equal(t, map[string]bool{"192.0.2.2": true, "192.0.2.3": true}, watch.clients["GET /search: shadow-per-minute shadowed"])
	require.Equal(t, `"per-minute";q=100;w=60`, header(ask(engine, http.MethodGet, "/search"), "RateLimit-Policy"), "clients are not told")
}

func TestALimitWhereThereWasNoneBeginsAsAShadow(t *testing.T) {
	engine, limiter, watch := watched(t, ratelimiter.Config{})
	search := ok

	engine.GET("/search", limiter.RateLimit(50, time.Minute, ratelimiter.WithShadow()), search)

	require.NotContains(t, statuses(engine, 60, http.MethodGet, "/search"), 429)
	require.Equal(t, map[string]int{"GET /search: shadow-per-minute shadowed": 10}, watch.requests)
}

func TestALimitBeginsWithAShareOfTheClients(t *testing.T) {
	engine, limiter, _ := watched(t, ratelimiter.Config{})
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

func TestLimitsOfTheConfigurationChangeWhileItRuns(t *testing.T) {
	engine, limiter, _ := watched(t, ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "100/minute"})
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
	require.Equal(t, []int{200, 429}, search(engine, 2), "four were used before")
	require.Equal(t, 400, change("five a minute"))
	require.Equal(t, []int{429}, search(engine, 1), "nothing has changed")
	require.Equal(t, 204, change("100/minute"))
	require.Equal(t, []int{200}, search(engine, 1))
}

func TestAShadowIsSafeWhereTheBackendFails(t *testing.T) {
	engine, limiter, _ := watched(t, ratelimiter.Config{
		"RATELIMITER_BACKEND": "redis", "RATELIMITER_BACKEND_OPTIONS": map[string]any{"addr": "127.0.0.1:1"},
		"RATELIMITER_ON_ERROR": "deny",
	})
	engine.GET("/search", limiter.RateLimit(50, time.Minute, ratelimiter.WithShadow()), ok)
	engine.GET("/enforced", limiter.RateLimit(50, time.Minute), ok)
	require.Equal(t, []int{200}, search(engine, 1))
	require.Equal(t, 503, ask(engine, http.MethodGet, "/enforced").Code)
}
