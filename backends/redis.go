//go:build !ratelimiter_noredis

package backends

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// redisBackend stores the counters in Redis and uses the clock of the Redis server.
type redisBackend struct {
	client redis.UniversalClient
	owned  bool // opened by NewRedis, so closed by Close
	// ignoresContext is set if the client may keep waiting after its context has ended.
	ignoresContext bool
	// cluster is the client of a Cluster. Each node has a queue of its own.
	cluster *redis.ClusterClient
	// oneKeyPerCall is set if a script call cannot reach all keys.
	oneKeyPerCall bool
	queues        sync.Map // of *queue, by the address of the node, "" if there is only one
	// denials is nil if the option local_denials is false.
	denials  *denials
	leases   *leases // nil if the option lease is 0
	notPlain notPlainKeys
	calls    sync.Pool // of *call
	closed   atomic.Bool
}

// NewRedis returns a backend that stores its counters in Redis (a single server, Sentinel
// or Cluster), so that any number of processes can share a limit. A decision is one script
// call and uses the clock of the server. The backend requires Redis 5 or later and is
// tested with Redis 7.
//
// NewRedis connects and waits at most a second. A Redis that cannot be reached is not an
// error; one that rejects the credentials or the database is. CheckAccess finds problems
// that depend on a key.
//
// All options are optional:
//
//	host, port          the server (string, default "127.0.0.1"; int, default 6379)
//	addr                "host:port", or the path of a socket (string)
//	addrs               the nodes of a Cluster or the Sentinels (list of strings, or one
//	                    string separated by commas)
//	url                 a single server, as redis://user:password@host:port/database;
//	                    rediss:// uses TLS, unix:// a socket. Other options override parts
//	                    of it. Its parameters, such as
//	                    ?client_name=shop&conn_max_lifetime=1h, are those of
//	                    redis.ParseURL, except for the ones about retries
//	master_name         the master that the Sentinels in addrs watch (string)
//	cluster             true for a Cluster with a single address
//	db                  the database number (int, default 0; a Cluster has only 0)
//	username, password  the credentials (string); a trailing line break, as from a file,
//	                    is removed
//	sentinel_username, sentinel_password
//	                    the credentials for the Sentinels (string)
//	tls                 true, or a *tls.Config
//	pool_size           the most connections to a node (int, default 10 per CPU)
//	min_idle_conns      the number of idle connections to keep (int, default 0)
//	pool_timeout, dial_timeout, read_timeout, write_timeout
//	                    a time.Duration, or a string such as "250ms". In any case,
//	                    RATELIMITER_TIMEOUT limits the time of a whole decision
//	client              an existing redis.UniversalClient of the application. It is used as
//	                    it is and never closed. It cannot be combined with the options above
//	local_denials       remember in the process until when Redis denies, and deny without
//	                    calling Redis until then (bool, default true)
//	lease               how many units of a limit to take from Redis at once and to spend in
//	                    the process, at most a tenth of the limit (int, 0 to 1000000,
//	                    default 0: none). Applies only to sliding-window and fixed-window.
//	                    It never exceeds the limit; units that a process has not spent by
//	                    the end of the window are lost
func NewRedis(options map[string]any) (Backend, error) {
	client, owned, behaviour, err := redisClient(options)
	if err != nil {
		return nil, err
	}
	r := &redisBackend{client: client, owned: owned}
	if behaviour.localDenials {
		r.denials = newDenials()
	}
	if behaviour.lease > 1 {
		r.leases = newLeases(int64(behaviour.lease))
	}
	switch client := client.(type) {
	case *redis.Client:
		r.ignoresContext = !client.Options().ContextTimeoutEnabled
	case *redis.ClusterClient:
		options := client.Options()
		r.ignoresContext = !options.ContextTimeoutEnabled || !options.DisableRoutingPolicies
		r.cluster, r.oneKeyPerCall = client, true
	default:
		r.ignoresContext, r.oneKeyPerCall = true, true
	}
	if err := r.ping(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// hasSeveralNodes tells a Breaker that one node may fail while others work.
func (r *redisBackend) hasSeveralNodes() bool { return r.oneKeyPerCall }

func (r *redisBackend) Take(ctx context.Context, quotas []Quota, verdicts []Verdict) error {
	if r.closed.Load() {
		return ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := checkAll(quotas, verdicts); err != nil {
		return err
	}
	switch len(quotas) {
	case 0:
		return nil
	case 1:
		return r.takeOne(ctx, quotas, verdicts)
	}
	if r.denials != nil && r.denials.deny(quotas, verdicts) {
		return nil
	}
	if r.oneKeyPerCall {
		return r.takeKeyByKey(ctx, quotas, verdicts)
	}
	return r.takeCall(ctx, r.pooledCall(ctx, hashSubject(quotas[0].Key, quotas[0].Scope), quotas), verdicts)
}

// takeOne is Take for a single quota.
func (r *redisBackend) takeOne(ctx context.Context, quotas []Quota, verdicts []Verdict) error {
	q := &quotas[0]
	hash := hashSubject(q.Key, q.Scope)
	if r.leases != nil && r.leases.spend(hash, q, &verdicts[0]) {
		return nil
	}
	if r.denials != nil && r.denials.denyOne(hash, q, &verdicts[0]) {
		return nil
	}
	c := r.pooledCall(ctx, hash, quotas)
	if r.leases != nil {
		r.leases.prepareCall(c)
	}
	return r.takeCall(ctx, c, verdicts)
}

func (r *redisBackend) takeCall(ctx context.Context, c *call, verdicts []Verdict) error {
	if err := r.take(ctx, c); err != nil {
		return err // c is not released: a flight may still write its answer
	}
	copy(verdicts, c.verdicts)
	r.release(c)
	return nil
}

// take sends a call in the next flight to the node of its keys, and waits for the answer.
func (r *redisBackend) take(ctx context.Context, c *call) error {
	if r.denials != nil {
		r.denials.callStarts(c)
	}
	q, err := r.queueOf(ctx, &c.quotas[0])
	if err == nil {
		err = q.wait(ctx, c)
	}
	if r.denials != nil {
		r.denials.callEnds(c, err == nil)
	}
	if err == nil && c.leased > 0 {
		r.leases.store(c)
	}
	if err != nil {
		return fmt.Errorf("redis failed to decide: %w", asTimeout(err))
	}
	return nil
}

// queueOf returns the queue of the node that stores a quota.
func (r *redisBackend) queueOf(ctx context.Context, q *Quota) (*queue, error) {
	node := ""
	if r.cluster != nil {
		var err error
		if node, err = r.nodeOf(ctx, redisKey(q.Key, q.Scope)); err != nil {
			return nil, err
		}
	}
	if known, ok := r.queues.Load(node); ok {
		return known.(*queue), nil
	}
	made, _ := r.queues.LoadOrStore(node, newQueue(r.send, r.ignoresContext))
	return made.(*queue), nil
}

// nodeOf returns the address of the master that stores a key. Only the first call needs a
// round trip.
func (r *redisBackend) nodeOf(ctx context.Context, key string) (addr string, err error) {
	err = r.wait(ctx, func() error {
		node, err := r.cluster.MasterForKey(ctx, key)
		if err == nil {
			addr = node.Options().Addr
		}
		return err
	})
	return addr, err
}

// asTimeout lets a timeout of a connection match context.DeadlineExceeded.
func asTimeout(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
	}
	return err
}

// scriptCommand returns a command that runs a script without deciding anything.
func scriptCommand(ctx context.Context, command, script string, keys []string, args []any) noRetryCmd {
	words := make([]any, 0, 3+len(keys)+len(args))
	words = append(words, command, script, len(keys))
	for _, key := range keys {
		words = append(words, key)
	}
	return noRetryCmd{redis.NewStringCmd(ctx, append(words, args...)...)}
}

// process sends a command and waits for its answer or the end of the context.
func (r *redisBackend) process(ctx context.Context, command redis.Cmder) error {
	return r.wait(ctx, func() error { return r.client.Process(ctx, command) })
}

// wait calls do. If the client ignores contexts, it returns when the context ends, even if
// do has not returned.
func (r *redisBackend) wait(ctx context.Context, do func() error) error {
	if !r.ignoresContext || ctx.Done() == nil {
		return do()
	}
	done := make(chan error, 1)
	go func() { done <- do() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *redisBackend) Reset(ctx context.Context, key, scope string) error {
	if r.closed.Load() {
		return ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if r.denials != nil {
		defer r.denials.beginReset(key, scope)()
	}
	if r.leases != nil {
		r.leases.drop(key, scope)
		defer r.leases.drop(key, scope) // charges made in the meantime are gone as well
	}
	if err := r.process(ctx, redis.NewCmd(ctx, "del", redisKey(key, scope))); err != nil {
		return fmt.Errorf("redis failed to reset: %w", asTimeout(err))
	}
	return nil
}

// Close implements Backend. It refunds leased units that were not spent, if Redis is
// available.
func (r *redisBackend) Close() error {
	if r.closed.Swap(true) {
		return nil
	}
	if r.leases != nil {
		r.refundLeases()
	}
	r.queues.Range(func(_, q any) bool {
		close(q.(*queue).closed)
		return true
	})
	if !r.owned {
		return nil
	}
	return r.client.Close()
}

func (r *redisBackend) refundLeases() {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for part := range slices.Chunk(r.leases.unspent(), maxBatch) {
		calls := make([]*call, len(part))
		for i := range part {
			calls[i] = newCall(ctx, part[i:i+1], false)
		}
		_ = r.wait(ctx, func() error { r.send(ctx, calls); return nil }) // if this fails, the units are lost
		if ctx.Err() != nil {
			return
		}
	}
}
