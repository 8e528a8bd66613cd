package ratelimiter_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func TestAnInvalidConfigurationIsRejectedWithACorrection(t *testing.T) {
	for name, test := range map[string]struct {
		config ratelimiter.Config
		says   []string
	}{
		"unknown key":           {ratelimiter.Config{"RATELIMITER_BACKND": "redis"}, []string{"RATELIMITER_BACKND", `"RATELIMITER_BACKEND"`}},
		"unrelated key":         {ratelimiter.Config{"RATELIMITER_COLOUR": "red"}, []string{"RATELIMITER_COLOUR", "RATELIMITER_TIMEOUT"}},
		"unknown backend":       {ratelimiter.Config{"RATELIMITER_BACKEND": "radis"}, []string{`"radis"`, `did you mean "redis"?`, "memory"}},
		"backend of wrong type": {ratelimiter.Config{"RATELIMITER_BACKEND": 7}, []string{"RATELIMITER_BACKEND", "int", "memory"}},
		"options of a passed backend": {ratelimiter.Config{"RATELIMITER_BACKEND": broken{}, "RATELIMITER_BACKEND_OPTIONS": map[string]any{"x": 1}},
			[]string{"RATELIMITER_BACKEND_OPTIONS", "remove them"}},
		"options of wrong type": {ratelimiter.Config{"RATELIMITER_BACKEND_OPTIONS": "port=1"}, []string{"RATELIMITER_BACKEND_OPTIONS", "map[string]any"}},
		"unknown option":        {ratelimiter.Config{"RATELIMITER_BACKEND_OPTIONS": map[string]any{"max_key": 1}}, []string{`"max_key"`, `"max_keys"`}},
		"port that is text": {ratelimiter.Config{"RATELIMITER_BACKEND": "redis", "RATELIMITER_BACKEND_OPTIONS": map[string]any{"port": "6379"}},
			[]string{`"port"`, `"6379" (string)`, "whole number from 1 to 65535"}},
		"text for a bool":         {ratelimiter.Config{"RATELIMITER_ENABLED": "yes"}, []string{"RATELIMITER_ENABLED", `"yes"`, "true or false"}},
		"unknown algorithm":       {ratelimiter.Config{"RATELIMITER_ALGORITHM": "leaky"}, []string{"RATELIMITER_ALGORITHM", `"leaky"`, "token-bucket"}},
		"unknown error policy":    {ratelimiter.Config{"RATELIMITER_ON_ERROR": "panic"}, []string{"RATELIMITER_ON_ERROR", `"panic"`, `"deny"`}},
		"timeout of zero":         {ratelimiter.Config{"RATELIMITER_TIMEOUT": time.Duration(0)}, []string{"RATELIMITER_TIMEOUT", "250ms"}},
		"timeout as number":       {ratelimiter.Config{"RATELIMITER_TIMEOUT": 100}, []string{"RATELIMITER_TIMEOUT", "100", "250ms"}},
		"prefix length":           {ratelimiter.Config{"RATELIMITER_IPV6_PREFIX": 129}, []string{"RATELIMITER_IPV6_PREFIX", "129", "128"}},
		"negative default":        {ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "-5/minute"}, []string{"RATELIMITER_DEFAULT_LIMITS", "-5/minute", "from 0"}},
		"default without unit":    {ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "5/minute; 9"}, []string{`"9" at character 11`, `"/"`}},
		"application period":      {ratelimiter.Config{"RATELIMITER_APPLICATION_LIMITS": "5/fortnight"}, []string{"RATELIMITER_APPLICATION_LIMITS", `"fortnight"`}},
		"options that are a text": {ratelimiter.Config{"RATELIMITER_DEFAULT_OPTIONS": "shadow"}, []string{"RATELIMITER_DEFAULT_OPTIONS", "[]ratelimiter.Option"}},
		"one option, not a list":  {ratelimiter.Config{"RATELIMITER_APPLICATION_OPTIONS": ratelimiter.WithShadow()}, []string{"RATELIMITER_APPLICATION_OPTIONS", "[]ratelimiter.Option"}},
		"a nil option":            {ratelimiter.Config{"RATELIMITER_APPLICATION_OPTIONS": []ratelimiter.Option{nil}}, []string{"RATELIMITER_APPLICATION_OPTIONS", "nil"}},
		"handler that is a text":  {ratelimiter.Config{"RATELIMITER_OVER_LIMIT": "no"}, []string{"RATELIMITER_OVER_LIMIT", `"no"`, "gin.HandlerFunc"}},
		"handler of net/http": {ratelimiter.Config{"RATELIMITER_ON_UNAVAILABLE": func(http.ResponseWriter, *http.Request) {}},
			[]string{"RATELIMITER_ON_UNAVAILABLE", "http.ResponseWriter", "func(*gin.Context)"}},
		"nil handler":               {ratelimiter.Config{"RATELIMITER_OVER_LIMIT": gin.HandlerFunc(nil)}, []string{"RATELIMITER_OVER_LIMIT", "a nil gin.HandlerFunc", "absent"}},
		"unknown time zone":         {ratelimiter.Config{"RATELIMITER_TIME_ZONE": "Middle/Earth"}, []string{"RATELIMITER_TIME_ZONE", `"Middle/Earth"`, "Europe/Zurich", "time/tzdata"}},
		"empty time zone":           {ratelimiter.Config{"RATELIMITER_TIME_ZONE": ""}, []string{"RATELIMITER_TIME_ZONE", `""`}},
		"nil time zone":             {ratelimiter.Config{"RATELIMITER_TIME_ZONE": (*time.Location)(nil)}, []string{"RATELIMITER_TIME_ZONE", "a nil *time.Location"}},
		"time zone as number":       {ratelimiter.Config{"RATELIMITER_TIME_ZONE": 2}, []string{"RATELIMITER_TIME_ZONE", "2 (int)"}},
		"secret of bytes":           {ratelimiter.Config{"RATELIMITER_PARTITION_SECRET": []byte("a secret of 20 bytes")}, []string{"RATELIMITER_PARTITION_SECRET", "not shown"}},
		"a URL without a backend":   {ratelimiter.Config{"RATELIMITER_BACKEND_OPTIONS": map[string]any{"url": "redis://h:6379"}}, []string{"RATELIMITER_BACKEND is missing", `"redis"`}},
		"a share without a backend": {ratelimiter.Config{"RATELIMITER_BACKEND_OPTIONS": map[string]any{"fallback_share": 0.1}}, []string{"RATELIMITER_BACKEND is missing", `"redis"`}},
		"two faults": {ratelimiter.Config{"RATELIMITER_ENABLED": 1, "RATELIMITER_KEY_PREFIX": 2},
			[]string{"RATELIMITER_ENABLED", "RATELIMITER_KEY_PREFIX"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ratelimiter.New(gin.New(), test.config)
			require.Error(t, err)
			for _, part := range test.says {
				require.ErrorContains(t, err, part)
			}
		})
	}
}

func TestEveryKeyAcceptsItsDocumentedTypes(t *testing.T) {
	_, limiter := application(t, ratelimiter.Config{
		"RATELIMITER_ENABLED":                  true,
		"RATELIMITER_BACKEND":                  "memory",
		"RATELIMITER_BACKEND_OPTIONS":          map[string]any{"max_keys": float64(100)},
		"RATELIMITER_KEY_PREFIX":               "",
		"RATELIMITER_ALGORITHM":                ratelimiter.TokenBucket,
		"RATELIMITER_DEFAULT_LIMITS":           "100/minute; 5 per second",
		"RATELIMITER_APPLICATION_LIMITS":       "1000-H",
		"RATELIMITER_INJECT_X_HEADERS":         false,
		"RATELIMITER_INJECT_RATELIMIT_HEADERS": false,
		"RATELIMITER_ON_ERROR":                 "deny",
		"RATELIMITER_TIMEOUT":                  "20ms",
		"RATELIMITER_IPV6_PREFIX":              48,
		"RATELIMITER_TIME_ZONE":                "Local",
		"RATELIMITER_DEFAULT_OPTIONS":          []ratelimiter.Option{},
		"RATELIMITER_APPLICATION_OPTIONS":      nil,
	})
	require.NotNil(t, limiter.Backend())
}

func TestKeysInRedisBeginWithThePrefix(t *testing.T) {
	for name, test := range map[string]struct {
		config ratelimiter.Config
		handIn bool
		want   string
	}{
		"by default":                        {ratelimiter.Config{}, false, "rate_limit/GET /:192.0.2.1:16"},
		"as configured":                     {ratelimiter.Config{"RATELIMITER_KEY_PREFIX": "mine"}, false, "mine/GET /:192.0.2.1:10"},
		"none":                              {ratelimiter.Config{"RATELIMITER_KEY_PREFIX": ""}, false, "GET /:192.0.2.1:5"},
		"of the cache, with its connection": {ratelimiter.Config{"CACHE_KEY_PREFIX": "cache"}, true, "cache/GET /:192.0.2.1:11"},
		"own before the cache's":            {ratelimiter.Config{"CACHE_KEY_PREFIX": "cache", "RATELIMITER_KEY_PREFIX": "mine"}, true, "mine/GET /:192.0.2.1:10"},
		"cache's only with its connection":  {ratelimiter.Config{"CACHE_KEY_PREFIX": "cache"}, false, "rate_limit/GET /:192.0.2.1:16"},
	} {
		t.Run(name, func(t *testing.T) {
			server := miniredis.RunT(t)
			test.config["RATELIMITER_BACKEND"], test.config["RATELIMITER_TIMEOUT"] = "redis", time.Minute
			test.config["RATELIMITER_BACKEND_OPTIONS"] = map[string]any{"addr": server.Addr()}
			if test.handIn {
				client := redis.NewClient(&redis.Options{Addr: server.Addr()})
				t.Cleanup(func() { require.NoError(t, client.Close()) }) // fails if the limiter closed it
				test.config["RATELIMITER_BACKEND_OPTIONS"] = map[string]any{"client": client}
			}
			engine, limiter := application(t, test.config)
			engine.GET("/", limiter.RateLimit(1, time.Hour), ok)
			get(engine, "/")
			require.Equal(t, []string{test.want}, server.Keys())
			require.NoError(t, limiter.Close())
		})
	}
}

func TestInitAppSucceedsWhileRedisIsDown(t *testing.T) {
	server := redistest.Single(t) // nothing else takes its port while it is down
	server.Kill()
	engine, limiter := application(t, onRedis(server.Addr))
	engine.GET("/", limiter.RateLimit(2, time.Hour), ok)
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/", 3), "each process counts separately during the outage")
	server.Start()
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/", 3), "the limit is shared once Redis is up")
	require.EqualValues(t, 1, server.Client().DBSize(t.Context()).Val())
}

func TestInitAppFailsIfRedisRejectsThePassword(t *testing.T) {
	server := miniredis.RunT(t)
	server.RequireAuth("right")
	for _, password := range []string{"", "wrong-secret"} {
		_, err := ratelimiter.New(gin.New(), ratelimiter.Config{
			"RATELIMITER_BACKEND": "redis", "RATELIMITER_BACKEND_OPTIONS": map[string]any{"addr": server.Addr(), "password": password},
		})
		require.ErrorContains(t, err, "credentials")
		require.NotContains(t, err.Error(), "wrong-secret")
	}
}
