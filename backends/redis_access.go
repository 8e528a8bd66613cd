//go:build !ratelimiter_noredis

package backends

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// startTimeout is how long NewRedis waits for a Redis that does not answer.
const startTimeout = time.Second

// configurationErrors are texts in errors of Redis that persist until the configuration
// changes, and what to check then.
var configurationErrors = []struct {
	texts  []string
	advice string
}{
	{
		[]string{
			"NOAUTH", "WRONGPASS", "NOPERM", "invalid password", "without any password configured", "no password is set", // credentials
			"can't run this command", // a script of a user without the permission
			"DB index is out of range",
		},
		"check the credentials, the permissions (see docs/redis.md for the required ones) and the database number",
	},
	{[]string{"CROSSSLOT", "MOVED", "not allowed in cluster mode"}, `the server is a node of a Cluster: set option "cluster" to true, or list the nodes in "addrs"`},
	{[]string{"cluster support disabled"}, `the server is not a node of a Cluster: remove option "cluster", and use a single address`},
	{[]string{"all sentinels specified in configuration are unreachable: redis: nil"}, `the Sentinels do not know this master: check option "master_name"`}, // text of go-redis
	{[]string{"unknown command"}, "the server does not run scripts: it may be a Sentinel, a proxy, or a Redis with EVAL and EVALSHA disabled"},
}

// asConfigurationError returns an error if failure means that Redis rejects this
// configuration, and nil otherwise: a server that is down or loading may be available when
// it is needed.
func asConfigurationError(failure error) error {
	if failure == nil {
		return nil
	}
	for _, rejection := range configurationErrors {
		for _, text := range rejection.texts {
			if strings.Contains(failure.Error(), text) {
				return fmt.Errorf("redis rejects the rate limiter; %s: %w", rejection.advice, failure)
			}
		}
	}
	return nil
}

// ping runs the script without keys, because NewRedis does not know which keys will be
// used.
func (r *redisBackend) ping() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	return asConfigurationError(r.process(ctx, scriptCommand(ctx, "evalsha", takeScript.Hash(), nil, nil)))
}

// CheckAccess makes a test decision on key and returns an error if Redis rejects it:
// because the user lacks permission for such keys or for a command that decisions use, or
// because the server does not match the options. It leaves nothing behind in Redis. It
// returns nil if Redis does not answer before the context ends, and for any backend not
// created by NewRedis.
func CheckAccess(ctx context.Context, backend Backend, key string) error {
	r, ok := backend.(*redisBackend)
	if !ok {
		return nil
	}
	// The script reports any value that it cannot read as foreign, so permission errors
	// need a GET.
	err := r.process(ctx, redis.NewCmd(ctx, "get", redisKey(key, "probe")))
	if err != nil && !errors.Is(err, redis.Nil) {
		return asConfigurationError(err)
	}
	// Two scopes, because requests share script calls; twice, because updating a counter
	// may use other commands than creating it.
	quotas := make([]Quota, 2)
	for i, scope := range []string{"probe", "start"} {
		quotas[i] = Quota{Key: key, Scope: scope, Algorithm: FixedWindow, Limit: MaxLimit, Per: time.Second, Cost: 1, Forced: true}
	}
	for range 2 {
		if err := r.Take(ctx, quotas, make([]Verdict, len(quotas))); err != nil {
			return asConfigurationError(err)
		}
	}
	for _, q := range quotas {
		if err := r.Reset(ctx, q.Key, q.Scope); err != nil {
			return asConfigurationError(err)
		}
	}
	return nil
}
