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

// redisBackend keeps the counters in Redis, on the clock of the Redis server.
type redisBackend struct {
	client redis.UniversalClient
	owned  bool // opened here, so closed here
	// patient is set if the client does not give up when a context does.
	ignoresContext bool
	// cluster is the client of a Cluster, of which each node has a queue.
	cluster *redis.ClusterClient
	// spread is set where one script call cannot reach every key.
	oneKeyPerCall bool
	queues        sync.Map // of *queue, by the address of a node, "" where it is not known
	// denials is nil where the option local_denials is false.
	denials  *denials
	leases   *leases // nil where the option lease is 0
	notPlain notPlainKeys
	calls    sync.Pool // of *call
	closed   atomic.Bool
}

// NewRedis makes the backend that keeps its counters in Redis (one server,
// Sentinel or Cluster), so that any number of processes share a limit. A decision
// is one script call, on the clock of the server. It uses nothing newer than
// Redis 5, and is tested on Redis 7.
//
// NewRedis connects, and waits a second at most. A Redis that cannot be reached is
// no error; one that rejects the credentials or the database is. See CheckAccess
// for what can only be found out with a key.
//
// Options, all of them optional:
//
//	host, port          the server (string, default "127.0.0.1"; int, default 6379)
//	addr                the same as one text, "host:port", or the path of a socket
//	addrs               several: the nodes of a Cluster, or the Sentinels (list of texts, or one with commas)
//	url                 redis://user:password@host:port/database of one server; rediss:// for
//	                    TLS, unix:// for a socket. Options given beside it come first. Its
//	                    parameters, such as ?client_name=shop&conn_max_lifetime=1h, are those of
//	                    redis.ParseURL, without those for retries
//	master_name         the master that Sentinel watches; addrs are then the Sentinels
//	cluster             true for a Cluster of which only one address is given
//	db                  number of the database (int, default 0; a Cluster has only 0)
//	username, password  credentials (string); a line break at the end, as of a file, is removed
//	sentinel_username, sentinel_password
//	                    those for the Sentinels (string)
//	tls                 true, or a *tls.Config
//	pool_size           most connections to a node (int, default ten for each CPU)
//	min_idle_conns      connections kept ready (int, default 0)
//	pool_timeout, dial_timeout, read_timeout, write_timeout
//	                    time.Duration, or a text such as "250ms"; the time of a whole
//	                    decision is bounded by RATELIMITER_TIMEOUT in any case
//	client              a redis.UniversalClient that the application has already; it is
//	                    used as it is and never closed here, and excludes the options above
//	local_denials       remember in the process what Redis has denied, and until when, and
//	                    deny it without asking again (bool, default true)
//	lease               how many units of a limit to take at once and spend without asking
//	                    (int, 0 to 1000000, default 0: none), but a tenth of the limit at most;
//	                    sliding-window and fixed-window only. The limit is never exceeded by it;
//	                    what a process has not spent by the end of the window is lost
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
		if closing := r.Close(); closing != nil {
			err = errors.Join(err, closing)
		}
		return nil, err
	}
	return r, nil
}

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

// takeOne is Take for one quota.
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
		return err // the answer may still come, and is not ours to read
	}
	copy(verdicts, c.verdicts)
	r.release(c)
	return nil
}

// take lets a call go with the next flight to where its keys are.
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

// queueOf finds the queue of the node that a quota is kept on.
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

// nodeOf is the address of the master that has a key. The client knows it, but
// for the very first time.
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

// inTime makes a connection's time-out the same as that of the context it comes
// from.
func asTimeout(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
	}
	return err
}

// scriptCommand runs a script that decides nothing.
func scriptCommand(ctx context.Context, command, script string, keys []string, args []any) noRetryCmd {
	words := make([]any, 0, 3+len(keys)+len(args))
	words = append(words, command, script, len(keys))
	for _, key := range keys {
		words = append(words, key)
	}
	return noRetryCmd{redis.NewStringCmd(ctx, append(words, args...)...)}
}

// process sends one command and waits for its answer, or for the context.
func (r *redisBackend) process(ctx context.Context, command redis.Cmder) error {
	return r.wait(ctx, func() error { return r.client.Process(ctx, command) })
}

// wait waits for what the client does, or for the context, where the client does
// not heed that.
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
		r.leases.forget(key, scope)
		defer r.leases.forget(key, scope) // what was charged meanwhile is gone as well
	}
	if err := r.process(ctx, redis.NewCmd(ctx, "del", redisKey(key, scope))); err != nil {
		return fmt.Errorf("redis failed to reset: %w", asTimeout(err))
	}
	return nil
}

// Close gives back what was leased and not spent, as far as Redis is there.
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
		_ = r.wait(ctx, func() error { r.send(ctx, calls); return nil }) // or the units are lost
		if ctx.Err() != nil {
			return
		}
	}
}
