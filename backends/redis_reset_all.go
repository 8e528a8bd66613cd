package backends

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// scanStep is how many keys of the server one step looks at, so that no step keeps it from
// other work for long.
const scanStep = 1000

// errNoPrefix is why ResetAll rejects an empty prefix.
var errNoPrefix = errors.New("redis cannot reset all keys without a prefix, because the database may hold the keys of other applications; set RATELIMITER_KEY_PREFIX, or reset keys one by one")

// ResetAll deletes the keys that begin with the prefix, on every master of a Cluster and
// every shard of a Ring. It finds them in steps (SCAN) and frees them in the background
// (UNLINK), so that the server goes on serving others; it takes a few seconds for each
// million keys of the database. The prefix must not be empty.
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
		r.leases.forgetAll()
		defer r.leases.forgetAll() // what was charged meanwhile may be gone as well
	}
	if err := r.wait(ctx, func() error { return r.resetServers(ctx, prefix) }); err != nil {
		return fmt.Errorf("redis failed to reset everything: %w", asTimeout(err))
	}
	return nil
}

// resetServers deletes the keys on every server that has some.
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

// resetServer deletes the keys that one server has. Each is a command of its own, sent to
// where the key is now: slots of a Cluster move, and one command cannot name two.
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
		if pipeline.Len() > 0 {
			if _, err := pipeline.Exec(ctx); err != nil {
				return err
			}
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

// literal writes a text so that SCAN takes none of its characters for a pattern.
var literal = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`)

// resettingAll is called before all keys are reset, what it returns after.
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

// forgetAll drops all units in stock.
func (l *leases) forgetAll() {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		s.resets++
		clear(s.stock)
		s.mu.Unlock()
	}
}
