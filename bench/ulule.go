package bench

import (
	"context"

	"github.com/gin-gonic/gin"
	"github.com/redis/go-redis/v9"
	"github.com/ulule/limiter/v3"
	ululegin "github.com/ulule/limiter/v3/drivers/middleware/gin"
	ululememory "github.com/ulule/limiter/v3/drivers/store/memory"
	ululeredis "github.com/ulule/limiter/v3/drivers/store/redis"
)

// ulule is github.com/ulule/limiter/v3.
var ulule = contender{
	name:   "ulule/limiter",
	memory: func(q quota) opened { return ululeOn(ululememory.NewStore(), q, nothing) },
	redis: func(q quota, addr string) opened {
		client := redis.NewClient(&redis.Options{Addr: addr})
		return ululeOn(must(ululeredis.NewStore(client)), q, func() { _ = client.Close() })
	},
	gin: func(_ *gin.Engine, q quota) (gin.HandlerFunc, func()) {
		return ululegin.NewMiddleware(limiter.New(ululememory.NewStore(), ululeRate(q))), nothing
	},
}

func ululeRate(q quota) limiter.Rate { return limiter.Rate{Limit: int64(q.limit), Period: q.per} }

func ululeOn(store limiter.Store, q quota, stop func()) opened {
	l := limiter.New(store, ululeRate(q))
	ctx := context.Background()
	return shared(func(key string) (bool, error) {
		answer, err := l.Get(ctx, key)
		return err == nil && !answer.Reached, err
	}, stop)
}
