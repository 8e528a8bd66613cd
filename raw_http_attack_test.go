package ratelimiter_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/internal/redistest"
	"github.com/stretchr/testify/require"
)

// Clients that write HTTP by hand: too slowly, too early, or never to the end.

// line is a connection to a server.
type line struct {
	net.Conn
	*bufio.Reader
}

func (w line) Read(p []byte) (int, error) { return w.Reader.Read(p) }

func dial(t *testing.T, server *httptest.Server) line {
	connection, err := net.Dial("tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = connection.Close() })
	return line{connection, bufio.NewReader(connection)}
}

func (w line) send(t *testing.T, text string) {
	_, err := io.WriteString(w.Conn, text)
	require.NoError(t, err)
}

// status reads one response.
func (w line) status(t *testing.T) int {
	response, err := http.ReadResponse(w.Reader, nil)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	return response.StatusCode
}

// serve serves an engine with timeouts.
func serve(t *testing.T, engine *gin.Engine, read, write time.Duration) *httptest.Server {
	server := httptest.NewUnstartedServer(engine)
	server.Config.ReadTimeout, server.Config.WriteTimeout = read, write
	server.Start()
	t.Cleanup(server.CloseClientConnections)
	return server
}

const slowBody = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nslow"

// requireFreeSlot waits until the slot of POST / is free.
func requireFreeSlot(t *testing.T, limiter *ratelimiter.RateLimiter) {
	t.Helper()
	redistest.Eventually(t, "the slot is free", func(ctx context.Context) bool {
		infos, err := limiter.Status(ctx, "POST /", "127.0.0.1")
		return err == nil && infos[0].Remaining == 1
	})
}

func TestTheSlotOfASlowClientIsFreedByTheTimeoutsOfTheServer(t *testing.T) {
	for name, attack := range map[string]struct {
		read, write time.Duration
		request     string
		leaves      bool
	}{
		"a body that never ends":                   {50 * time.Millisecond, 0, slowBody, false},
		"a body, and then the client has left":     {0, 0, slowBody, true},
		"a chunked body that never ends":           {50 * time.Millisecond, 0, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nslow", false},
		"a body that is only announced":            {50 * time.Millisecond, 0, "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n", false},
		"a response that is not read":              {0, 200 * time.Millisecond, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", false},
		"a response, and then the client has left": {0, 0, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", true},
	} {
		t.Run(name, func(t *testing.T) {
			onEveryBackend(t, func(t *testing.T, config ratelimiter.Config) {
				engine, limiter := application(t, config)
				large := make([]byte, 64<<20)
				inside := make(chan struct{}, 3)
				engine.POST("/", limiter.Concurrent(1), func(c *gin.Context) {
					inside <- struct{}{}
					if _, err := io.Copy(io.Discard, c.Request.Body); err == nil {
						_, _ = c.Writer.Write(large)
					}
				})
				server := serve(t, engine, attack.read, attack.write)
				for range 3 {
					client := dial(t, server)
					client.send(t, attack.request)
					<-inside
					if attack.leaves {
						require.NoError(t, client.Close())
					}
					requireFreeSlot(t, limiter)
				}
			})
		})
	}
}

// The server reads the rest of a body after the handlers.
func TestASlowBodyOfARejectedRequestHoldsNoSlot(t *testing.T) {
	engine, limiter := application(t, nil)
	arrived := make(chan struct{}, 9)
	engine.POST("/", func(c *gin.Context) { c.Next(); arrived <- struct{}{} }, limiter.Concurrent(1), limiter.RateLimit(0, time.Hour), ok)
	server := serve(t, engine, 0, 0)
	for range 5 {
		dial(t, server).send(t, slowBody)
		<-arrived
		requireFreeSlot(t, limiter)
	}
}

func TestABodyThatARejectedClientAnnouncesIsNotInvited(t *testing.T) {
	engine, limiter := application(t, nil)
	engine.POST("/", limiter.RateLimit(1, time.Hour), func(c *gin.Context) { _, _ = io.Copy(c.Writer, c.Request.Body) })
	server := serve(t, engine, 0, 0)
	const announced = "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
	client := dial(t, server)
	client.send(t, announced)
	require.Equal(t, 100, client.status(t))
	client.send(t, "body")
	require.Equal(t, 200, client.status(t))
	client.send(t, announced)
	require.Equal(t, 429, client.status(t), "and no 100")
}

// One write holds many requests. Nobody reads the responses until all are written.
func TestPipelinedRequestsAreLimitedOneByOne(t *testing.T) {
	const n = 500
	for name, limit := range map[string]struct {
		middleware func(r *ratelimiter.RateLimiter) gin.HandlerFunc
		allowed    int
	}{
		"units": {func(r *ratelimiter.RateLimiter) gin.HandlerFunc { return r.RateLimit(3, time.Hour) }, 3},
		"slots": {func(r *ratelimiter.RateLimiter) gin.HandlerFunc { return r.Concurrent(1) }, n},
		"slots to wait for": {func(r *ratelimiter.RateLimiter) gin.HandlerFunc {
			return r.Concurrent(1, ratelimiter.WithWait(time.Hour))
		}, n},
	} {
		t.Run(name, func(t *testing.T) {
			engine, limiter := application(t, nil)
			engine.GET("/", limit.middleware(limiter), ok)
			client := dial(t, serve(t, engine, 0, 0))
			client.send(t, strings.Repeat(plainGet, n))
			for i := range n {
				want := 200
				if i >= limit.allowed {
					want = 429
				}
				require.Equal(t, want, client.status(t), "request %d", i)
			}
		})
	}
}

// A server does not notice that a client has left if it has sent its next request before.
func TestARequestWhoseClientLeavesUnnoticedWaitsNoLongerThanItsWait(t *testing.T) {
	engine, limiter := application(t, nil)
	hall := newHall()
	engine.GET("/", limiter.Concurrent(1, ratelimiter.WithWait(time.Second)), hall.handle)
	server := serve(t, engine, 0, 0)
	first, second := dial(t, server), dial(t, server)
	first.send(t, plainGet)
	redistest.Eventually(t, "a request is in progress", func(context.Context) bool { return hall.inside.Load() == 1 })
	second.send(t, plainGet)
	redistest.Eventually(t, "another one waits", func(context.Context) bool { return limiter.Stats().Waiting == 1 })
	second.send(t, plainGet)
	require.NoError(t, second.Close())
	redistest.Eventually(t, "none waits", func(context.Context) bool { return limiter.Stats().Waiting == 0 })
	hall.exit <- struct{}{}
	require.Equal(t, 200, first.status(t))
}

// Lengths that servers and proxies may read differently.
func TestALengthThatContradictsItselfRefundsNothing(t *testing.T) {
	engine, limiter := application(t, nil)
	var ran []int64 // the lengths of the requests that were allowed
	engine.POST("/", limiter.RateLimit(10, time.Hour, ratelimiter.WithCost(func(c *gin.Context) int { return int(c.Request.ContentLength) })), func(c *gin.Context) {
		ran = append(ran, c.Request.ContentLength)
		_, _ = io.Copy(io.Discard, c.Request.Body)
	})
	server := serve(t, engine, 0, 0)
	send := func(fields, body string) int {
		client := dial(t, server)
		client.send(t, "POST / HTTP/1.1\r\nHost: x\r\n"+fields+"\r\n\r\n"+body)
		return client.status(t)
	}
	const chunks = "5\r\n01234\r\n0\r\n\r\n"
	require.Equal(t, 200, send("Content-Length: 10", "0123456789"))
	for _, fields := range []string{
		"Content-Length: -5", "Content-Length: +5", "Content-Length: 5\r\nContent-Length: 6", "Content-Length: 5, 5",
		"Content-Length: 99999999999999999999", "Content-Length: 9223372036854775807", "Content-Length: 5",
		"Transfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 5", "Transfer-Encoding: chunked\r\nContent-Length: -5000",
		"Transfer-Encoding: identity\r\nContent-Length: 5", "Transfer-Encoding: chunked, chunked", "Transfer-Encoding: gzip, chunked",
	} {
		_ = send(fields, chunks) // the server decides whether it is valid
		require.Equal(t, 429, send("Content-Length: 1", "0"), "after %q", fields)
	}
	require.Equal(t, []int64{10, -1, -1}, ran, "a chunked body costs nothing")
}

const plainGet = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
