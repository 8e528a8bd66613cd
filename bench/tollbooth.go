package bench

import (
	"github.com/didip/tollbooth/v8"
	"github.com/didip/tollbooth/v8/limiter"
	"github.com/gin-gonic/gin"
)

// tollBooth is github.com/didip/tollbooth/v8, whose rates are per second.
var tollBooth = contender{
	name: "didip/tollbooth",
	memory: func(q quota) opened {
		l := tollBoothOf(q)
		return shared(func(key string) (bool, error) { return !l.LimitReached(key), nil }, nothing)
	},
	gin: func(_ *gin.Engine, q quota) (gin.HandlerFunc, func()) {
		l := tollBoothOf(q).SetIPLookup(limiter.IPLookup{Name: "RemoteAddr"})
		return func(c *gin.Context) {
			if rejection := tollbooth.LimitByRequest(l, c.Writer, c.Request); rejection != nil {
				c.Data(rejection.StatusCode, l.GetMessageContentType(), []byte(rejection.Message))
				c.Abort()
			}
		}, nothing
	},
}

func tollBoothOf(q quota) *limiter.Limiter {
	return tollbooth.NewLimiter(float64(q.limit)/q.per.Seconds(), nil).SetBurst(q.limit)
}
