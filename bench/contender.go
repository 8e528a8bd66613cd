// Package bench measures this rate limiter beside its peers, all in one run.
// See README.md for the command and the tables.
package bench

import (
	"time"

	"github.com/gin-gonic/gin"
)

// quota is what everybody is asked to keep: limit requests in per for each key.
type quota struct {
	limit int
	per   time.Duration
}

var (
	// usual is what requests are denied by.
	usual = quota{100, time.Minute}
	// ample denies nobody: no benchmark gets through it in its time.
	ample = quota{1_000_000_000, time.Minute}
	// daily regains so little while a table is filled that slow contenders
	// are not said to have freed somebody.
	daily = quota{100, 24 * time.Hour}
)

// take decides on one request. An error says that no decision was reached.
type take func(key string) (allowed bool, err error)

// opened is a rate limiter that is ready. take gives each goroutine a function
// of its own, because some APIs want buffers that the caller uses again. Both
// may have nothing to free.
type opened struct {
	take func() take
	stop func()
}

// contender is one rate limiter. What it does not have is nil.
type contender struct {
	name   string
	memory func(quota) opened
	redis  func(q quota, addr string) opened
	// gin is the middleware with counters in memory, which tells the client
	// about the limit in as many headers as it can unless the name says otherwise,
	// or it is silent.
	gin func(*gin.Engine, quota) (gin.HandlerFunc, func())
	// silent middleware sends no headers.
	silent bool
}

// contenders are in the order of the tables. gin-rate-limit is last: its memory
// store cannot be closed, and would burden the collector for those after it.
func contenders() []contender {
	return []contender{
		oursSlidingWindow, oursTokenBucket, oursWithXHeaders, oursWithoutHeaders,
		sethvargo, xTimeRate, throttledMap, throttledLRU, ulule, httpRate, tollBooth, redisRate, ginRateLimit,
	}
}

// shared is for limiters that all goroutines call in the same way.
func shared(t take, stop func()) opened {
	return opened{func() take { return t }, stop}
}

func nothing() {}

// must is for constructors that fail only when this program is wrong.
func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
