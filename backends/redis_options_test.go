package backends

import (
	"context"
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func TestOptionsOfRedisReachTheClient(t *testing.T) {
	config := &tls.Config{ServerName: "redis.example", MinVersion: tls.VersionTLS13}
	for name, test := range map[string]struct {
		options map[string]any
		look    func(t *testing.T, o *redis.UniversalOptions)
	}{
		"none": {nil, func(t *testing.T, o *redis.UniversalOptions) {
			require.Equal(t, []string{"127.0.0.1:6379"}, o.Addrs)
			require.Equal(t, -1, o.MaxRetries, "decisions are not retried")
			require.True(t, o.ContextTimeoutEnabled)
		}},
		"host and port": {map[string]any{"host": "::1", "port": 7000}, func(t *testing.T, o *redis.UniversalOptions) {
			require.Equal(t, []string{"[::1]:7000"}, o.Addrs)
		}},
		"from JSON": {map[string]any{"host": "redis.example", "port": 7000.0, "db": 3.0, "addrs": nil}, func(t *testing.T, o *redis.UniversalOptions) {
			require.Equal(t, []string{"redis.example:7000"}, o.Addrs)
			require.Equal(t, 3, o.DB)
		}},
		"addr":                  {map[string]any{"addr": "h:1"}, addrs("h:1")},
		"addr of the last port": {map[string]any{"addr": "h:65535"}, addrs("h:65535")},
		"url of the last port":  {map[string]any{"url": "redis://h:65535"}, addrs("h:65535")},
		"addr from a file":      {map[string]any{"addr": "h:1\n"}, addrs("h:1")},
		"host from a file":      {map[string]any{"host": "h\n"}, addrs("h:6379")},
		"a socket":              {map[string]any{"addr": "/run/redis.sock"}, addrs("/run/redis.sock")},
		"addrs":                 {map[string]any{"addrs": []string{"h:1", "i:2"}}, addrs("h:1", "i:2")},
		"addrs from JSON":       {map[string]any{"addrs": []any{"h:1", "i:2"}}, addrs("h:1", "i:2")},
		"addrs with commas":     {map[string]any{"addrs": "h:1, i:2"}, addrs("h:1", "i:2")},
		"sentinel": {map[string]any{"master_name": "m", "sentinel_username": "u", "sentinel_password": "p"}, func(t *testing.T, o *redis.UniversalOptions) {
			require.Equal(t, []string{"127.0.0.1:26379"}, o.Addrs)
			require.Equal(t, []string{"m", "u", "p"}, []string{o.MasterName, o.SentinelUsername, o.SentinelPassword})
		}},
		"cluster": {map[string]any{"cluster": true}, func(t *testing.T, o *redis.UniversalOptions) { require.True(t, o.IsClusterMode) }},
		"credentials": {map[string]any{"username": "u", "password": "p"}, func(t *testing.T, o *redis.UniversalOptions) {
			require.Equal(t, []string{"u", "p"}, []string{o.Username, o.Password})
		}},
		"credentials from files": {map[string]any{"username": "u\n", "password": " p \r\n"}, func(t *testing.T, o *redis.UniversalOptions) {
			require.Equal(t, []string{"u", " p "}, []string{o.Username, o.Password})
		}},
		"url": {map[string]any{"url": "rediss://u:p@h:1/2?pool_size=7", "db": 4}, func(t *testing.T, o *redis.UniversalOptions) {
			addrs("h:1")(t, o)
			require.Equal(t, []string{"u", "p"}, []string{o.Username, o.Password})
			require.Equal(t, []int{4, 7}, []int{o.DB, o.PoolSize}, "an option refines the URL")
			require.NotNil(t, o.TLSConfig)
		}},
		"url of a socket": {map[string]any{"url": "unix:///run/redis.sock"}, addrs("/run/redis.sock")},
		"tls":             {map[string]any{"tls": true}, func(t *testing.T, o *redis.UniversalOptions) { require.NotNil(t, o.TLSConfig) }},
		"no tls":          {map[string]any{"tls": false}, func(t *testing.T, o *redis.UniversalOptions) { require.Nil(t, o.TLSConfig) }},
		"tls configured":  {map[string]any{"tls": config}, func(t *testing.T, o *redis.UniversalOptions) { require.Same(t, config, o.TLSConfig) }},
		"pool and times": {
			map[string]any{"pool_size": 5, "min_idle_conns": 2, "pool_timeout": "1s", "dial_timeout": 2 * time.Second, "read_timeout": "3s", "write_timeout": "4s"},
			func(t *testing.T, o *redis.UniversalOptions) {
				require.Equal(t, []int{5, 2}, []int{o.PoolSize, o.MinIdleConns})
				require.Equal(t, []time.Duration{time.Second, 2 * time.Second, 3 * time.Second, 4 * time.Second},
					[]time.Duration{o.PoolTimeout, o.DialTimeout, o.ReadTimeout, o.WriteTimeout})
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			settings, _, err := redisSettings(test.options)
			require.NoError(t, err)
			test.look(t, settings)
		})
	}
}

func addrs(want ...string) func(*testing.T, *redis.UniversalOptions) {
	return func(t *testing.T, o *redis.UniversalOptions) { require.Equal(t, want, o.Addrs) }
}

func TestWrongOptionsOfRedisAreRejected(t *testing.T) {
	var none *redis.Client
	for name, test := range map[string]struct {
		options map[string]any
		says    []string
	}{
		"a typo":                  {map[string]any{"prot": 1}, []string{`"prot"`, `did you mean "port"?`}},
		"unknown":                 {map[string]any{"colour": 1}, []string{`"colour"`, "client", "min_idle_conns"}},
		"port as text":            {map[string]any{"port": "6379"}, []string{`"port"`, `"6379" (string)`, "1 to 65535"}},
		"port too high":           {map[string]any{"port": 65536}, []string{`"port"`, "65536", "1 to 65535"}},
		"port of a half":          {map[string]any{"port": 1.5}, []string{`"port"`, "1.5"}},
		"host as number":          {map[string]any{"host": 1}, []string{`"host"`, "a string"}},
		"addr without port":       {map[string]any{"addr": "redis"}, []string{`"addr"`, `"redis"`, "redis.example:6379"}},
		"addr of an odd port":     {map[string]any{"addr": "h:redis"}, []string{`"addr"`, `"h:redis"`, "1 to 65535"}},
		"addr of a port too high": {map[string]any{"addr": "h:65536"}, []string{`"addr"`, `"h:65536"`, "1 to 65535"}},
		"addr of port 0":          {map[string]any{"addr": "h:0"}, []string{`"addr"`, `"h:0"`, "1 to 65535"}},
		"two addresses in addr":   {map[string]any{"addr": "h:1 i:2"}, []string{`"addr"`, `"h:1 i:2"`, "white space"}},
		"an empty addr":           {map[string]any{"addr": ""}, []string{`"addr"`, "not empty"}},
		"an empty host":           {map[string]any{"host": ""}, []string{`"host"`, "not empty"}},
		"an empty url":            {map[string]any{"url": ""}, []string{`"url"`, "empty"}},
		"an empty master":         {map[string]any{"master_name": "", "addrs": "h:1"}, []string{`"master_name"`, "not empty"}},
		"addrs of odd ports":      {map[string]any{"addrs": []string{"h:1", "i:x"}}, []string{`"addrs"`, `"i:x"`, "1 to 65535"}},
		"addrs without port":      {map[string]any{"addrs": []string{"h:1", "i"}}, []string{`"addrs"`, `"i"`}},
		"an empty entry in addrs": {map[string]any{"addrs": "h:1,,i:2"}, []string{`"addrs"`, "none of them empty"}},
		"addrs of numbers":        {map[string]any{"addrs": []any{1}}, []string{`"addrs"`}},
		"host and addr":           {map[string]any{"addr": "h:1", "port": 1}, []string{"set the address of Redis"}},
		"url and addr":            {map[string]any{"url": "redis://h:1", "addr": "h:1"}, []string{"set the address of Redis"}},
		"an invalid url":          {map[string]any{"url": "http://u:s3cret@h"}, []string{`"url"`, "redis://user:password@host"}},
		"negative db":             {map[string]any{"db": -1}, []string{`"db"`, "-1"}},
		"password as number":      {map[string]any{"password": 271828}, []string{`"password"`, "not shown"}},
		"tls as text":             {map[string]any{"tls": "yes"}, []string{`"tls"`, "*tls.Config"}},
		"tls contradicts the url": {map[string]any{"tls": false, "url": "rediss://h:1"}, []string{`"tls"`, "redis://"}},
		"cluster as text":         {map[string]any{"cluster": "yes"}, []string{`"cluster"`, "true or false"}},
		"master and cluster":      {map[string]any{"cluster": true, "master_name": "m"}, []string{"cannot be combined"}},
		"a negative time-out":     {map[string]any{"read_timeout": -time.Second}, []string{`"read_timeout"`, "250ms"}},
		"a time-out as number":    {map[string]any{"read_timeout": 3}, []string{`"read_timeout"`, "250ms"}},
		"an empty pool":           {map[string]any{"pool_size": 0}, []string{`"pool_size"`, "from 1"}},
		"a wrong client":          {map[string]any{"client": "redis"}, []string{`"client"`, "string", "redis.UniversalClient"}},
		"no client":               {map[string]any{"client": nil}, []string{`"client"`, "redis.UniversalClient"}},
		"a nil client":            {map[string]any{"client": none}, []string{`"client"`, "redis.UniversalClient"}},
		"a client and an address": {map[string]any{"client": none, "db": 1}, []string{`"client"`, "cannot be combined"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := NewRedis(test.options)
			require.Error(t, err)
			require.Equal(t, err, CheckRedisOptions(test.options))
			for _, part := range test.says {
				require.ErrorContains(t, err, part)
			}
			require.NotContains(t, err.Error(), "s3cret")
			require.NotContains(t, err.Error(), "271828")
		})
	}
}

func TestCheckRedisOptionsDoesNotConnect(t *testing.T) {
	dialled := func(context.Context, string, string) (net.Conn, error) {
		t.Error("it has connected")
		return nil, net.ErrClosed
	}
	client := redis.NewClient(&redis.Options{Dialer: dialled})
	defer client.Close()
	require.NoError(t, CheckRedisOptions(map[string]any{"client": client, "lease": 5}))
	require.ErrorContains(t, CheckRedisOptions(map[string]any{"client": client, "lease": -5}), `"lease"`)
	require.NoError(t, CheckRedisOptions(map[string]any{"addr": "redis.invalid:6379", "min_idle_conns": 5}))
	require.NoError(t, CheckRedisOptions(nil))
}

func TestTheOptionsSelectTheKindOfClient(t *testing.T) {
	for name, test := range map[string]struct {
		options map[string]any
		cluster bool
	}{
		"one address":                {map[string]any{"addr": "h:1"}, false},
		"one address in addrs":       {map[string]any{"addrs": "h:1"}, false},
		"several addresses":          {map[string]any{"addrs": "h:1,i:2"}, true},
		"a node of a Cluster":        {map[string]any{"addr": "h:1", "cluster": true}, true},
		"a Sentinel":                 {map[string]any{"addrs": "h:1", "master_name": "m"}, false},
		"several Sentinels":          {map[string]any{"addrs": "h:1,i:2", "master_name": "m"}, false},
		"one Sentinel at an address": {map[string]any{"addr": "h:1", "master_name": "m"}, false},
	} {
		settings, _, err := redisSettings(test.options)
		require.NoError(t, err)
		client := openClient(settings)
		cluster, isCluster := client.(*redis.ClusterClient)
		require.Equal(t, test.cluster, isCluster, name)
		if isCluster {
			require.True(t, cluster.Options().DisableRoutingPolicies, "a node that hangs must not block it")
		}
		require.NoError(t, client.Close())
	}
}
