package ratelimiter_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/internal/redistest"
	"github.com/stretchr/testify/require"
)

// Rapid resets: a client opens hundreds of streams on a connection and resets each of them.
// The frames are written by hand, because an HTTP/2 client waits for the server's settings.

const headersFrame, resetFrame, settingsFrame, pingFrame = 1, 3, 4, 6

// frame appends a frame of HTTP/2.
func frame(to []byte, kind, flags byte, stream uint32, payload ...byte) []byte {
	to = append(to, 0, 0, byte(len(payload)), kind, flags)
	return append(binary.BigEndian.AppendUint32(to, stream), payload...)
}

// streams is a connection on which a client opens and resets streams of GET /.
type streams struct {
	net.Conn
	out    []byte        // frames to send
	next   uint32        // the next stream
	ponged chan struct{} // receives a value for each answered ping
}

func openConnection(t *testing.T, server *httptest.Server) *streams {
	connection, err := net.Dial("tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	s := &streams{connection, frame([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), settingsFrame, 0, 0), 1, make(chan struct{}, 1)}
	go s.read()
	return s
}

// read reads all frames, so that the server never has to wait for the client.
func (s *streams) read() {
	in, header := bufio.NewReader(s), make([]byte, 9)
	for {
		if _, err := io.ReadFull(in, header); err != nil {
			return
		}
		if _, err := in.Discard(int(binary.BigEndian.Uint32(header) >> 8)); err != nil {
			return
		}
		if header[3] == pingFrame {
			s.ponged <- struct{}{}
		}
	}
}

// open opens n streams, and resets each of them at once if reset is true.
func (s *streams) open(n int, reset bool) {
	for range n {
		const endStream, endHeaders = 1, 4
		get := []byte{0x82, 0x86, 0x84, 0x01, 1, 'x'} // GET, http, / and a host
		s.out = frame(s.out, headersFrame, endStream|endHeaders, s.next, get...)
		if reset {
			s.reset(s.next)
		}
		s.next += 2
	}
}

func (s *streams) reset(stream uint32) {
	const cancel = 8
	s.out = frame(s.out, resetFrame, 0, stream, 0, 0, 0, cancel)
}

// flush sends the frames, and returns when the server has read them.
func (s *streams) flush(t *testing.T) {
	_, err := s.Write(frame(s.out, pingFrame, 0, 0, make([]byte, 8)...))
	require.NoError(t, err)
	s.out = nil
	<-s.ponged
}

// http2Server serves an engine over HTTP/2 without TLS, and counts the requests.
type http2Server struct {
	*httptest.Server
	begun, ended atomic.Int64
}

func serveHTTP2(engine *gin.Engine) *http2Server {
	s := &http2Server{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.begun.Add(1)
		defer s.ended.Add(1)
		engine.ServeHTTP(w, r)
	}))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	return s
}

// assault opens 1,000 streams on four connections and resets them: most of them at once, and
// 200 when they have reached the limiter. It returns when all requests have ended. The
// server itself drops some of those that were reset before they had begun.
func (s *http2Server) assault(t *testing.T) {
	const many = 200
	for range 3 {
		fast := openConnection(t, s.Server)
		fast.open(many, true)
		fast.flush(t)
		defer func() { _ = fast.Close() }()
	}
	late, begun := openConnection(t, s.Server), s.begun.Load()
	defer func() { _ = late.Close() }()
	late.open(many, false)
	late.flush(t)
	redistest.Eventually(t, "the streams have begun", func(context.Context) bool { return s.begun.Load() >= begun+many })
	for stream := uint32(1); stream < late.next; stream += 2 {
		late.reset(stream)
	}
	late.open(many, true)
	late.flush(t)
	redistest.Eventually(t, "all requests have ended", func(context.Context) bool {
		ended := s.ended.Load()
		return s.begun.Load() == ended
	})
}

func TestStreamsThatAreResetPayForEveryRequestThatRan(t *testing.T) {
	for name, limit := range map[string]int64{"within the limit": 5000, "over the limit": 50} {
		t.Run(name, func(t *testing.T) {
			onEveryBackend(t, func(t *testing.T, config ratelimiter.Config) {
				engine, limiter := application(t, config)
				var ran atomic.Int64
				engine.GET("/", limiter.RateLimit(limit, time.Hour), func(c *gin.Context) { ran.Add(1); ok(c) })
				server := serveHTTP2(engine)
				server.assault(t)
				charged := limit - leftOfRoute(t, limiter)
				t.Logf("%d streams began, %d ran, %d were charged", server.begun.Load(), ran.Load(), charged)
				require.LessOrEqual(t, ran.Load(), charged, "a call that the reset has cut short may have charged")
				if config["RATELIMITER_BACKEND"] != "redis" { // resets may cut all calls to Redis short
					require.Positive(t, ran.Load())
					require.Equal(t, ran.Load(), charged)
				}
				require.LessOrEqual(t, charged, min(limit, server.begun.Load()))
				server.Close()
			})
		})
	}
}

func TestStreamsThatAreResetLeaveNoSlotNoQueueAndNoGoroutine(t *testing.T) {
	patient := ratelimiter.WithWait(time.Hour)
	for name, limit := range map[string]func(r *ratelimiter.RateLimiter) gin.HandlerFunc{
		"slots":             func(r *ratelimiter.RateLimiter) gin.HandlerFunc { return r.Concurrent(3) },
		"slots to wait for": func(r *ratelimiter.RateLimiter) gin.HandlerFunc { return r.Concurrent(3, patient) },
		"units to wait for": func(r *ratelimiter.RateLimiter) gin.HandlerFunc { return r.RateLimit(3, time.Hour, patient) },
	} {
		t.Run(name, func(t *testing.T) {
			onEveryBackend(t, func(t *testing.T, config ratelimiter.Config) {
				engine, limiter := application(t, config)
				var inside, excess atomic.Int64
				engine.GET("/", limit(limiter), func(c *gin.Context) {
					defer inside.Add(-1)
					if inside.Add(1) > 3 {
						excess.Add(1)
					}
					<-c.Request.Context().Done()
				})
				server := serveHTTP2(engine)
				server.assault(t) // opens connections to Redis, too
				goroutines, before := runtime.NumGoroutine(), heap()
				for range 5 {
					server.assault(t)
				}
				require.Zero(t, excess.Load())
				require.Zero(t, inside.Load())
				require.Zero(t, limiter.Stats().Waiting)
				require.Zero(t, limiter.Queues())
				if name != "units to wait for" {
					require.EqualValues(t, 3, leftOfRoute(t, limiter), "all slots are free")
				}
				redistest.Eventually(t, "no goroutine is left", func(context.Context) bool { return runtime.NumGoroutine() <= goroutines })
				require.Less(t, heap()-before, int64(2<<20))
				server.Close()
			})
		})
	}
}

// Decisions of a process share calls to Redis. A reset ends the request of one of them.
func TestStreamsThatAreResetFailNoDecisionOfAnotherClient(t *testing.T) {
	engine, limiter := application(t, ratelimiter.Config{
		"RATELIMITER_BACKEND":         "redis",
		"RATELIMITER_BACKEND_OPTIONS": map[string]any{"addr": redistest.Single(t).Addr},
		"RATELIMITER_TIMEOUT":         10 * time.Second,
		"RATELIMITER_ON_ERROR":        "deny",
	})
	const limit = 1_000_000
	engine.GET("/", limiter.RateLimit(limit, time.Hour, ratelimiter.WithScope(ratelimiter.ByHeader("X-User"))), ok)
	server := serveHTTP2(engine)
	defer server.Close()
	attacked, other := make(chan struct{}), make(chan map[int]int64)
	go func() {
		codes := map[int]int64{}
		for {
			select {
			case <-attacked:
				other <- codes
				return
			default:
				codes[get(engine, "/", withHeader("X-User", "ann")).Code]++
			}
		}
	}()
	for range 10 {
		server.assault(t)
	}
	close(attacked)
	codes := <-other
	infos, err := limiter.Status(t.Context(), "GET /", "ann")
	require.NoError(t, err)
	require.Equal(t, map[int]int64{200: limit - infos[0].Remaining}, codes)
	require.NoError(t, limiter.Health().Err)
}
