package bench

import (
	ratelimit "github.com/JGLTechnologies/gin-rate-limit"
	"github.com/gin-gonic/gin"
	"github.com/redis/go-redis/v9"
)

// ginRateLimit is github.com/JGLTechnologies/gin-rate-limit.
var ginRateLimit = contender{
	name:   "gin-rate-limit",
	memory: func(q quota) opened { return ginRateLimitOn(ginRateLimitMemory(q), nothing) },
	redis: func(q quota, addr string) opened {
		client := redis.NewClient(&redis.Options{Addr: addr})
		store := ratelimit.RedisStore(&ratelimit.RedisOptions{Rate: q.per, Limit: uint(q.limit), RedisClient: client})
		return ginRateLimitOn(store, func() { _ = client.Close() })
	},
	gin: func(_ *gin.Engine, q quota) (gin.HandlerFunc, func()) {
		return ratelimit.RateLimiter(ginRateLimitMemory(q), nil), nothing
	},
}

func ginRateLimitMemory(q quota) ratelimit.Store {
	return ratelimit.InMemoryStore(&ratelimit.InMemoryOptions{Rate: q.per, Limit: uint(q.limit)})
}

// ginRateLimitOn hands no context in: it is for a skip function, which there is
// none of.
func ginRateLimitOn(store ratelimit.Store, stop func()) opened {
	return shared(func(key string) (bool, error) { return !store.Limit(key, nil).RateLimited, nil }, stop)
}
