package backends

import (
	"context"
	_ "embed" // for the script
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed scripts/take.lua
var takeSource string

// takeScript decides. It is only asked for its digest: how it is run is below.
var takeScript = redis.NewScript(takeSource)

// redisBackend keeps the counters in Redis, on the clock of the Redis server.
type redisBackend struct {
	client redis.UniversalClient
	owned  bool // opened here, so closed here
	// spread is set where one script call cannot reach every key.
	spread bool
	// patient is set where the client does not give up when a context does.
	patient bool
	closed  atomic.Bool
}

// NewRedis makes the backend that keeps its counters in Redis (one server,
// Sentinel or Cluster), so that any number of processes share a limit. It uses
// nothing newer than Redis 5; its tests run on Redis 7.
// A decision is one script call on the server's clock. A Redis that cannot be
// reached is no error here, one that refuses the credentials is.
//
// Options, all of them optional:
//
//	host, port          the server (string, default "127.0.0.1"; int, default 6379)
//	addr                the same as one text, "host:port"
//	addrs               several: the nodes of a Cluster, or the Sentinels (list of texts, or one with commas)
//	url                 redis://, rediss:// or unix:// with user, password and database
//	master_name         the master that Sentinel watches; addrs are then the Sentinels
//	cluster             true for a Cluster of which only one address is given
//	db                  number of the database (int, default 0; a Cluster has only 0)
//	username, password  credentials (string)
//	sentinel_username, sentinel_password
//	tls                 true, or a *tls.Config
//	pool_size           most connections to a node (int, default ten for each CPU)
//	min_idle_conns      connections kept ready (int, default 0)
//	pool_timeout, dial_timeout, read_timeout, write_timeout
//	                    time.Duration, or a text such as "250ms"; the time of a whole
//	                    decision is bounded by RATELIMITER_TIMEOUT in any case
//	client              a redis.UniversalClient that the application has already; it is
//	                    used as it is and never closed here, and excludes all other options
func NewRedis(options map[string]any) (Backend, error) {
	client, owned, err := redisClient(options)
	if err != nil {
		return nil, err
	}
	r := &redisBackend{client: client, owned: owned}
	switch client := client.(type) {
	case *redis.Client:
		r.patient = !client.Options().ContextTimeoutEnabled
	case *redis.ClusterClient:
		r.patient = !client.Options().ContextTimeoutEnabled
		r.spread = true
	default:
		r.patient, r.spread = true, true
	}
	if err := r.greet(); err != nil {
		if closing := r.Close(); closing != nil {
			err = errors.Join(err, closing)
		}
		return nil, err
	}
	return r, nil
}

// startTimeout bounds how long a start waits for a Redis that does not answer.
const startTimeout = time.Second

// greet runs the script on nothing. Only an answer that refuses us is an error:
// a server that is down, or still loading, may be there when it is needed.
func (r *redisBackend) greet() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	_, err := r.run(ctx, nil, []any{charging})
	for _, refusal := range []string{"NOAUTH", "WRONGPASS", "NOPERM", "AUTH", "invalid password", "DB index"} {
		if redis.HasErrorPrefix(err, refusal) {
			return fmt.Errorf("redis refuses to serve the rate limiter, check its credentials, permissions and database number: %w", err)
		}
	}
	return nil
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
	if r.spread {
		return r.takeSpread(ctx, quotas, verdicts)
	}
	return r.take(ctx, charging, quotas, verdicts)
}

// What a script call does with its decision.
const (
	charging = 0
	trying   = 1
)

// take is one script call.
func (r *redisBackend) take(ctx context.Context, mode int, quotas []Quota, verdicts []Verdict) error {
	keys, args := takeArguments(mode, quotas)
	answers, err := r.run(ctx, keys, args)
	if err != nil {
		return fmt.Errorf("redis did not decide: %w", inTime(err))
	}
	if len(answers) != 4*len(quotas) {
		return fmt.Errorf("redis answered %d numbers for %d quotas, not 4 for each", len(answers), len(quotas))
	}
	for i := range quotas {
		answer := answers[4*i:]
		verdicts[i] = Verdict{
			Allowed:    answer[0] == 1,
			Remaining:  answer[1],
			ResetAfter: time.Duration(answer[2]) * time.Microsecond,
			RetryAfter: time.Duration(answer[3]) * time.Microsecond,
		}
	}
	return nil
}

// inTime makes a connection's time-out the same as that of the context it comes
// from.
func inTime(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
	}
	return err
}

// takeArguments puts quotas into the form that take.lua reads.
func takeArguments(mode int, quotas []Quota) (keys []string, args []any) {
	keys = make([]string, 0, len(quotas))
	args = make([]any, 1, 1+7*len(quotas))
	args[0] = mode
	for i := range quotas {
		q := &quotas[i]
		key := redisKey(q.Key, q.Scope)
		at := 0
		for at < len(keys) && keys[at] != key {
			at++
		}
		if at == len(keys) {
			keys = append(keys, key)
		}
		forced := 0
		if q.Forced {
			forced = 1
		}
		args = append(args, at+1, idOf(q).name(), q.Limit, q.micros(), q.Burst, q.Cost, forced)
	}
	return keys, args
}

// redisKey joins key and scope. The length at the end keeps pairs apart whose
// joined texts are the same, as ("a:b", "c") and ("a", "b:c").
func redisKey(key, scope string) string {
	return key + ":" + scope + ":" + strconv.Itoa(len(key))
}

// takeSpread charges keys that may live on different nodes, one call for each
// key in order. When a later one denies, the earlier ones are given back and
// the rest are only asked what they would say.
func (r *redisBackend) takeSpread(ctx context.Context, quotas []Quota, verdicts []Verdict) error {
	subjects := subjectsOf(quotas)
	if len(subjects) == 1 {
		return r.take(ctx, charging, quotas, verdicts)
	}
	mode := charging
	for n, members := range subjects {
		part := pick(quotas, members)
		answers := make([]Verdict, len(part))
		if err := r.take(ctx, mode, part, answers); err != nil {
			return errors.Join(err, r.giveBack(quotas, verdicts, subjects[:n], mode))
		}
		for i, member := range members {
			verdicts[member] = answers[i]
		}
		if mode == charging && denied(part, answers) {
			mode = trying
			if err := r.giveBack(quotas, verdicts, subjects[:n], charging); err != nil {
				return err
			}
		}
	}
	return nil
}

// giveBack refunds what the quotas of some subjects have taken, and writes what
// remains then. It does not use the context of the request, which may be over.
func (r *redisBackend) giveBack(quotas []Quota, verdicts []Verdict, subjects [][]int, mode int) error {
	if mode != charging {
		return nil // given back already
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	var failed error
	for _, members := range subjects {
		charged := slices.DeleteFunc(slices.Clone(members), func(member int) bool {
			return !verdicts[member].Allowed || quotas[member].Cost == 0
		})
		if len(charged) == 0 {
			continue
		}
		part := pick(quotas, charged)
		for i := range part {
			part[i].Cost = -part[i].Cost
		}
		answers := make([]Verdict, len(part))
		if err := r.take(ctx, charging, part, answers); err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		for i, member := range charged {
			verdicts[member].left(answers[i])
		}
	}
	return failed
}

// subjectsOf groups the indices of quotas by key and scope, in order.
func subjectsOf(quotas []Quota) [][]int {
	var groups [][]int
next:
	for i := range quotas {
		for g, group := range groups {
			first := &quotas[group[0]]
			if first.Key == quotas[i].Key && first.Scope == quotas[i].Scope {
				groups[g] = append(group, i)
				continue next
			}
		}
		groups = append(groups, []int{i})
	}
	return groups
}

func pick(quotas []Quota, members []int) []Quota {
	part := make([]Quota, len(members))
	for i, member := range members {
		part[i] = quotas[member]
	}
	return part
}

func denied(quotas []Quota, verdicts []Verdict) bool {
	for i := range quotas {
		if !verdicts[i].Allowed && !quotas[i].Shadow {
			return true
		}
	}
	return false
}

// once is a command that the client must not send again by itself: a decision
// whose answer was lost may have been made, and would be charged twice.
type once struct{ *redis.Cmd }

func (once) NoRetry() bool { return true }

// run calls the script by its digest, and by its text where the server does not
// know it yet: it answered NOSCRIPT then, and has decided nothing.
func (r *redisBackend) run(ctx context.Context, keys []string, args []any) ([]int64, error) {
	answers, err := r.call(ctx, "evalsha", takeScript.Hash(), keys, args)
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		answers, err = r.call(ctx, "eval", takeSource, keys, args)
	}
	return answers, err
}

func (r *redisBackend) call(ctx context.Context, command, script string, keys []string, args []any) ([]int64, error) {
	words := make([]any, 0, 3+len(keys)+len(args))
	words = append(words, command, script, len(keys))
	for _, key := range keys {
		words = append(words, key)
	}
	cmd := redis.NewCmd(ctx, append(words, args...)...)
	if err := r.process(ctx, cmd); err != nil {
		return nil, err
	}
	return cmd.Int64Slice()
}

// process sends one command and waits for its answer, or for the context.
func (r *redisBackend) process(ctx context.Context, cmd *redis.Cmd) error {
	if !r.patient || ctx.Done() == nil {
		return r.client.Process(ctx, once{cmd})
	}
	done := make(chan error, 1)
	go func() { done <- r.client.Process(ctx, once{cmd}) }()
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
	if err := r.process(ctx, redis.NewCmd(ctx, "del", redisKey(key, scope))); err != nil {
		return fmt.Errorf("redis did not reset: %w", inTime(err))
	}
	return nil
}

func (r *redisBackend) Close() error {
	if r.closed.Swap(true) || !r.owned {
		return nil
	}
	return r.client.Close()
}
