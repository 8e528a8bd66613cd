package mask

import (
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestAURLShowsWhereItLeadsAndNoSecrets(t *testing.T) {
	for text, want := range map[string]string{
		"redis://redis.example:6379/0":                           "redis://redis.example:6379/0",
		"redis://ann:hunter2@redis.example:6379/0":               "redis://redis.example:6379/0",
		"rediss://:hunter2@redis.example?client_name=x&db=2":     "rediss://redis.example",
		"redis://hunter2@[2001:db8::7]:6380":                     "redis://[2001:db8::7]:6380",
		"unix:///run/redis.sock?db=1":                            "unix:///run/redis.sock",
		"redis://ann:hunter%2F2@redis.example:6379/0#a-fragment": "redis://redis.example:6379/0",
		"redis://ann:hunter/2@redis.example:6379":                "", // not escaped
		"redis://ann:12/34@redis.example:6379":                   "",
		"redis://ann:12#34@redis.example:6379":                   "",
		"redis://ann:12?34@redis.example:6379":                   "",
		"redis.example:6379":                                     "", // no URL, but for its colon
		"hunter2":                                                "",
		"":                                                       "",
		"redis://ann:hunter2@redis.example:port":                 "",
	} {
		require.Equal(t, want, URL(text), text)
	}
}

func TestNoUserAndNoPasswordIsInAURL(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secret := "hunter2" + rapid.String().Draw(t, "rest")
		u := url.URL{Scheme: "redis", User: url.UserPassword(secret, secret), Host: "redis.example:6379", Path: "/0"}
		require.Equal(t, "redis://redis.example:6379/0", URL(u.String()))
	})
}
