package ratelimiter_test

import (
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Many configuration libraries convert keys to lower case.
func TestKeysAreNotCaseSensitive(t *testing.T) {
	engine, limiter := application(t, ratelimiter.Config{"ratelimiter_default_limits": "2/hour", "ratelımıter_key_prefix": "mine"}) // even with the Turkish dotless i
	engine.GET("/", ok)
	require.Equal(t, []int{200, 200, 429}, statuses(engine, "/", 3))
	require.Equal(t, "mine", limiter.Config()["RATELIMITER_KEY_PREFIX"])

	require.NoError(t, limiter.Update(ratelimiter.Config{"Ratelimiter_Default_Limits": "3/hour", "ratelimiter_key_prefix": "mine"}))
	require.Equal(t, []int{200, 429}, statuses(engine, "/", 2))
	require.ErrorContains(t, limiter.Update(ratelimiter.Config{"ratelimiter_key_prefix": "yours"}), "RATELIMITER_KEY_PREFIX cannot change")
	require.ErrorContains(t, limiter.Update(ratelimiter.Config{"ratelimiter_default_limits": "many"}), "RATELIMITER_DEFAULT_LIMITS")
	require.ErrorContains(t, limiter.Update(ratelimiter.Config{"RATELIMIT_DEFAULT_LIMITS": "9/hour"}), `did you mean "RATELIMITER_DEFAULT_LIMITS"?`)
	require.ErrorContains(t, limiter.Update(ratelimiter.Config{"RATELIMITER_DEFAULT_LIMITS": "9/hour", "ratelimiter_default_limits": "8/hour"}), "twice")
	require.Equal(t, "3/hour", limiter.Config()["RATELIMITER_DEFAULT_LIMITS"])
}

func TestEveryKeyIsFoundInAnyCase(t *testing.T) {
	_, limiter := application(t, nil)
	var keys []string
	for key := range limiter.Config() {
		keys = append(keys, key)
	}
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SampledFrom(keys).Draw(t, "key")
		lower := rapid.SliceOfN(rapid.Bool(), len(key), len(key)).Draw(t, "lower")
		spelled := []byte(key)
		for i := range spelled {
			if lower[i] {
				spelled[i] = strings.ToLower(key)[i]
			}
		}
		_, err := ratelimiter.New(gin.New(), ratelimiter.Config{string(spelled): struct{}{}})
		require.ErrorContains(t, err, key+" is ")
		require.NotContains(t, err.Error(), "not known")
		if string(spelled) != key {
			_, err = ratelimiter.New(gin.New(), ratelimiter.Config{string(spelled): nil, key: nil})
			require.ErrorContains(t, err, key+" is given twice")
			require.ErrorContains(t, err, `"`+string(spelled)+`"`)
		}
	})
}

func TestAMisspelledKeyIsRejected(t *testing.T) {
	for name, meant := range map[string]string{
		"RATELIMIT_BACKEND":               "RATELIMITER_BACKEND",
		"ratelimit_backend":               "RATELIMITER_BACKEND",
		"RATELIMIT_DEFAULT_LIMIT":         "RATELIMITER_DEFAULT_LIMITS",
		"RATE_LIMITER_BACKEND":            "RATELIMITER_BACKEND",
		"RATE_LIMITER_BACKND":             "RATELIMITER_BACKEND",
		"RATE-LIMITER-BACKEND":            "RATELIMITER_BACKEND",
		"RATELIMTER_BACKEND":              "RATELIMITER_BACKEND",
		"RATELIMITRE_BACKEND":             "RATELIMITER_BACKEND",
		"RATELIMITTER_ON_ERROR":           "RATELIMITER_ON_ERROR",
		"RATELIMITERS_TIMEOUT":            "RATELIMITER_TIMEOUT",
		"RATELIMITER-BACKEND":             "RATELIMITER_BACKEND",
		"ratelimiter.inject.x.headers":    "RATELIMITER_INJECT_X_HEADERS",
		"ratelimiter:default:limits":      "RATELIMITER_DEFAULT_LIMITS",
		"ratelimiterBackend":              "RATELIMITER_BACKEND",
		" RATELIMITER_BACKEND":            "RATELIMITER_BACKEND",
		"RATELIMIT_INJECT_X_HEADERS":      "RATELIMITER_INJECT_X_HEADERS",
		"RATELIMIT_APPLICATION_LIMITS":    "RATELIMITER_APPLICATION_LIMITS",
		"RATELIMITER_BACKND":              "RATELIMITER_BACKEND",
		"RATELIMITER__BACKEND":            "RATELIMITER_BACKEND",
		"ratelimiter_on_unavailable_":     "RATELIMITER_ON_UNAVAILABLE",
		"RATELIMITER_TIMEZONE":            "RATELIMITER_TIME_ZONE",
		"RATELIMITER_DEFAULT_OPTION":      "RATELIMITER_DEFAULT_OPTIONS",
		"RATELIMITER_INJECT_X_HEADERS_":   "RATELIMITER_INJECT_X_HEADERS",
		"RATELIMITER_APPLICATION_LIMITS ": "RATELIMITER_APPLICATION_LIMITS",
	} {
		for _, value := range []any{"redis", nil} {
			_, err := ratelimiter.New(gin.New(), ratelimiter.Config{name: value})
			require.ErrorContains(t, err, "is not known; did you mean \""+meant+"\"?", name)
		}
	}
}

func TestANestedMapIsRejected(t *testing.T) {
	for _, nested := range []any{
		map[string]any{"backend": "redis", "colour": "red"}, map[any]any{"backend": "redis", 7: 8}, map[string]string{"BACKEND": "redis"},
		ratelimiter.Config{"backend": "redis"},
	} {
		for _, name := range []string{"ratelimiter", "RATELIMITER", "rate_limiter", "ratelimit", "RateLimiter"} {
			_, err := ratelimiter.New(gin.New(), ratelimiter.Config{name: nested})
			require.ErrorContains(t, err, "write the key as RATELIMITER_BACKEND in the map itself")
			require.ErrorContains(t, err, name+" has the key")
		}
	}
}

func TestKeysOfTheApplicationAreIgnored(t *testing.T) {
	config := ratelimiter.Config{"DEBUG": true, "": 1}
	for _, name := range []string{
		"CACHE_TYPE", "CACHE_KEY_PREFIX", "cache_key_prefix", "KEY_PREFIX", "BACKEND", "TIMEOUT", "ENABLED", "TIME_ZONE", "OBSERVER",
		"RATE_LIMIT", "RATELIMIT", "RATELIMITER", "RATE_LIMITER", "ratelimiter", "RATE_LIMIT_ENABLED", "RATE_LIMIT_BACKEND", "RATE_LIMIT_TIMEOUT",
		"RATE_LIMIT_REQUESTS", "RATE_LIMITER_URL", "RATELIMIT_STORAGE_URI", "RATELIMIT_STRATEGY", "MY_RATELIMITER_BACKEND", "LIMITER_BACKEND",
	} {
		config[name] = 7
	}
	config["rate_limit"] = map[string]any{"backend": "redis", "enabled": true}
	config["limiter"] = map[string]any{"backend": "redis"}
	_, limiter := application(t, config)
	require.NoError(t, limiter.Update(config))
}

func TestCacheKeyPrefixIsFoundInAnyCase(t *testing.T) {
	server := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	config := ratelimiter.Config{
		"ratelimiter_backend": "redis", "ratelimiter_backend_options": map[string]any{"client": client}, "cache_key_prefix": "cache",
		"ratelimiter_timeout": time.Minute,
	}
	engine, limiter := application(t, config)
	engine.GET("/", limiter.RateLimit(1, time.Hour), ok)
	get(engine, "/")
	require.Equal(t, []string{"cache/GET /:192.0.2.1:11"}, server.Keys())

	config["CACHE_KEY_PREFIX"] = "other"
	_, err := ratelimiter.New(gin.New(), config)
	require.ErrorContains(t, err, "CACHE_KEY_PREFIX, cache_key_prefix")
	config["CACHE_KEY_PREFIX"], config["RATELIMITER_KEY_PREFIX"] = 7, "mine"
	_, err = ratelimiter.New(gin.New(), config)
	require.NoError(t, err, "CACHE_KEY_PREFIX is not needed")
	delete(config, "RATELIMITER_KEY_PREFIX")
	delete(config, "cache_key_prefix")
	_, err = ratelimiter.New(gin.New(), config)
	require.ErrorContains(t, err, "CACHE_KEY_PREFIX is 7 (int); it must be a string")
}
