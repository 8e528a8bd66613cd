package ratelimiter_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

// crowd is a group of concurrent requests.
type crowd struct {
	began time.Time
	all   sync.WaitGroup
	sent  []*visit
}

// visit is a request and its result.
type visit struct {
	leave    context.CancelFunc
	response *httptest.ResponseRecorder
	at       time.Duration // when it was answered, since the start
}

func newCrowd() *crowd { return &crowd{began: time.Now()} }

// send sends a request, and returns when it has been answered or waits.
func (w *crowd) send(handler http.Handler, path string, change ...func(*http.Request)) *visit {
	ctx, leave := context.WithCancel(context.Background())
	v := &visit{leave: leave}
	w.sent = append(w.sent, v)
	w.all.Go(func() {
		defer leave()
		response := get(handler, path, append(change, func(r *http.Request) { *r = *r.WithContext(ctx) })...)
		v.response, v.at = response, time.Since(w.began)
	})
	synctest.Wait()
	return v
}

// result waits for all responses and returns them in the form "200 at 1s".
func (w *crowd) result() (list []string) {
	w.all.Wait()
	for _, v := range w.sent {
		list = append(list, fmt.Sprintf("%d at %v", v.response.Code, v.at))
	}
	return list
}

var perSecond = ratelimiter.WithAlgorithm(ratelimiter.TokenBucket)

func ofCost(n int) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Cost", strconv.Itoa(n)) }
}

var byHeader = ratelimiter.WithCost(func(c *gin.Context) int {
	cost, _ := strconv.Atoi(c.GetHeader("Cost"))
	return cost
})

func TestRequestsPassWhenTheirTurnComes(t *testing.T) {
	for algorithm, want := range map[ratelimiter.Algorithm][]string{
		ratelimiter.FixedWindow:   {"200 at 0s", "200 at 0s", "200 at 10s", "200 at 10s", "200 at 20s", "200 at 20s"},
		ratelimiter.SlidingLog:    {"200 at 0s", "200 at 0s", "200 at 10s", "200 at 10s", "200 at 20s", "200 at 20s"},
		ratelimiter.TokenBucket:   {"200 at 0s", "200 at 0s", "200 at 5s", "200 at 10s", "200 at 15s", "200 at 20s"},
		ratelimiter.SlidingWindow: {"200 at 0s", "200 at 0s", "200 at 10s", "200 at 15s", "200 at 20s", "200 at 25s"},
	} {
		t.Run(algorithm.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				engine, limiter := application(t, nil)
				engine.GET("/", limiter.RateLimit(2, 10*time.Second, ratelimiter.WithAlgorithm(algorithm), ratelimiter.WithWait(40*time.Second)), ok)
				crowd := newCrowd()
				for range 6 {
					crowd.send(engine, "/")
				}
				require.Equal(t, want, crowd.result())
			})
		})
	}
}

func TestRequestsPassOneAfterTheOtherAndTheRestIsRejectedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, nil)
		engine.GET("/", limiter.RateLimit(1, time.Second, perSecond, ratelimiter.WithWait(10*time.Second)), ok)
		crowd := newCrowd()
		for range 11 {
			crowd.send(engine, "/")
		}
		late := crowd.send(engine, "/")
		require.Equal(t, http.StatusTooManyRequests, late.response.Code)
		require.Equal(t, "11", header(late.response, "Retry-After"))
		require.Equal(t, "0", header(late.response, "X-RateLimit-Remaining"))
		result := crowd.result()
		for i := range 11 {
			require.Equal(t, fmt.Sprintf("200 at %v", time.Duration(i)*time.Second), result[i])
		}
		require.Equal(t, "429 at 0s", result[11])
		pass(time.Second)
		require.Equal(t, "200 at 11s", func() string { crowd.send(engine, "/"); return crowd.result()[12] }(), "after Retry-After")
	})
}

// A client that returns after Retry-After passes at once. With a sliding window,
// Retry-After may be too long.
func TestRetryAfterTakesTheQueueIntoAccount(t *testing.T) {
	for _, algorithm := range algorithms {
		for _, limit := range []int{1, 2, 3, 10} {
			for _, waiting := range []int{limit, 2*limit + 1, 35} {
				for early, want := range map[time.Duration]int{0: 200, time.Microsecond: 429} {
					if early > 0 && algorithm == ratelimiter.SlidingWindow {
						continue
					}
					t.Run(fmt.Sprint(algorithm, limit, waiting, early), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) {
							engine, limiter := application(t, nil)
							var info ratelimiter.Info
							counter := func(options ...ratelimiter.Option) gin.HandlerFunc {
								return limiter.RateLimit(limit, 10*time.Second, append(options, ratelimiter.WithKey(ratelimiter.Shared("k")), ratelimiter.WithAlgorithm(algorithm))...)
							}
							engine.GET("/patient", counter(ratelimiter.WithWait(time.Hour)), ok)
							engine.GET("/hasty", func(c *gin.Context) { c.Next(); info, _ = ratelimiter.FromContext(c) }, counter(ratelimiter.WithWait(time.Millisecond)), ok)
							engine.GET("/now", counter(), ok)
							pass(3 * time.Second)
							crowd := newCrowd()
							for range limit / 2 {
								crowd.send(engine, "/patient")
							}
							pass(2 * time.Second)
							for range limit - limit/2 + waiting {
								crowd.send(engine, "/patient")
							}
							began := time.Now()
							require.Equal(t, 429, get(engine, "/hasty").Code)
							pass(info.RetryAfter - early - time.Since(began))
							synctest.Wait()
							require.Equal(t, want, get(engine, "/now").Code, info.RetryAfter)
							for _, result := range crowd.result() {
								require.Contains(t, result, "200 at")
							}
						})
					})
				}
			}
		}
	}
}

func TestAClientThatLeavesFreesItsPositionInTheQueue(t *testing.T) {
	for name, test := range map[string]struct {
		leaves int
		want   []string
	}{
		"the first":   {1, []string{"200 at 0s", "499 at 500ms", "200 at 1s", "200 at 2s", "200 at 3s"}},
		"one between": {2, []string{"200 at 0s", "200 at 1s", "499 at 500ms", "200 at 2s", "200 at 3s"}},
		"the last":    {4, []string{"200 at 0s", "200 at 1s", "200 at 2s", "200 at 3s", "499 at 500ms"}},
		"none":        {0, []string{"200 at 0s", "200 at 1s", "200 at 2s", "200 at 3s", "200 at 4s"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				engine, limiter := application(t, nil)
				engine.GET("/", limiter.RateLimit(1, time.Second, perSecond, ratelimiter.WithWait(4*time.Second)), ok)
				crowd := newCrowd()
				for range 5 {
					crowd.send(engine, "/")
				}
				require.Equal(t, 4, limiter.Stats().Waiting)
				pass(500 * time.Millisecond)
				crowd.sent[test.leaves].leave()
				require.Equal(t, test.want, crowd.result())
				require.Zero(t, limiter.Stats().Waiting)
				require.Zero(t, limiter.Queues())
			})
		})
	}
}

func TestNoRequestOvertakesTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, nil)
		engine.GET("/", limiter.RateLimit(10, 10*time.Second, perSecond, byHeader, ratelimiter.WithWait(time.Minute)), ok)
		crowd := newCrowd()
		crowd.send(engine, "/", ofCost(10))
		crowd.send(engine, "/", ofCost(5))
		pass(3 * time.Second)
		crowd.send(engine, "/", ofCost(1)) // three units are available now
		pass(2 * time.Second)
		crowd.send(engine, "/", ofCost(1)) // at the time when the second passes
		require.Equal(t, []string{"200 at 0s", "200 at 5s", "200 at 6s", "200 at 7s"}, crowd.result())
	})
}

// Two limits may share a counter, for example that of a group and that of a route.
func TestARequestThatWasChargedDoesNotWaitAtASecondLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, nil)
		crowd := newCrowd()
		limit := func() gin.HandlerFunc {
			return limiter.RateLimit(1, 10*time.Second, ratelimiter.WithKey(ratelimiter.Shared("exports")), perSecond, waiting(25*time.Second))
		}
		between := func(*gin.Context) { <-time.After(time.Second) }
		engine.GET("/", limit(), between, limit(), ok)
		for range 3 {
			crowd.send(engine, "/")
		}
		require.Equal(t, []string{"200 at 1s", "200 at 11s", "200 at 21s"}, crowd.result())
	})
}

func TestAShadowLimitKeepsNoChargedRequestWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, nil)
		crowd := newCrowd()
		limit := func(options ...ratelimiter.Option) gin.HandlerFunc {
			return limiter.RateLimit(2, 20*time.Second, append(options, ratelimiter.WithKey(ratelimiter.Shared("exports")), waiting(25*time.Second))...)
		}
		second := limit(ratelimiter.WithLimit(100, time.Hour, ratelimiter.WithShadow()))
		between := func(*gin.Context) { <-time.After(time.Second) }
		engine.GET("/both", limit(), between, second, ok)
		engine.GET("/one", second, ok)
		crowd.send(engine, "/both")
		crowd.send(engine, "/one")
		crowd.send(engine, "/one")
		require.Equal(t, []string{"200 at 1s", "200 at 0s", "200 at 20s"}, crowd.result())
	})
}

func TestARequestThatCannotPassInTimeIsRejectedAtOnce(t *testing.T) {
	for name, test := range map[string]struct {
		limit   any
		options []ratelimiter.Option
		costs   []int
		want    []string
	}{
		"the turn is too far away": {2, nil, []int{2, 1}, []string{"200 at 0s", "429 at 0s"}},
		"more than the limit":      {2, nil, []int{3}, []string{"429 at 0s"}},
		"more than the limit behind others": {
			2, []ratelimiter.Option{ratelimiter.WithWait(time.Hour)}, []int{2, 1, 3}, []string{"200 at 0s", "200 at 30s", "429 at 0s"},
		},
		"nothing is allowed": {0, nil, []int{1}, []string{"429 at 0s"}},
		"a cost of 0 passes those that wait": {
			2, []ratelimiter.Option{ratelimiter.WithWait(time.Hour)}, []int{2, 1, 0, 1}, []string{"200 at 0s", "200 at 30s", "200 at 0s", "200 at 1m0s"},
		},
		"unlimited": {func(*gin.Context) int { return ratelimiter.Unlimited }, nil, []int{9, 9, 9}, []string{"200 at 0s", "200 at 0s", "200 at 0s"}},
		"skipped": {
			0, []ratelimiter.Option{ratelimiter.WithSkip(func(*gin.Context) bool { return true })}, []int{9}, []string{"200 at 0s"},
		},
		"one limit of two": {
			2, []ratelimiter.Option{ratelimiter.WithLimit(3, time.Hour), ratelimiter.WithWait(10 * time.Minute)},
			[]int{2, 1, 1}, []string{"200 at 0s", "200 at 30s", "429 at 30s"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				engine, limiter := application(t, nil)
				options := append([]ratelimiter.Option{perSecond, byHeader, ratelimiter.WithWait(29 * time.Second)}, test.options...)
				engine.GET("/", limiter.RateLimit(test.limit, time.Minute, options...), ok)
				crowd := newCrowd()
				for _, cost := range test.costs {
					crowd.send(engine, "/", ofCost(cost))
				}
				require.Equal(t, test.want, crowd.result())
				require.Zero(t, limiter.Queues())
			})
		})
	}
}

// All requests that wait for a fixed window pass at its beginning, including those whose
// wait ends at that moment.
func TestATurnAtTheLastMomentCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, nil)
		engine.GET("/", limiter.RateLimit(4, 10*time.Second, ratelimiter.WithAlgorithm(ratelimiter.FixedWindow), ratelimiter.WithWait(10*time.Second)), ok)
		crowd := newCrowd()
		for range 9 {
			crowd.send(engine, "/")
		}
		require.Equal(t, "20", header(crowd.sent[8].response, "Retry-After"))
		require.Equal(t, []string{
			"200 at 0s", "200 at 0s", "200 at 0s", "200 at 0s",
			"200 at 10s", "200 at 10s", "200 at 10s", "200 at 10s", "429 at 0s",
		}, crowd.result())
	})
}

func TestQueuesAreIndependent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, nil)
		wait := ratelimiter.WithWait(time.Minute)
		engine.GET("/a", limiter.RateLimit(1, time.Second, perSecond, wait), ok)
		engine.GET("/b", limiter.RateLimit(1, 10*time.Second, perSecond, wait), ok)
		shared := ratelimiter.WithKey(ratelimiter.Shared("both"))
		engine.GET("/c", limiter.RateLimit(1, time.Second, perSecond, wait, shared), ok)
		engine.GET("/d", limiter.RateLimit(1, time.Second, perSecond, wait, shared), ok)
		crowd := newCrowd()
		for _, path := range []string{"/b", "/b", "/a", "/a", "/c", "/d", "/c"} {
			crowd.send(engine, path)
		}
		crowd.send(engine, "/b", from("192.0.2.2:1"))
		require.Equal(t, 3, limiter.Queues())
		require.Equal(t, []string{
			"200 at 0s", "200 at 10s", "200 at 0s", "200 at 1s", "200 at 0s", "200 at 1s", "200 at 2s", "200 at 0s",
		}, crowd.result())
	})
}

func TestQueuesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, nil)
		scope := ratelimiter.WithScope(ratelimiter.ByHeader("Who"))
		engine.GET("/", limiter.RateLimit(1000, time.Hour, ratelimiter.WithAlgorithm(ratelimiter.FixedWindow), scope, ratelimiter.WithWait(time.Hour)), ok)
		waiting := 0
		crowd := newCrowd()
		for who := range 11 {
			name := withHeader("Who", strconv.Itoa(who))
			statuses(engine, "/", 1000, name)
			for range 1000 {
				crowd.all.Go(func() { get(engine, "/", name) })
			}
			synctest.Wait()
			waiting = min(waiting+1000, 10_000)
			require.Equal(t, waiting, limiter.Stats().Waiting)
			full := get(engine, "/", name)
			require.Equal(t, 429, full.Code)
			want := "7200" // the window after the next
			if who == 10 {
				want = "3600" // this queue is empty
			}
			require.Equal(t, want, header(full, "Retry-After"))
		}
		crowd.all.Wait()
		require.Equal(t, time.Hour, time.Since(crowd.began))
	})
}

func TestAnInvalidWaitPanicsAtRegistration(t *testing.T) {
	var limiter ratelimiter.RateLimiter
	for name, test := range map[string]struct {
		register func()
		says     string
	}{
		"no time":        {func() { ratelimiter.WithWait(0) }, "must be positive"},
		"less than none": {func() { ratelimiter.WithWait(-time.Second) }, "must be positive"},
		"a bare number":  {func() { ratelimiter.WithWait(5) }, "5*time.Second"},
		"too long":       {func() { ratelimiter.WithWait(2 * time.Hour) }, "longer than the maximum of 1h"},
		"observe only": {func() {
			limiter.RateLimit(1, time.Second, ratelimiter.WithWait(time.Second), ratelimiter.WithOverLimit(nil))
		}, "needs limits that reject"},
		"all are shadows": {func() {
			limiter.RateLimit(1, time.Second, ratelimiter.WithShadow(), ratelimiter.WithLimit(1, time.Minute), ratelimiter.WithWait(time.Second))
		}, "needs limits that reject"},
		"for one limit": {func() {
			limiter.RateLimit(1, time.Second, ratelimiter.WithLimit(1, time.Minute, ratelimiter.WithWait(time.Second)))
		}, "not of WithLimit"},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() { require.Contains(t, fmt.Sprint(recover()), test.says) }()
			test.register()
		})
	}
}

// Each customer has a queue, so a customer that is over its own limit does not block
// others.
func TestEachScopeHasItsOwnQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, limiter := application(t, nil)
		customer := ratelimiter.WithScope(ratelimiter.ByHeader("Who"))
		engine.GET("/", limiter.RateLimit(2, 10*time.Second, perSecond, customer, ratelimiter.WithWait(time.Minute),
			ratelimiter.WithLimit(1, time.Second, ratelimiter.WithScope(ratelimiter.ByEveryone))), ok)
		crowd := newCrowd()
		for _, who := range []string{"ann", "ann", "ann", "bob"} {
			crowd.send(engine, "/", withHeader("Who", who))
		}
		require.Equal(t, 2, limiter.Queues())
		result := crowd.result()
		require.Equal(t, "200 at 0s", result[0])
		require.ElementsMatch(t, []string{"200 at 1s", "200 at 2s", "200 at 5s"}, result[1:])
	})
}
