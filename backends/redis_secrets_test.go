package backends

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Users put a URL in place of an address, and JSON in place of a string.
func TestErrorsContainNoMisplacedSecrets(t *testing.T) {
	const url = "redis://limiter:s3cret@redis.example:6379/0"
	for name, options := range map[string]map[string]any{
		"a URL as addr":           {"addr": url},
		"a URL in addrs":          {"addrs": []string{"h:1", url}},
		"a URL in addrs as text":  {"addrs": "h:1,," + url},
		"a URL as host":           {"host": url},
		"a URL as client":         {"client": url},
		"a URL in a list":         {"url": []any{url}},
		"a URL of another scheme": {"url": "http://limiter:s3cret@redis.example"},
		"an invalid URL":          {"url": "redis://limiter:s3cret%zz@redis.example"},
		"a password in a list":    {"password": []string{"s3cret"}},
		"a password of Sentinel":  {"sentinel_password": map[string]any{"from": "s3cret"}},
		"a typo in a name":        {"pasword": "s3cret"},
	} {
		t.Run(name, func(t *testing.T) {
			backend, err := NewRedis(options)
			if err == nil {
				require.NoError(t, backend.Close())
			}
			require.Error(t, err)
			require.NotContains(t, err.Error(), "s3cret")
			for option := range options {
				require.ErrorContains(t, err, `"`+option+`"`)
			}
		})
	}
}
