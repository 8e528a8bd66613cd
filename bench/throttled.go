package bench

import (
	"context"

	"github.com/gin-gonic/gin"
	"github.com/redis/go-redis/v9"
	"github.com/throttled/throttled/v2"
	goredisstore "github.com/throttled/throttled/v2/store/goredisstore.v9"
	"github.com/throttled/throttled/v2/store/memstore"
)

// throttledMap and throttledLRU are github.com/throttled/throttled/v2 with a map
// that grows for ever, and with a list that forgets the least recently used.
var (
	throttledMap = contender{
		name:   "throttled, map",
		memory: func(q quota) opened { return throttledOn(must(memstore.NewCtx(0)), q, nothing) },
		redis: func(q quota, addr string) opened {
			client := redis.NewClient(&redis.Options{Addr: addr})
			return throttledOn(must(goredisstore.NewCtx(client, "throttled:")), q, func() { _ = client.Close() })
		},
		gin: func(_ *gin.Engine, q quota) (gin.HandlerFunc, func()) {
			limiter := throttled.HTTPRateLimiterCtx{
				RateLimiter: throttledGCRA(must(memstore.NewCtx(0)), q),
				VaryBy:      &throttled.VaryBy{RemoteAddr: true},
			}
			return fromNetHTTP(limiter.RateLimit), nothing
		},
	}
	throttledLRU = contender{
		name:   "throttled, LRU of 1M",
		memory: func(q quota) opened { return throttledOn(must(memstore.NewCtx(1<<20)), q, nothing) },
	}
)

func throttledOn(store throttled.GCRAStoreCtx, q quota, stop func()) opened {
	limiter := throttledGCRA(store, q)
	ctx := context.Background()
	return shared(func(key string) (bool, error) {
		limited, _, err := limiter.RateLimitCtx(ctx, key, 1)
		return err == nil && !limited, err
	}, stop)
}

// throttledGCRA has a burst of the whole limit: MaxBurst counts what comes on top
// of one request.
func throttledGCRA(store throttled.GCRAStoreCtx, q quota) throttled.RateLimiterCtx {
	return must(throttled.NewGCRARateLimiterCtx(store, throttled.RateQuota{
		MaxRate: throttled.PerDuration(q.limit, q.per), MaxBurst: q.limit - 1,
	}))
}
