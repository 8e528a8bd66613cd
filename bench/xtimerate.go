package bench

import (
	"net/http"
	"sync"

	"github.com/gin-gonic/gin"
	"golang.org/x/time/rate"
)

// xTimeRate is golang.org/x/time/rate in a sync.Map, as people write it by hand.
// It forgets no key and sends no header.
var xTimeRate = contender{
	name:   "sync.Map of x/time/rate",
	silent: true,
	memory: func(q quota) opened {
		clients := &byHand{quota: q}
		return shared(func(key string) (bool, error) { return clients.allow(key), nil }, nothing)
	},
	gin: func(_ *gin.Engine, q quota) (gin.HandlerFunc, func()) {
		clients := &byHand{quota: q}
		return func(c *gin.Context) {
			if !clients.allow(c.ClientIP()) {
				c.AbortWithStatus(http.StatusTooManyRequests)
			}
		}, nothing
	},
}

type byHand struct {
	quota    quota
	limiters sync.Map
}

func (b *byHand) allow(key string) bool {
	limiter, ok := b.limiters.Load(key)
	if !ok {
		rateOf := rate.Limit(float64(b.quota.limit) / b.quota.per.Seconds())
		limiter, _ = b.limiters.LoadOrStore(key, rate.NewLimiter(rateOf, b.quota.limit))
	}
	return limiter.(*rate.Limiter).Allow()
}
