package ratelimiter_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

// Texts of a megabyte where a limit or the name of an option should be.
func TestALongConfigurationIsRejectedInOnePass(t *testing.T) {
	const long = 1 << 17
	for _, text := range []string{
		strings.Repeat("1/second;", long/9), strings.Repeat("1", long) + "/second", "1" + strings.Repeat("_1", long/2) + "/second",
		"1/" + strings.Repeat("1h", long/2), strings.Repeat(" ", long), strings.Repeat(";", long), "1." + strings.Repeat("0", long) + "1/second",
		"1" + strings.Repeat(" ", long), strings.Repeat("\xff", long), "1 requests" + strings.Repeat(" per", long/4),
	} {
		_, err := ratelimiter.ParseLimits(text)
		require.Error(t, err)
	}
	_, err := ratelimiter.New(gin.New(), ratelimiter.Config{"RATELIMITER_" + strings.Repeat("X", long): 1})
	require.ErrorContains(t, err, "is not known")
}

// A cost that clients choose, such as the length of a body, is never a refund.
func TestALengthThatAClientHidesOrExaggeratesRefundsNothing(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.GET("/", limiter.RateLimit(10, time.Hour, ratelimiter.WithCost(func(c *gin.Context) int { return int(c.Request.ContentLength) })), ok)
	length := func(n int64) func(*http.Request) { return func(r *http.Request) { r.ContentLength = n } }
	require.Equal(t, 200, get(engine, "/", length(10)).Code)
	require.Equal(t, []int{200, 200}, statuses(engine, "/", 2, length(-1)), "chunked: a length that is not told costs nothing")
	require.Equal(t, []int{429, 429}, statuses(engine, "/", 2, length(1)), "and gives nothing back")
	require.Equal(t, 429, get(engine, "/", length(1<<63-1)).Code)
	require.Equal(t, 200, get(engine, "/", length(-1<<63)).Code)
	require.Equal(t, 429, get(engine, "/", length(1)).Code)
}

// One client with many names takes all places of those who wait. Whoever is within the limit
// needs none.
func TestMadeUpScopesTakeThePlacesToWaitAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, nil)
		engine.GET("/", limiter.RateLimit(1, time.Second, ratelimiter.WithScope(ratelimiter.ByHeader("X-User")), ratelimiter.WithWait(time.Hour)), ok)
		codes := make(chan int, 10_200)
		for i := range 10_200 {
			go func() { codes <- get(engine, "/", withHeader("X-User", fmt.Sprintf("user%d", i%12))).Code }()
		}
		synctest.Wait()
		require.Equal(t, 10_000, limiter.Stats().Waiting)
		require.Equal(t, 200, get(engine, "/", withHeader("X-User", "ann")).Code)
		require.Equal(t, 429, get(engine, "/", withHeader("X-User", "ann")).Code, "at once")
		require.NoError(t, limiter.Close())
		synctest.Wait()
		require.Zero(t, limiter.Stats().Waiting)
		require.Len(t, codes, 10_200)
	})
}
