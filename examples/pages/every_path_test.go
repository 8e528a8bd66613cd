package pages_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

func TestHeadSharesALimitWithGet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no minute ends
		engine, limiter := application(t, nil)
		search := ok

		limited := limiter.RateLimit(3, time.Minute, ratelimiter.WithKey(ratelimiter.Shared("search")))
		engine.GET("/search", limited, search)
		engine.HEAD("/search", limited, search)

		typed(t, "every-path.md", engine)
	})
}

// cors replaces a CORS middleware.
func cors(c *gin.Context) {
	c.Header("Access-Control-Allow-Origin", "*")
	if c.Request.Method == http.MethodOptions && c.GetHeader("Access-Control-Request-Method") != "" {
		c.AbortWithStatus(http.StatusNoContent)
	}
}

func asked(r *http.Request) { r.Header.Set("Access-Control-Request-Method", http.MethodPost) }

func TestPreflightsAnsweredBeforeTheLimitsCostNothing(t *testing.T) {
	engine := gin.New()
	config := ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "1/hour"}

	engine.Use(cors)
	limiter, err := ratelimiter.New(engine, config)

	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, limiter.Close()) })
	engine.POST("/orders", ok)
	require.Equal(t, []int{204, 204, 204}, statuses(engine, 3, http.MethodOptions, "/orders", asked))
	require.Equal(t, []int{200, 429}, statuses(engine, 2, http.MethodPost, "/orders"))
	require.Equal(t, "*", header(ask(engine, http.MethodPost, "/orders"), "Access-Control-Allow-Origin"), "scripts can read a rejection")
}

func TestPreflightsAfterALimitAreSkipped(t *testing.T) {
	engine, limiter := application(t, nil)

	preflight := func(c *gin.Context) bool {
		return c.Request.Method == http.MethodOptions && c.GetHeader("Access-Control-Request-Method") != ""
	}
	engine.Use(limiter.RateLimit(100, time.Minute, ratelimiter.WithSkip(preflight)), cors)

	engine.POST("/orders", ok)
	for range 3 {
		response := ask(engine, http.MethodOptions, "/orders", asked)
		require.Equal(t, 204, response.Code)
		require.Empty(t, header(response, "RateLimit"))
	}
	require.Equal(t, "99", header(ask(engine, http.MethodOptions, "/orders"), "X-RateLimit-Remaining"), "other OPTIONS requests count")
}

func TestRequestsThatMatchNoRouteAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no minute ends
		engine, limiter := application(t, nil)
		engine.HandleMethodNotAllowed = true
		notFound := func(c *gin.Context) { c.String(http.StatusNotFound, "There is nothing here.\n") }

		engine.NoRoute(limiter.RateLimit(20, time.Minute), notFound)
		engine.NoMethod(limiter.RateLimit(20, time.Minute))

		engine.GET("/page", ok)
		require.Equal(t, slices.Repeat([]int{404}, 15), statuses(engine, 15, http.MethodGet, "/admin.php"))
		require.Equal(t, slices.Repeat([]int{405}, 5), statuses(engine, 5, http.MethodPut, "/page"))
		require.Equal(t, []int{429}, statuses(engine, 1, http.MethodGet, "/backup.sql"), "all such requests share a counter")
		require.Equal(t, []int{429}, statuses(engine, 1, http.MethodPut, "/page"))
		require.Equal(t, []int{200}, statuses(engine, 1, http.MethodGet, "/page"))
	})
}

func TestARedirectThatIsARouteIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no minute ends
		engine, limiter := application(t, nil)
		search := ok
		limited := limiter.RateLimit(3, time.Minute, ratelimiter.WithKey(ratelimiter.Shared("search")))

		engine.RedirectTrailingSlash = false
		engine.GET("/search", limited, search)
		engine.GET("/search/", limited, func(c *gin.Context) { c.Redirect(http.StatusMovedPermanently, "/search") })

		response := ask(engine, http.MethodGet, "/search/")
		require.Equal(t, 301, response.Code)
		require.Equal(t, "/search", header(response, "Location"))
		require.Equal(t, "2", header(response, "X-RateLimit-Remaining"))
		require.Equal(t, []int{301, 301, 429}, statuses(engine, 3, http.MethodGet, "/search/"))
		require.Equal(t, []int{429}, statuses(engine, 1, http.MethodGet, "/search"))
	})
}

func TestAFrontEngineLimitsRedirects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no minute ends
		engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_APPLICATION_LIMITS": "50/hour"})
		err := engine.SetTrustedProxies([]string{"10.0.0.0/8"})
		require.NoError(t, err)
		engine.GET("/page", ok)
		engine.GET("/empty", func(c *gin.Context) { c.Status(http.StatusNotFound) })
		engine.GET("/few", limiter.RateLimit(1, time.Minute), ok)
		engine.GET("/stream", func(c *gin.Context) {
			c.SSEvent("message", "ok")
			c.Writer.Flush()
		})

		front := gin.New()
		err = errors.Join(front.SetTrustedProxies([]string{"10.0.0.0/8"}), limiter.InitApp(front, nil))
		front.Any("/*path", limiter.Exempt(), limiter.RateLimit(10, time.Minute,
			ratelimiter.WithKey(ratelimiter.Shared("everything"))), gin.WrapH(engine))

		require.NoError(t, err)
		response := ask(front, http.MethodGet, "/page/")
		require.Equal(t, 301, response.Code)
		require.Equal(t, "/page", header(response, "Location"))
		require.Equal(t, `"per-minute";q=10;w=60`, header(response, "RateLimit-Policy"), "the limits of the engine behind were not charged")

		response = ask(front, http.MethodGet, "/page")
		require.Equal(t, "ok\n", response.Body.String())
		require.Equal(t, `"per-minute";q=10;w=60, "application-per-hour";q=50;w=3600`, header(response, "RateLimit-Policy"))
		require.Contains(t, header(response, "RateLimit"), `"application-per-hour";r=49`, "charged once, not by both engines")
		response = ask(front, http.MethodGet, "/empty")
		require.Equal(t, 404, response.Code)
		require.Empty(t, response.Body.String())
		require.Equal(t, 404, ask(front, http.MethodGet, "/nowhere").Code)
		require.Equal(t, "event:message\ndata:ok\n\n", ask(front, http.MethodGet, "/stream").Body.String())
		require.Equal(t, []int{200, 429}, statuses(front, 2, http.MethodGet, "/few"))
		require.Equal(t, []int{301, 301, 301, 429}, statuses(front, 4, http.MethodGet, "/page/"))
		require.Equal(t, []int{429}, statuses(front, 1, http.MethodGet, "/page"))
		require.Equal(t, []int{301}, statuses(front, 1, http.MethodGet, "/page/", from("10.0.0.1:1"), with("X-Forwarded-For", "198.51.100.7")))
	})
}

func TestAForwardedRequestIsLimitedOnTheSecondRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no minute ends
		engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_APPLICATION_LIMITS": "50/hour"})
		search := ok
		engine.GET("/search", limiter.RateLimit(3, time.Minute), search)

		engine.GET("/find", limiter.Exempt(), func(c *gin.Context) {
			c.Request.URL.Path = "/search"
			engine.HandleContext(c)
		})

		response := ask(engine, http.MethodGet, "/find")
		require.Equal(t, "ok\n", response.Body.String())
		require.Equal(t, `"application-per-hour";q=50;w=3600, "per-minute";q=3;w=60`, header(response, "RateLimit-Policy"))
		require.Contains(t, header(response, "RateLimit"), `"application-per-hour";r=49`, "charged once")
		require.Equal(t, []int{200, 200, 429}, statuses(engine, 3, http.MethodGet, "/find"))
		require.Equal(t, []int{429}, statuses(engine, 1, http.MethodGet, "/search"))
	})
}

func TestALimitOnUseSkipsAForwardedRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no minute ends
		engine, limiter := application(t, nil)
		engine.Use(limiter.RateLimit(3, time.Minute, ratelimiter.WithKey(ratelimiter.Shared("all")),
			ratelimiter.WithSkip(func(c *gin.Context) bool { return c.FullPath() == "/find" })))
		engine.GET("/search", ok)
		engine.GET("/find", func(c *gin.Context) {
			c.Request.URL.Path = "/search"
			engine.HandleContext(c)
		})
		require.Equal(t, []int{200, 200, 200, 429}, statuses(engine, 4, http.MethodGet, "/find"))
	})
}

func TestTheFilesOfAFolderShareACounter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no minute ends
		engine, limiter := application(t, nil)
		folder := t.TempDir()
		for _, name := range []string{"a", "b"} {
			require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(name), 0o600))
		}

		files := engine.Group("/files", limiter.RateLimit(100, time.Minute))
		files.Static("/", folder)

		ask(engine, http.MethodGet, "/files/a")
		response := ask(engine, http.MethodGet, "/files/b")
		require.Equal(t, "b", response.Body.String())
		require.Equal(t, "98", header(response, "X-RateLimit-Remaining"))
	})
}

// connection replaces a WebSocket: its messages are lines.
type connection struct {
	net.Conn
	lines *bufio.Scanner
}

func upgrade(c *gin.Context) (*connection, error) {
	hijacked, buffered, err := c.Writer.Hijack()
	if err != nil {
		return nil, err
	}
	_, err = io.WriteString(hijacked, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: lines\r\n\r\n")
	return &connection{hijacked, bufio.NewScanner(buffered)}, err
}

func (c *connection) receive() bool { return c.lines.Scan() }

func (c *connection) send(text string) { _, _ = fmt.Fprintln(c, text) }

func TestMessagesOfAConnectionAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where no minute ends
		engine, limiter := application(t, nil)

		messages := limiter.RateLimit(100, time.Minute, ratelimiter.WithCost(0))
		engine.GET("/socket", messages, func(c *gin.Context) {
			connection, err := upgrade(c)
			if err != nil {
				return
			}
			defer func() { _ = connection.Close() }()
			for connection.receive() {
				_ = ratelimiter.AddCost(c, 1)
				left, err := limiter.Peek(c)
				if err == nil && len(left) > 0 && left[0].Exceeded {
					connection.send("Too many messages.")
					return
				}
				connection.send("Thank you.")
			}
		})

		server := httptest.NewServer(engine)
		t.Cleanup(server.Close)
		conversation := func() (said []string) {
			client, err := net.Dial("tcp", strings.TrimPrefix(server.URL, "http://"))
			require.NoError(t, err)
			defer func() { require.NoError(t, client.Close()) }()
			require.NoError(t, client.SetDeadline(time.Now().Add(time.Minute)))
			_, err = io.WriteString(client, "GET /socket HTTP/1.1\r\nHost: example\r\nConnection: Upgrade\r\nUpgrade: lines\r\n\r\n")
			require.NoError(t, err)
			answers := bufio.NewScanner(client)
			for answers.Scan() && answers.Text() != "" { // the headers
				require.NotContains(t, strings.ToLower(answers.Text()), "ratelimit")
			}
			for range 60 {
				_, err = fmt.Fprintln(client, "hello")
				require.NoError(t, err)
				require.True(t, answers.Scan())
				said = append(said, answers.Text())
				if answers.Text() != "Thank you." {
					break
				}
			}
			return said
		}
		require.Equal(t, slices.Repeat([]string{"Thank you."}, 60), conversation())
		require.Equal(t, append(slices.Repeat([]string{"Thank you."}, 39), "Too many messages."), conversation())
	})
}
