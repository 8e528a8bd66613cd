package bench

import (
	"context"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/backends"
)

var (
	oursSlidingWindow = ours("ours, sliding-window", backends.SlidingWindow)
	oursTokenBucket   = ours("ours, token-bucket", backends.TokenBucket)

	// The middleware again: with as many headers as most peers send, with none, and
	// with two more limits on the same client.
	oursWithXHeaders = contender{
		name: "ours, X headers only",
		gin:  oursGin(ratelimiter.Config{"RATELIMITER_INJECT_RATELIMIT_HEADERS": false}),
	}
	oursWithoutHeaders = contender{
		name:   "ours, no headers",
		silent: true,
		gin: oursGin(ratelimiter.Config{
			"RATELIMITER_INJECT_X_HEADERS": false, "RATELIMITER_INJECT_RATELIMIT_HEADERS": false,
		}),
	}
	oursThreeLimits = contender{
		name: "ours, three limits",
		gin: func(engine *gin.Engine, q quota) (gin.HandlerFunc, func()) {
			limiter := must(ratelimiter.New(engine, nil))
			hourly, daily := ratelimiter.WithLimit(q.limit, 60*q.per), ratelimiter.WithLimit(q.limit, 24*60*q.per)
			return limiter.RateLimit(q.limit, q.per, hourly, daily), func() { _ = limiter.Close() }
		},
	}
)

func ours(name string, algorithm backends.Algorithm) contender {
	return contender{
		name:   name,
		memory: func(q quota) opened { return oursInMemory(algorithm, q) },
		redis: func(q quota, addr string) opened {
			return oursOn(must(backends.NewRedis(map[string]any{"addr": addr})), algorithm, q)
		},
		gin: oursGin(ratelimiter.Config{"RATELIMITER_ALGORITHM": algorithm}),
	}
}

// oursInMemory asks for decisions as the middleware does, with one quota for all.
func oursInMemory(algorithm backends.Algorithm, q quota) opened {
	memory := must(backends.NewMemory(nil)).(*backends.Memory)
	limit := &backends.Quota{Key: "rate_limit:GET /" + algorithm.String(), Algorithm: algorithm, Limit: int64(q.limit), Per: q.per, Cost: 1}
	if err := limit.Prepare(); err != nil {
		panic(err)
	}
	return shared(func(key string) (bool, error) {
		var v backends.Verdict
		_, err := memory.TakeOne(limit, key, &v)
		return v.Allowed, err
	}, func() { _ = memory.Close() })
}

// oursOn asks a backend directly. The slices are used again, as the middleware
// does: they belong to the caller.
func oursOn(backend backends.Backend, algorithm backends.Algorithm, q quota) opened {
	ctx := context.Background()
	open := func() take {
		quotas := []backends.Quota{{
			Key: "rate_limit:GET /" + algorithm.String(), Algorithm: algorithm, Limit: int64(q.limit), Per: q.per, Cost: 1,
		}}
		verdicts := make([]backends.Verdict, 1)
		return func(key string) (bool, error) {
			quotas[0].Scope = key
			err := backend.Take(ctx, quotas, verdicts)
			return verdicts[0].Allowed, err
		}
	}
	return opened{open, func() { _ = backend.Close() }}
}

func oursGin(config ratelimiter.Config) func(*gin.Engine, quota) (gin.HandlerFunc, func()) {
	return func(engine *gin.Engine, q quota) (gin.HandlerFunc, func()) {
		limiter := must(ratelimiter.New(engine, config))
		return limiter.RateLimit(q.limit, q.per), func() { _ = limiter.Close() }
	}
}
