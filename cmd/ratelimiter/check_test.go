package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

func TestCheckAcceptsValidConfigurationsAndRejectsOthers(t *testing.T) {
	out, code, err := run(t, `{"RATELIMITER_DEFAULT_LIMITS": "100/minute", "RATELIMITER_IPV6_PREFIX": 56}`, "check", "-")
	require.NoError(t, err)
	require.Zero(t, code)
	require.Contains(t, out, "is valid")
	for config, says := range map[string]string{
		`{"RATELIMITER_DEFAULT_LIMTS": "1/minute"}`:     `did you mean "RATELIMITER_DEFAULT_LIMITS"`,
		`{"RATELIMITER_DEFAULT_LIMITS": "1/fortnight"}`: "fortnight",
		`[]`: "not a JSON object", `null`: "must be a JSON object", ``: "not a JSON object",
		"RATELIMITER_TIMEOUT=soon": "RATELIMITER_TIMEOUT", "RATELIMITER_ENABLED=maybe": "must be true or false",
		"RATELIMITER_TIMEOUT: soon": "RATELIMITER_TIMEOUT", "RATELIMITER_ENABLED=1\noops": "line 2 is not of the form NAME=value",
	} {
		_, code, err := run(t, config, "check", "-")
		require.Equal(t, exitOver, code, config)
		require.ErrorContains(t, err, says)
	}
	for _, args := range [][]string{{"check"}, {"check", "--env", "-"}, {"check", "absent.json"}} {
		_, code, err := run(t, "", args...)
		require.Error(t, err)
		require.Equal(t, exitUsage, code, args)
	}
}

func TestCheckExplainsTheConfiguration(t *testing.T) {
	const limits = "  1000 per day for each client on all routes together\n  100 per minute for each client on each route\n  5 per 10 seconds for each client on each route\n"
	t.Setenv("RATELIMITER_DEFAULT_LIMITS", "1/second")
	for name, text := range map[string]string{
		"config.json": `{"RATELIMITER_DEFAULT_LIMITS": "100/minute; 5 per 10 seconds", "RATELIMITER_APPLICATION_LIMITS": "1000/day"}`,
		"config.yaml": "# of the shop\nRATELIMITER_DEFAULT_LIMITS: 100/minute; 5 per 10 seconds\nRATELIMITER_APPLICATION_LIMITS: \"1000/day\"\nRATELIMITER_IPV6_PREFIX: 56\n",
		".env":        "# of the shop\nexport RATELIMITER_DEFAULT_LIMITS='100/minute; 5 per 10 seconds' # both\nRATELIMITER_APPLICATION_LIMITS=1000/day # a day\nRATELIMITER_IPV6_PREFIX=56\n",
	} {
		path := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		out, _, err := run(t, "", "check", path)
		require.NoError(t, err)
		require.Equal(t, path+" is valid\n"+limits, out)
		out, _, err = run(t, text, "check", "-")
		require.NoError(t, err)
		require.Equal(t, "- is valid\n"+limits, out, "the format is detected")
	}
	out, _, err := run(t, "", "check", "--env")
	require.NoError(t, err)
	require.Equal(t, "the environment is valid\n  1 per second for each client on each route\n", out)
	for config, says := range map[string]string{
		`{}`:                             "  no limits are set",
		`{"RATELIMITER_ENABLED": false}`: "RATELIMITER_ENABLED is false: nothing is limited",
		`{"FOO": 1, "BAR": {"a": 1}}`:    "ignored, because the name does not begin with RATELIMITER_: BAR, FOO",
		"FOO=1":                          "RATELIMITER_: FOO",
	} {
		out, _, err := run(t, config, "check", "-")
		require.NoError(t, err)
		require.Contains(t, out, says)
	}
}

// check treats a key in other letters as the library does, and never accepts a configuration
// that has no effect.
func TestCheckTreatsOtherSpellingsAsTheLibraryDoes(t *testing.T) {
	gin.SetMode(gin.ReleaseMode)
	const name = "ratelimiter_default_limits"
	_, err := ratelimiter.New(gin.New(), ratelimiter.Config{name: "1/fortnight"})
	out, _, errCheck := run(t, `{"ratelimiter_default_limits": "100/minute"}`, "check", "-")
	if err != nil {
		require.NoError(t, errCheck)
		require.Contains(t, out, "100 per minute for each client")
		return
	}
	require.ErrorContains(t, errCheck, `the library ignores "ratelimiter_default_limits"; write it as RATELIMITER_DEFAULT_LIMITS`)
}
