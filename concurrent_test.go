package ratelimiter_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

// hall is a handler whose requests stay in progress until letOut ends them or their
// clients leave.
type hall struct {
	exit   chan struct{}
	inside atomic.Int64
}

func newHall() *hall { return &hall{exit: make(chan struct{})} }

func (h *hall) handle(c *gin.Context) {
	h.inside.Add(1)
	defer h.inside.Add(-1)
	select {
	case <-h.exit:
	case <-c.Request.Context().Done():
	}
	ok(c)
}

// letOut ends n requests, one after the other.
func (h *hall) letOut(n int) {
	for range n {
		h.exit <- struct{}{}
		synctest.Wait()
	}
}

func TestConcurrentLimitsTheRequestsInProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, nil)
		hall, crowd := newHall(), newCrowd()
		engine.GET("/", limiter.Concurrent(2), hall.handle)
		for range 4 {
			crowd.send(engine, "/")
		}
		require.EqualValues(t, 2, hall.inside.Load())
		pass(400 * 24 * time.Hour) // slots in memory never expire
		rejected := crowd.send(engine, "/").response
		require.Equal(t, 429, rejected.Code)
		require.Equal(t, "1", header(rejected, "Retry-After"))
		require.Equal(t, `"concurrent";q=2;qu="concurrent-requests"`, header(rejected, "RateLimit-Policy"))
		require.Equal(t, `"concurrent";r=0`, header(rejected, "RateLimit"))
		require.Empty(t, header(rejected, "X-RateLimit-Limit"))
		var problem map[string]any
		require.NoError(t, json.Unmarshal(rejected.Body.Bytes(), &problem))
		require.Equal(t, "Limit: 2 requests in progress at once.", problem["detail"])
		require.Equal(t, []any{"concurrent"}, problem["violated-policies"])

		require.Equal(t, 429, get(engine, "/").Code)
		other := crowd.send(engine, "/", from("198.51.100.7:1"))
		require.EqualValues(t, 3, hall.inside.Load(), "another client has its own slots")
		hall.letOut(3)
		require.Equal(t, `"concurrent";r=1`, header(other.response, "RateLimit"))
		crowd.send(engine, "/")
		require.EqualValues(t, 1, hall.inside.Load())
		hall.letOut(1)
		crowd.all.Wait()
	})
}

func TestASlotIsFreedHoweverTheRequestEnds(t *testing.T) {
	recovery := gin.RecoveryWithWriter(io.Discard)
	panics := func(*gin.Context) { panic("a mistake") }
	for name, handlers := range map[string]func(limit gin.HandlerFunc) []gin.HandlerFunc{
		"the handler ends": func(limit gin.HandlerFunc) []gin.HandlerFunc { return []gin.HandlerFunc{limit, ok} },
		"a panic, recovered before": func(limit gin.HandlerFunc) []gin.HandlerFunc {
			return []gin.HandlerFunc{recovery, limit, panics}
		},
		"a panic, recovered behind": func(limit gin.HandlerFunc) []gin.HandlerFunc {
			return []gin.HandlerFunc{limit, recovery, panics}
		},
		"a panic without recovery": func(limit gin.HandlerFunc) []gin.HandlerFunc { return []gin.HandlerFunc{limit, panics} },
		"http.ErrAbortHandler": func(limit gin.HandlerFunc) []gin.HandlerFunc {
			return []gin.HandlerFunc{limit, func(*gin.Context) { panic(http.ErrAbortHandler) }}
		},
		"an abort": func(limit gin.HandlerFunc) []gin.HandlerFunc {
			return []gin.HandlerFunc{limit, func(c *gin.Context) { c.AbortWithStatus(http.StatusForbidden) }, ok}
		},
		"a stream": func(limit gin.HandlerFunc) []gin.HandlerFunc {
			return []gin.HandlerFunc{limit, func(c *gin.Context) {
				for range 3 {
					c.SSEvent("message", "ok")
					c.Writer.Flush()
				}
			}}
		},
		"an upgrade": func(limit gin.HandlerFunc) []gin.HandlerFunc {
			return []gin.HandlerFunc{limit, func(c *gin.Context) {
				connection, _, err := c.Writer.Hijack()
				if err == nil {
					_, _ = io.WriteString(connection, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
					_ = connection.Close()
				}
			}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			engine, limiter := application(t, nil)
			var left int64
			engine.GET("/", append([]gin.HandlerFunc{func(c *gin.Context) {
				c.Next()
				left = 1
			}}, handlers(limiter.Concurrent(1))...)...)
			engine.GET("/left", func(c *gin.Context) {
				infos, err := limiter.Status(c, "GET /", "192.0.2.1")
				require.NoError(t, err)
				left = infos[0].Remaining
			})
			for range 3 {
				func() {
					defer func() { _ = recover() }() // as net/http does
					require.NotEqual(t, 429, get(engine, "/").Code)
				}()
				get(engine, "/left")
				require.EqualValues(t, 1, left)
			}
		})
	}
}

// A real server, because only there clients leave and connections are hijacked.
func TestTheSlotOfAConnectionIsFreedWhenTheConnectionEnds(t *testing.T) {
	engine, limiter := application(t, nil)
	ended := make(chan struct{}, 1)
	engine.GET("/stream", limiter.Concurrent(1, ratelimiter.WithKey(ratelimiter.Shared("live"))), func(c *gin.Context) {
		c.SSEvent("message", "ok")
		c.Writer.Flush()
		<-c.Request.Context().Done()
	})
	engine.GET("/socket", limiter.Concurrent(1, ratelimiter.WithKey(ratelimiter.Shared("live"))), func(c *gin.Context) {
		connection, buffered, err := c.Writer.Hijack()
		if err != nil {
			return
		}
		defer func() { _ = connection.Close() }()
		_, _ = io.WriteString(connection, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: lines\r\n\r\n")
		_, _ = io.Copy(io.Discard, buffered)
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		engine.ServeHTTP(w, r)
		if w.Header().Get("Retry-After") == "" {
			ended <- struct{}{}
		}
	}))
	t.Cleanup(server.Close)
	open := func(path string) (status int, leave func()) {
		ctx, cancel := context.WithCancel(t.Context())
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+path, nil)
		require.NoError(t, err)
		request.Header.Set("Connection", "Upgrade")
		request.Header.Set("Upgrade", "lines")
		response, err := http.DefaultClient.Do(request) //nolint:bodyclose // closed by leave
		require.NoError(t, err)
		return response.StatusCode, func() { cancel(); _ = response.Body.Close() }
	}
	for _, path := range []string{"/stream", "/socket"} {
		first, leave := open(path)
		require.Less(t, first, 300)
		for _, other := range []string{"/stream", "/socket"} {
			second, leave := open(other)
			require.Equal(t, 429, second)
			leave()
		}
		leave()
		<-ended
	}
}

func TestTheLimitOfConcurrentIsANumberOrAFunction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, nil)
		hall, crowd := newHall(), newCrowd()
		byPlan := func(c *gin.Context) int {
			limit, _ := strconv.Atoi(c.GetHeader("Plan"))
			return limit
		}
		engine.GET("/none", limiter.Concurrent(0), hall.handle)
		engine.GET("/any", limiter.Concurrent(ratelimiter.Unlimited), hall.handle)
		engine.GET("/int64", limiter.Concurrent(int64(1)), hall.handle)
		engine.GET("/plan", limiter.Concurrent(byPlan), hall.handle)
		engine.GET("/scope", limiter.Concurrent(func(_ *gin.Context, key, scope string) int {
			require.Equal(t, "GET /scope", key)
			require.Equal(t, "192.0.2.1", scope)
			return 1
		}), hall.handle)

		rejected := get(engine, "/none")
		require.Equal(t, 429, rejected.Code)
		require.Empty(t, header(rejected, "Retry-After"), "waiting does not help")
		for path, inside := range map[string]int64{"/any": 5, "/int64": 1, "/scope": 1} {
			for range 5 {
				crowd.send(engine, path)
			}
			require.Equal(t, inside, hall.inside.Load(), path)
			hall.letOut(int(inside))
		}
		for _, step := range []struct {
			plan   string
			inside int64
		}{{"1", 1}, {"1", 1}, {"3", 2}, {"1", 2}, {"3", 3}, {"3", 3}, {"-1", 4}, {"0", 4}} {
			crowd.send(engine, "/plan", withHeader("Plan", step.plan))
			require.Equal(t, step.inside, hall.inside.Load())
		}
		hall.letOut(4)
		crowd.all.Wait()
	})
}

func TestConcurrentsHaveSeparateCounters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, nil)
		hall, crowd := newHall(), newCrowd()
		shared := ratelimiter.WithKey(ratelimiter.Shared("uploads"))
		likeIt := []ratelimiter.Option{ratelimiter.WithAlgorithm(ratelimiter.SlidingLog), shared}
		engine.GET("/", limiter.Concurrent(5), limiter.RateLimit(9, 30*time.Second, likeIt[0]), limiter.Concurrent(3),
			limiter.Concurrent(2, shared), limiter.RateLimit(8, 30*time.Second, likeIt...), hall.handle)
		engine.GET("/other", limiter.Concurrent(2, shared), hall.handle)
		first, second := crowd.send(engine, "/"), crowd.send(engine, "/other")
		require.EqualValues(t, 2, hall.inside.Load())
		require.Equal(t, 429, get(engine, "/other").Code, "routes share the slots of a key")
		require.Equal(t, 429, get(engine, "/").Code)
		hall.letOut(2)
		require.Equal(t, []int{200, 200}, []int{first.response.Code, second.response.Code})
		response := first.response
		require.Equal(t, `"concurrent";q=5;qu="concurrent-requests", "per-30s";q=9;w=30, "concurrent-2";q=3;qu="concurrent-requests", "concurrent-3";q=2;qu="concurrent-requests", "per-30s-2";q=8;w=30`, header(response, "RateLimit-Policy"))
		require.Equal(t, `"concurrent";r=4, "per-30s";r=8;t=30, "concurrent-2";r=2, "concurrent-3";r=1, "per-30s-2";r=7;t=30`, header(response, "RateLimit"))
		require.Equal(t, "8", header(response, "X-RateLimit-Limit"))
		require.ElementsMatch(t, []string{"GET /", "GET /other", "uploads"}, append(limiter.Keys(), "GET /other"))
		crowd.all.Wait()
	})
}

func TestARequestHoldsOneSlotPerCounter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, nil)
		hall, crowd := newHall(), newCrowd()
		shared := ratelimiter.WithKey(ratelimiter.Shared("jobs"))
		group := engine.Group("/", limiter.Concurrent(3, shared))
		group.GET("/any", hall.handle)
		group.GET("/few", limiter.Concurrent(2, shared, ratelimiter.WithWait(time.Minute)), hall.handle)
		crowd.send(engine, "/few")
		crowd.send(engine, "/few")
		require.EqualValues(t, 2, hall.inside.Load())
		require.Equal(t, 429, get(engine, "/few").Code, "it would be the third, and takes no slot that others wait for")
		crowd.send(engine, "/any")
		require.EqualValues(t, 3, hall.inside.Load())
		hall.letOut(3)
		crowd.all.Wait()
		require.Equal(t, "concurrent", info(t, limiter, "jobs").Name)
		require.EqualValues(t, 3, info(t, limiter, "jobs").Remaining, "all slots are free")
	})
}

// info returns the first limit on a key, for the client of get.
func info(t *testing.T, limiter *ratelimiter.RateLimiter, key string) ratelimiter.Info {
	t.Helper()
	infos, err := limiter.Status(t.Context(), key, "192.0.2.1")
	require.NoError(t, err)
	return infos[0]
}

func TestARequestRejectedByConcurrentIsChargedNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, nil)
		hall, crowd := newHall(), newCrowd()
		engine.GET("/before", limiter.RateLimit(5, time.Hour), limiter.Concurrent(1), hall.handle)
		engine.GET("/behind", limiter.Concurrent(2), limiter.RateLimit(1, time.Hour), hall.handle)
		crowd.send(engine, "/before")
		rejected := get(engine, "/before")
		require.Equal(t, 429, rejected.Code)
		require.Equal(t, `"per-hour";r=4;t=3600, "concurrent";r=0`, header(rejected, "RateLimit"))
		infos, err := limiter.Status(t.Context(), "GET /before", "192.0.2.1")
		require.NoError(t, err)
		require.EqualValues(t, 4, infos[1].Remaining)

		crowd.send(engine, "/behind")
		for range 5 {
			rejected := get(engine, "/behind")
			require.Equal(t, 429, rejected.Code, "rejected by the RateLimit that follows, and the slot is freed")
			require.Equal(t, `"concurrent";r=0, "per-hour";r=0;t=3600`, header(rejected, "RateLimit"))
		}
		hall.letOut(2)
		crowd.all.Wait()
	})
}

func TestConcurrentDoesNotReplaceTheDefaultLimits(t *testing.T) {
	engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "2/hour"})
	engine.GET("/", limiter.Concurrent(5), ok)
	engine.GET("/own", limiter.Concurrent(5), limiter.RateLimit(3, time.Hour), ok)
	engine.GET("/kept", limiter.RateLimit(3, time.Hour, ratelimiter.WithDefaults()), limiter.Concurrent(5), ok)
	engine.GET("/tried", limiter.Concurrent(5), limiter.RateLimit(1, time.Hour, ratelimiter.WithShadow()), limiter.Concurrent(5), ok)
	for path, want := range map[string][]int{
		"/": {200, 200, 429}, "/own": {200, 200, 200, 429}, "/kept": {200, 200, 429}, "/tried": {200, 200, 429},
	} {
		require.Equal(t, want, statuses(engine, path, len(want)), path)
	}
}

func TestConcurrentCanBeAShadowAndIsObserved(t *testing.T) {
	for name, option := range map[string]ratelimiter.Option{"shadow": ratelimiter.WithShadow(), "observe only": ratelimiter.WithObserveOnly()} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				observer := &notebook{}
				engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_OBSERVER": observer})
				hall, crowd := newHall(), newCrowd()
				exceeded := make(chan bool, 9)
				engine.GET("/", limiter.Concurrent(1, option), func(c *gin.Context) {
					info, ok := ratelimiter.FromContext(c)
					require.True(t, ok)
					exceeded <- info.Exceeded
				}, hall.handle)
				for _, want := range []bool{false, true, true} {
					crowd.send(engine, "/")
					require.Equal(t, want, <-exceeded)
				}
				hall.letOut(3)
				crowd.send(engine, "/")
				require.False(t, <-exceeded, "a request over the limit has no slot to free")
				hall.letOut(1)
				crowd.all.Wait()
				var outcomes []ratelimiter.Outcome
				for _, e := range observer.events {
					outcomes = append(outcomes, e.Outcome)
					require.Zero(t, e.Per)
					require.True(t, e.Reset.IsZero())
				}
				require.Equal(t, []ratelimiter.Outcome{ratelimiter.Allowed, ratelimiter.Shadowed, ratelimiter.Shadowed, ratelimiter.Allowed}, outcomes)
			})
		})
	}
}

func TestAHandlerReadsTheNumberOfFreeSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, nil)
		hall, crowd := newHall(), newCrowd()
		engine.GET("/", limiter.Concurrent(3, ratelimiter.WithName("exports")), func(c *gin.Context) {
			got, known := ratelimiter.FromContext(c)
			require.True(t, known)
			require.Equal(t, ratelimiter.Info{Name: "exports", Key: "GET /", Scope: "192.0.2.1", Limit: 3, Remaining: 2}, got)
			require.NoError(t, ratelimiter.SetCost(c, 2), "Reset frees no slot")
			require.NoError(t, limiter.Reset(c, "GET /", "192.0.2.1"), "the requests are still in progress")
			now, err := limiter.Peek(c)
			require.NoError(t, err)
			require.Equal(t, []ratelimiter.Info{got}, now)
		}, hall.handle)
		crowd.send(engine, "/")
		require.EqualValues(t, 2, info(t, limiter, "GET /").Remaining)
		hall.letOut(1)
		require.EqualValues(t, 3, info(t, limiter, "GET /").Remaining)
		crowd.all.Wait()
	})
}

func TestADisabledLimiterDoesNotCountRequestsInProgress(t *testing.T) {
	engine, limiter := application(t, ratelimiter.Config{"RATELIMITER_ENABLED": false})
	engine.GET("/", limiter.Concurrent(0), ok)
	require.Equal(t, 200, get(engine, "/").Code)
	var unborn ratelimiter.RateLimiter
	other := gin.New()
	other.GET("/", unborn.Concurrent(1), ok)
	require.Equal(t, 500, get(other, "/").Code)
}
