package bench

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// plainLoop is the floor that others are compared with.
const plainLoop = "floor: plain EVALSHA"

// floors limit nobody. They show what a round trip costs with go-redis.
func floors() []contender {
	return []contender{
		{name: "floor: bare INCR", redis: func(_ quota, addr string) opened {
			return floor(addr, func(ctx context.Context, client *redis.Client, key string) error {
				return client.Incr(ctx, key).Err()
			})
		}},
		{name: plainLoop, redis: func(q quota, addr string) opened {
			script := redis.NewScript(`
				local n = redis.call('INCRBY', KEYS[1], 1)
				if n == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
				return n`)
			return floor(addr, func(ctx context.Context, client *redis.Client, key string) error {
				return script.Run(ctx, client, []string{key}, q.per.Milliseconds()).Err()
			})
		}},
	}
}

func floor(addr string, call func(context.Context, *redis.Client, string) error) opened {
	client := redis.NewClient(&redis.Options{Addr: addr})
	ctx := context.Background()
	return shared(func(key string) (bool, error) {
		err := call(ctx, client, "floor:"+key)
		return err == nil, err
	}, func() { _ = client.Close() })
}
