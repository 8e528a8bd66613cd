package backends

import (
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// An option that would be ignored is rejected, because a user who set it expects an effect.
func TestOptionsWithoutEffectAreRejected(t *testing.T) {
	for name, test := range map[string]struct {
		options map[string]any
		says    []string
	}{
		"a database number with a Cluster":          {map[string]any{"addr": "h:1", "cluster": true, "db": 3}, []string{`"db"`, `"cluster"`}},
		"a database number with several addresses":  {map[string]any{"addrs": []string{"h:1", "i:2"}, "db": 3}, []string{`"db"`}},
		"a database number in the URL of a Cluster": {map[string]any{"url": "redis://h:1/3", "cluster": true}, []string{"database", `"cluster"`}},
		"a Sentinel password without a master":      {map[string]any{"addr": "h:1", "sentinel_password": "p"}, []string{`"sentinel_password"`, `"master_name"`}},
		"a Sentinel user without a master":          {map[string]any{"addr": "h:1", "sentinel_username": "u"}, []string{`"sentinel_username"`, `"master_name"`}},
		"an empty URL":                              {map[string]any{"url": ""}, []string{`"url"`}},
		"an empty host":                             {map[string]any{"host": ""}, []string{`"host"`}},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := redisSettings(test.options)
			require.Error(t, err)
			for _, part := range test.says {
				require.ErrorContains(t, err, part)
			}
		})
	}
}

// valued is a client that is not a pointer.
type valued struct{ redis.UniversalClient }

func TestAnyKindOfClientCanBePassedIn(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() { _ = client.Close() })
	for name, handed := range map[string]any{"a value": valued{client}, "a pointer": &valued{client}} {
		t.Run(name, func(t *testing.T) {
			require.NotPanics(t, func() {
				backend, err := NewRedis(map[string]any{"client": handed})
				require.NoError(t, err)
				require.NoError(t, backend.Close())
			})
		})
	}
}
