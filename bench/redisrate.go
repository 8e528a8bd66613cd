package bench

import (
	"context"

	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/go-redis/v9"
)

// redisRate is github.com/go-redis/redis_rate/v10, which has Redis alone.
var redisRate = contender{
	name: "go-redis/redis_rate",
	redis: func(q quota, addr string) opened {
		client := redis.NewClient(&redis.Options{Addr: addr})
		limiter := redis_rate.NewLimiter(client)
		limit := redis_rate.Limit{Rate: q.limit, Burst: q.limit, Period: q.per}
		ctx := context.Background()
		return shared(func(key string) (bool, error) {
			result, err := limiter.Allow(ctx, key, limit)
			return err == nil && result.Allowed > 0, err
		}, func() { _ = client.Close() })
	},
}
