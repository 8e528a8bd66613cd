package pages_test

import (
	"net/http"
	"regexp"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

func TestTheSelectedHeadersAreSent(t *testing.T) {
	search := ok

	config := ratelimiter.Config{"RATELIMITER_HEADERS": "x, draft-6"}
	engine := gin.New()
	limiter, err := ratelimiter.New(engine, config)
	engine.GET("/search", limiter.RateLimits("100/minute; 1000/hour"), search)

	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, limiter.Close()) })
	typed(t, "headers.md", engine)
}

func TestEachNameHasTheHeadersOfTheTable(t *testing.T) {
	rows := tableRows(t, "headers.md")
	require.Len(t, rows, 5)
	for _, row := range rows {
		synctest.Test(t, func(t *testing.T) {
			name := regexp.MustCompile("`(.+?)`").FindStringSubmatch(row[0])[1]
			engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_HEADERS": name, "RATELIMITER_ALGORITHM": "fixed-window"})
			engine.GET("/", limiter.RateLimit(100, time.Minute), func(*gin.Context) {})
			response := ask(engine, http.MethodGet, "/")
			want := map[string]string{}
			for _, shown := range regexp.MustCompile("`([A-Za-z-]+)(?:: (.+?))?`").FindAllStringSubmatch(row[1], -1) {
				want[http.CanonicalHeaderKey(shown[1])] = shown[2]
			}
			require.Len(t, response.Header(), len(want), row)
			for header, value := range want {
				require.Contains(t, response.Header(), header)
				if value != "" {
					require.Equal(t, value, response.Header().Get(header))
				}
			}
		})
	}
}
