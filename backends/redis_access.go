package backends

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// startTimeout bounds how long NewRedis waits for a Redis that does not answer.
const startTimeout = time.Second

// rejections are answers that stay the same until somebody changes a configuration,
// and what to check then. An answer holds one of the texts.
var configurationErrors = []struct {
	texts  []string
	advice string
}{
	{
		[]string{
			"NOAUTH", "WRONGPASS", "NOPERM", "invalid password", "without any password configured", "no password is set", // credentials
			"can't run this command", // in a script, of a user with too few permissions
			"DB index is out of range",
		},
		"check the credentials, the permissions (see docs/redis.md for the required ones) and the database number",
	},
	{[]string{"CROSSSLOT", "MOVED", "not allowed in cluster mode"}, `the server is a node of a Cluster: set option "cluster" to true, or list the nodes in "addrs"`},
	{[]string{"cluster support disabled"}, `the server is not a node of a Cluster: remove option "cluster", and use a single address`},
	{[]string{"all sentinels specified in configuration are unreachable: redis: nil"}, `the Sentinels do not know this master: check option "master_name"`}, // words of go-redis
	{[]string{"unknown command"}, "the server does not run scripts: it may be a Sentinel, a proxy, or a Redis with EVAL and EVALSHA disabled"},
}

// rejected returns an error if Redis has answered that it will not serve this
// configuration, and nil for every other failure: a server that is down or loading
// may be ready when it is needed.
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

// greet runs the script without keys, as NewRedis does not know which will be used.
func (r *redisBackend) ping() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	return asConfigurationError(r.process(ctx, scriptCommand(ctx, "evalsha", takeScript.Hash(), nil, nil)))
}

// CheckAccess asks a backend of NewRedis to decide on a key, and returns an error
// if Redis rejects: because its user may not touch such keys or run a command that
// decisions need, or because the server is not what the options say. Nothing of it
// is left in Redis. A Redis that does not answer within the context is no error,
// and every other backend is not asked.
func CheckAccess(ctx context.Context, backend Backend, key string) error {
	r, ok := backend.(*redisBackend)
	if !ok {
		return nil
	}
	// The script takes whatever it cannot read for a value of somebody else's.
	err := r.process(ctx, redis.NewCmd(ctx, "get", redisKey(key, "probe")))
	if err != nil && !errors.Is(err, redis.Nil) {
		return asConfigurationError(err)
	}
	// Two scopes, as of requests that share a script call. Twice, as a counter that
	// exists may be changed by other commands than a new one.
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
