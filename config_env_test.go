package ratelimiter_test

import (
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

func TestConfigFromEnvReadsTheEnvironment(t *testing.T) {
	server := miniredis.RunT(t)
	for name, value := range map[string]string{
		"RATELIMITER_BACKEND":          "redis",
		"RATELIMITER_BACKEND_OPTIONS":  "redis://" + server.Addr() + "/3",
		"RATELIMITER_ALGORITHM":        "fixed-window",
		"RATELIMITER_TIMEOUT":          "2s",
		"RATELIMITER_INJECT_X_HEADERS": "false",
		"RATELIMITER_IPV6_PREFIX":      "56",
		"RATELIMITER_ON_ERROR":         "",
		"RATELIMITER_TEST_REDIS":       "required",
	} {
		t.Setenv(name, value)
	}
	config, err := ratelimiter.ConfigFromEnv()
	require.NoError(t, err)
	require.Equal(t, ratelimiter.Config{
		"RATELIMITER_BACKEND":          "redis",
		"RATELIMITER_BACKEND_OPTIONS":  map[string]any{"url": "redis://" + server.Addr() + "/3"},
		"RATELIMITER_ALGORITHM":        "fixed-window",
		"RATELIMITER_TIMEOUT":          "2s",
		"RATELIMITER_INJECT_X_HEADERS": false,
		"RATELIMITER_IPV6_PREFIX":      56,
	}, config)
	engine, limiter := application(t, config)
	engine.GET("/", limiter.RateLimit(1, time.Hour), ok)
	require.Equal(t, []int{200, 429}, statuses(engine, "/", 2))
	require.Len(t, server.DB(3).Keys(), 1)

	t.Setenv("RATELIMITER_BACKEND_OPTIONS", `{"host": "127.0.0.1", "port": `+server.Port()+`}`)
	config, err = ratelimiter.ConfigFromEnv()
	require.NoError(t, err)
	_, err = ratelimiter.New(gin.New(), config)
	require.NoError(t, err)
}

func TestAnInvalidEnvironmentIsRejected(t *testing.T) {
	for name, test := range map[string]struct{ variable, value, says string }{
		"unknown":      {"RATELIMITER_BACKND", "redis", `did you mean "RATELIMITER_BACKEND"?`},
		"flag":         {"RATELIMITER_ENABLED", "maybe", "true or false"},
		"number":       {"RATELIMITER_IPV6_PREFIX", "many", "whole number"},
		"options":      {"RATELIMITER_BACKEND_OPTIONS", "host=secret", "JSON object"},
		"null options": {"RATELIMITER_BACKEND_OPTIONS", "null", "JSON object"},
		"misspelled":   {"RATELIMIT_BACKEND", "redis", `did you mean "RATELIMITER_BACKEND"?`},
		"a Go value":   {"RATELIMITER_OBSERVER", "log", "cannot be set in the environment"},
		"a handler":    {"RATELIMITER_OVER_LIMIT", "429", "cannot be set in the environment"},
		"its own port": {"RATELIMITER_PORT", "6379", "not known"},
		"a port":       {"RATELIMITER_REDIS_PORT", "6379", "not known"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(test.variable, test.value)
			_, err := ratelimiter.ConfigFromEnv()
			require.ErrorContains(t, err, test.variable)
			require.ErrorContains(t, err, test.says)
			require.NotContains(t, err.Error(), "secret")
		})
	}
}

func TestBackendOptionsInTheEnvironmentMayBeAURL(t *testing.T) {
	server := miniredis.RunT(t)
	t.Setenv("RATELIMITER_BACKEND", "redis")
	t.Setenv("RATELIMITER_BACKEND_OPTIONS", " redis://"+server.Addr()+"/3\n")
	config, err := ratelimiter.ConfigFromEnv()
	require.NoError(t, err)
	application(t, config)

	for url, says := range map[string]string{
		"redis+sentinel://:s3cret@h:26379": `"master_name"`,
		"redis://:s3cret@h1:1,h2:2/0":      `"addrs"`,
		"REDIS+CLUSTER://:s3cret@h:6379":   `"cluster": true`,
	} {
		t.Setenv("RATELIMITER_BACKEND_OPTIONS", url)
		config, err := ratelimiter.ConfigFromEnv()
		require.NoError(t, err)
		_, err = ratelimiter.New(gin.New(), config)
		require.ErrorContains(t, err, says)
		require.NotContains(t, err.Error(), "s3cret")
	}

	t.Setenv("RATELIMITER_BACKEND", "")
	config, err = ratelimiter.ConfigFromEnv()
	require.NoError(t, err)
	_, err = ratelimiter.New(gin.New(), config)
	require.ErrorContains(t, err, "RATELIMITER_BACKEND is missing")
}

func TestNamesInTheEnvironmentAreNotCaseSensitive(t *testing.T) {
	t.Setenv("ratelimiter_ipv6_prefix", "56\n")
	t.Setenv("Ratelimiter_Time_Zone", "Europe/Zurich")
	config, err := ratelimiter.ConfigFromEnv()
	require.NoError(t, err)
	require.Equal(t, ratelimiter.Config{"RATELIMITER_IPV6_PREFIX": 56, "RATELIMITER_TIME_ZONE": "Europe/Zurich"}, config)

	t.Setenv("RATELIMITER_IPV6_PREFIX", "64")
	_, err = ratelimiter.ConfigFromEnv()
	require.ErrorContains(t, err, `RATELIMITER_IPV6_PREFIX is given twice, as "RATELIMITER_IPV6_PREFIX" and as "ratelimiter_ipv6_prefix"`)
}

// kubernetes returns the variables that Kubernetes sets for a service.
func kubernetes(service string) map[string]string {
	return map[string]string{
		service + "_SERVICE_HOST":        "10.0.0.11",
		service + "_SERVICE_PORT":        "6379",
		service + "_SERVICE_PORT_HTTP":   "80",
		service + "_SERVICE_PORT_HTTP_2": "81",
		service + "_PORT":                "tcp://10.0.0.11:6379",
		service + "_PORT_6379_TCP":       "tcp://10.0.0.11:6379",
		service + "_PORT_6379_TCP_PROTO": "tcp",
		service + "_PORT_6379_TCP_PORT":  "6379",
		service + "_PORT_6379_TCP_ADDR":  "10.0.0.11",
		service + "_PORT_53_UDP":         "udp://[fd00::11]:53",
		service + "_PORT_53_UDP_PROTO":   "udp",
		service + "_PORT_53_UDP_PORT":    "53",
		service + "_PORT_53_UDP_ADDR":    "fd00::11",
		service + "_PORT_9_SCTP":         "sctp://10.0.0.11:9",
		service + "_PORT_9_SCTP_ADDR":    "10.0.0.11",
	}
}

func TestKubernetesServiceVariablesAreIgnored(t *testing.T) {
	for _, service := range []string{"RATELIMITER", "RATELIMITER_REDIS", "RATELIMITER_BACKEND", "RATELIMITER_REDIS_2", "RATELIMIT", "RATE_LIMITER", "RATELIMIT_BACKEND"} {
		t.Run(service, func(t *testing.T) {
			everything, lower := ratelimiter.Config{}, ratelimiter.Config{} // as libraries read the environment
			for name, value := range kubernetes(service) {
				t.Setenv(name, value)
				everything[name], lower[strings.ToLower(name)] = value, value
			}
			config, err := ratelimiter.ConfigFromEnv()
			require.NoError(t, err)
			require.Empty(t, config)
			for _, config := range []ratelimiter.Config{everything, lower} {
				_, limiter := application(t, config)
				require.NoError(t, limiter.Update(config))
			}
		})
	}
}

func TestAllMistakesInTheEnvironmentAreReported(t *testing.T) {
	t.Setenv("RATELIMITER_ENABLED", "maybe")
	t.Setenv("RATELIMITER_IPV6_PREFIX", "many")
	_, err := ratelimiter.ConfigFromEnv()
	require.ErrorContains(t, err, "RATELIMITER_ENABLED")
	require.ErrorContains(t, err, "RATELIMITER_IPV6_PREFIX")
}
