//go:build !ratelimiter_noredis

package backends

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// scanStep is how many keys one SCAN visits, so that it does not block the server for long.
const scanStep = 1000

// errNoPrefix is the error for an empty prefix.
var errNoPrefix = errors.New("redis cannot reset all keys without a prefix, because the database may hold the keys of other applications; set RATELIMITER_KEY_PREFIX, or reset keys one by one")

// ResetAll implements AllResetter. It deletes the keys that begin with the prefix on every
// master of a Cluster and every shard of a Ring. It finds them step by step (SCAN) and
// frees them in the background (UNLINK), so that the server stays responsive. It takes a
// few seconds per million keys in the database. The prefix must not be empty.
func (r *redisBackend) ResetAll(ctx context.Context, prefix string) error {
	switch {
	case r.closed.Load():
		return ErrClosed
	case prefix == "":
		return errNoPrefix
	}
	if r.denials != nil {
		defer r.denials.beginResetAll()()
	}
	if r.leases != nil {
		r.leases.dropAll()
		defer r.leases.dropAll() // charges made in the meantime may be gone as well
	}
	if err := r.wait(ctx, func() error { return r.resetServers(ctx, prefix) }); err != nil {
		return fmt.Errorf("redis failed to reset everything: %w", asTimeout(err))
	}
	return nil
}

// resetServers deletes the keys on every server.
func (r *redisBackend) resetServers(ctx context.Context, prefix string) error {
	each := func(ctx context.Context, server *redis.Client) error { return r.resetServer(ctx, server, prefix) }
	switch client := r.client.(type) {
	case *redis.ClusterClient:
		return client.ForEachMaster(ctx, each)
	case *redis.Ring:
		return client.ForEachShard(ctx, each)
	}
	return r.resetServer(ctx, r.client, prefix)
}

// resetServer deletes the keys of one server, with a command for each key: slots of a
// Cluster may move, and a command cannot name keys of different slots.
func (r *redisBackend) resetServer(ctx context.Context, server redis.Cmdable, prefix string) error {
	cursor := uint64(0)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		found, next, err := server.Scan(ctx, cursor, literal.Replace(prefix)+"*", scanStep).Result()
		if err != nil {
			return err
		}
		pipeline := r.client.Pipeline()
		for _, key := range found {
			if strings.HasPrefix(key, prefix) {
				pipeline.Unlink(ctx, key)
			}
		}
		if _, err := pipeline.Exec(ctx); err != nil {
			return err
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

// literal escapes the special characters of SCAN patterns.
var literal = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`)

// beginResetAll must be called before all keys are reset, and done afterwards.
func (d *denials) beginResetAll() (done func()) {
	d.eachShard(func(s *denialShard) {
		for i := range s.events {
			s.events[i].pendingRefunds++
		}
	})
	return func() {
		d.eachShard(func(s *denialShard) {
			for i := range s.events {
				s.events[i].pendingRefunds--
				s.events[i].changes++
			}
			clear(s.denied)
		})
	}
}

func (d *denials) eachShard(do func(s *denialShard)) {
	for i := range d.shards {
		s := &d.shards[i]
		s.mu.Lock()
		do(s)
		s.mu.Unlock()
	}
}

// dropAll removes all units in stock.
func (l *leases) dropAll() {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		s.resets++
		clear(s.stock)
		s.mu.Unlock()
	}
}
