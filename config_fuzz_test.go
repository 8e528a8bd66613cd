package ratelimiter_test

import (
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/stretchr/testify/require"
)

// FuzzConfigFromEnv gives one variable any text. It is accepted, or rejected with an error
// that names the variable.
func FuzzConfigFromEnv(f *testing.F) {
	names := []string{
		"ENABLED", "BACKEND_OPTIONS", "KEY_PREFIX", "ALGORITHM", "DEFAULT_LIMITS", "APPLICATION_LIMITS", "INJECT_X_HEADERS",
		"INJECT_RATELIMIT_HEADERS", "HEADERS", "ON_ERROR", "TIMEOUT", "IPV6_PREFIX", "PARTITION_SECRET", "TIME_ZONE", "FALLBACK_LIMITS", "OBSERVER",
	}
	for i, text := range []string{
		"true", `{"max_keys": 1000}`, "rate_limit", "token-bucket", "100/minute; 5/second", "10000/month", "yes", "", "x, draft-11", "deny",
		"250ms", "56", "secret", "Europe/Zurich", "20/minute", "{}",
	} {
		f.Add(uint8(i), text)
	}
	f.Fuzz(func(t *testing.T, which uint8, text string) {
		name := "RATELIMITER_" + names[int(which)%len(names)]
		if strings.ContainsRune(text, 0) {
			return // no environment holds it
		}
		t.Setenv(name, text)
		config, err := ratelimiter.ConfigFromEnv()
		if err == nil {
			var limiter *ratelimiter.RateLimiter
			if limiter, err = ratelimiter.New(gin.New(), config); err == nil {
				require.NoError(t, limiter.Close())
				return
			}
		}
		require.ErrorContains(t, err, name)
		require.Less(t, len(err.Error()), 2000+20*len(text))
	})
}
