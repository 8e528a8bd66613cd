package pages_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

func TestALimitOnTheWholeSiteOfUlule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no minute ends
		engine, limiter := application(t, nil)
		engine.Use(limiter.RateLimits("100-M", ratelimiter.WithKey(ratelimiter.Shared("site"))))
		engine.GET("/a", ok)
		engine.GET("/b", ok)
		require.NotContains(t, statuses(engine, 60, http.MethodGet, "/a"), 429)
		require.Equal(t, append(slices.Repeat([]int{200}, 40), 429), statuses(engine, 41, http.MethodGet, "/b"))
	})
}

func TestALimitWithoutAKeyCountsEachRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no minute ends
		engine, limiter := application(t, nil)
		engine.Use(limiter.RateLimit(1, time.Minute))
		engine.GET("/a", ok)
		engine.GET("/b", ok)
		require.Equal(t, []int{200, 429}, statuses(engine, 2, http.MethodGet, "/a"))
		require.Equal(t, []int{200, 429}, statuses(engine, 2, http.MethodGet, "/b"))
	})
}

func TestALimitOnTheSiteAndOneForEachKeyOfHTTPRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no minute ends
		search := ok
		engine, limiter := application(t, nil)
		engine.Use(limiter.RateLimit(100, time.Minute, ratelimiter.WithKey(ratelimiter.Shared("site"))))
		engine.GET("/search", limiter.RateLimit(10, time.Minute, ratelimiter.WithScope(ratelimiter.ByHeader("X-API-Key"))), search)

		require.Equal(t, append(slices.Repeat([]int{200}, 10), 429), statuses(engine, 11, http.MethodGet, "/search", with("X-API-Key", "ann")))
		require.Equal(t, []int{200}, statuses(engine, 1, http.MethodGet, "/search", with("X-API-Key", "bob")))
	})
}

func TestABurstOfTollbooth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		search := ok
		engine, limiter := application(t, nil)
		engine.GET("/search", limiter.RateLimit(10, time.Second,
			ratelimiter.WithAlgorithm(ratelimiter.TokenBucket), ratelimiter.WithBurst(20)), search)

		require.Equal(t, append(slices.Repeat([]int{200}, 20), 429), statuses(engine, 21, http.MethodGet, "/search"))
		pass(100 * time.Millisecond)
		require.Equal(t, []int{200, 429}, statuses(engine, 2, http.MethodGet, "/search"))
	})
}

func TestTheApplicationOfFlaskLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no minute ends
		search, health := ok, ok
		login := func(c *gin.Context) { c.Status(map[bool]int{true: 401, false: 200}[c.Query("password") == ""]) }
		engine := gin.New()
		config := ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "100/minute;5/second"}
		limiter, err := ratelimiter.New(engine, config)
		failed := func(c *gin.Context) bool { return c.Writer.Status() == http.StatusUnauthorized }

		engine.GET("/search", limiter.RateLimits("10/minute", ratelimiter.WithScope(ratelimiter.ByHeader("X-API-Key"))), search)
		engine.POST("/login", limiter.RateLimits("5/15 minutes", ratelimiter.WithCountIf(failed)), login)
		engine.GET("/health", limiter.Exempt(), health)
		require.NoError(t, err)
		engine.GET("/other", ok)

		require.Equal(t, append(slices.Repeat([]int{200}, 10), 429), statuses(engine, 11, http.MethodGet, "/search"))
		require.Equal(t, slices.Repeat([]int{200}, 10), statuses(engine, 10, http.MethodPost, "/login?password=right"))
		require.Equal(t, []int{401, 401, 401, 401, 401, 429}, statuses(engine, 6, http.MethodPost, "/login"))
		require.NotContains(t, statuses(engine, 120, http.MethodGet, "/health"), 429)
		require.Contains(t, statuses(engine, 120, http.MethodGet, "/other"), 429)
	})
}

func TestTheApplicationOfExpressRateLimit(t *testing.T) {
	login := func(c *gin.Context) { c.Status(map[bool]int{true: 401, false: 200}[c.Query("password") == ""]) }
	engine := gin.New()
	config := ratelimiter.Config{"RATELIMITER_HEADERS": "draft-6"}
	limiter, err := ratelimiter.New(engine, config)
	failed := func(c *gin.Context) bool { return c.Writer.Status() >= http.StatusBadRequest }

	engine.Use(limiter.RateLimit(100, time.Minute, ratelimiter.WithKey(ratelimiter.Shared("site"))))
	engine.POST("/login", limiter.RateLimit(5, 15*time.Minute, ratelimiter.WithCountIf(failed)), login)
	require.NoError(t, err)

	require.Equal(t, slices.Repeat([]int{200}, 6), statuses(engine, 6, http.MethodPost, "/login?password=right"))
	require.Equal(t, []int{401, 401, 401, 401, 401, 429}, statuses(engine, 6, http.MethodPost, "/login"))
	require.Equal(t, "100;w=60, 5;w=900", header(ask(engine, http.MethodPost, "/login"), "RateLimit-Policy"))
}

// namesOfThePackage are the names in the root package, and its texts, which the configuration
// keys are among.
func namesOfThePackage(t *testing.T) map[string]bool {
	files, err := filepath.Glob("../../*.go")
	require.NoError(t, err)
	names := map[string]bool{}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		ast.Inspect(parsed, func(node ast.Node) bool {
			switch node := node.(type) {
			case *ast.Ident:
				names[node.Name] = true
			case *ast.BasicLit:
				names[strings.Trim(node.Value, `"`)] = true
			}
			return true
		})
	}
	return names
}

// The last column of the tables says what to write here.
func TestThePageAboutOtherLimitersNamesWhatThereIs(t *testing.T) {
	known, used := namesOfThePackage(t), 0
	code := regexp.MustCompile(`RATELIMITER_[A-Z0-9_]+|\b(?:With|By)[A-Z]\w+|(?:limiter\.|Info\.)[A-Z]\w+`)
	for _, row := range tableRows(t, "migrate.md") {
		for _, name := range code.FindAllString(row[len(row)-1], -1) {
			used++
			require.True(t, known[name[strings.LastIndex(name, ".")+1:]], "%s in %v", name, row)
		}
	}
	require.Greater(t, used, 50)
}
