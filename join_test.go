package ratelimiter_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestResetAndStatusAcceptResultsOfFunctionsAndValuesOfInfo(t *testing.T) {
	engine, limiter := application(t, nil)
	var info ratelimiter.Info
	engine.GET("/", limiter.RateLimit(2, time.Hour,
		ratelimiter.WithKey(ratelimiter.ByHeader("X-What")),
		ratelimiter.WithScope(ratelimiter.ByHeader("X-User"), ratelimiter.ByHeader("X-Team"))), func(c *gin.Context) {
		info, _ = ratelimiter.FromContext(c)
	})
	long := strings.Repeat("long ", 50)
	for _, what := range []string{"uploads", long, "tab\tand line", "sha256:ffffffffffffffffffffff"} {
		for _, who := range [][2]string{{"ann", "red"}, {"a|b", "c"}, {long, "red"}, {strings.Repeat("a", 100), strings.Repeat("b", 100)}} {
			request := []func(*http.Request){withHeader("X-What", what), withHeader("X-User", who[0]), withHeader("X-Team", who[1])}
			require.Equal(t, []int{200, 200, 429}, statuses(engine, "/", 3, request...))
			require.LessOrEqual(t, len(info.Scope), 128)
			for _, names := range [][2]string{{info.Key, info.Scope}, {ratelimiter.Join(what), ratelimiter.Join(who[:]...)}} {
				left, err := limiter.Status(t.Context(), names[0], names[1])
				require.NoError(t, err)
				require.EqualValues(t, 0, left[0].Remaining, "%q %q", what, who)
				require.NoError(t, limiter.Reset(t.Context(), names[0], names[1]))
				require.Equal(t, []int{200, 200, 429}, statuses(engine, "/", 3, request...), "%q %q", what, who)
			}
		}
	}
	require.NoError(t, limiter.Reset(t.Context(), long, "ann|red"), "a long key by its original text")
	require.Equal(t, 200, get(engine, "/", withHeader("X-What", long), withHeader("X-User", "ann"), withHeader("X-Team", "red")).Code)
	left, err := limiter.Status(t.Context(), long, "ann|red")
	require.NoError(t, err)
	require.EqualValues(t, 1, left[0].Remaining)
}

func TestALongRouteIsResetByItsName(t *testing.T) {
	engine, limiter := application(t, nil)
	path := "/" + strings.Repeat("long/", 40)
	engine.GET(path, limiter.RateLimit(1, time.Hour), ok)
	require.Equal(t, []int{200, 429}, statuses(engine, path, 2))
	require.NoError(t, limiter.Reset(t.Context(), "GET "+path, "192.0.2.1"))
	require.Equal(t, 200, get(engine, path).Code)
}

func TestAClientCannotForgeAHash(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.GET("/", limiter.RateLimit(1, time.Hour, ratelimiter.WithScope(ratelimiter.ByHeader("X-Key"))), func(c *gin.Context) {
		info, _ := ratelimiter.FromContext(c)
		c.String(http.StatusOK, info.Scope)
	})
	long := strings.Repeat("k", 200)
	hash := get(engine, "/", withHeader("X-Key", long)).Body.String()
	require.Equal(t, []int{200, 429}, statuses(engine, "/", 2, withHeader("X-Key", hash)))
}

func TestDifferentPartsNeverJoinToTheSameScope(t *testing.T) {
	part := rapid.OneOf(rapid.StringMatching(`[a|]{0,3}`), rapid.StringMatching(`[ab|]{126,130}`), rapid.String())
	list := rapid.SliceOfN(part, 1, 3)
	rapid.Check(t, func(t *rapid.T) {
		a, b := list.Draw(t, "a"), list.Draw(t, "b")
		if len(a) != len(b) { // the number of parts of one WithScope is fixed
			return
		}
		require.Equal(t, strings.Join(a, "\x00") == strings.Join(b, "\x00"), ratelimiter.Join(a...) == ratelimiter.Join(b...))
		require.LessOrEqual(t, len(ratelimiter.Join(a...)), 128)
	})
}
