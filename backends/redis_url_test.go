package backends

import (
	"net/url"
	"reflect"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func TestAnUnusableURLIsRejectedWithAdvice(t *testing.T) {
	const percent = "%2F" // part of the advice on special characters
	for name, test := range map[string]struct {
		url  string
		says []string
	}{
		"several servers":                       {"redis://:s3cret@h1:6379,h2:6379/0", []string{`"addrs"`, `"cluster"`, `"master_name"`}},
		"several servers, one port":             {"rediss://h1,h2:6379", []string{`"addrs"`, `"cluster"`}},
		"Sentinel":                              {"redis+sentinel://:s3cret@h1:26379/m/0", []string{`"addrs"`, `"master_name"`}},
		"Sentinel with a dash":                  {"redis-sentinel://h1:26379,h2:26379/0#m", []string{`"addrs"`, `"master_name"`}},
		"Sentinel with TLS":                     {"rediss+sentinel://h1:26379", []string{`"addrs"`, `"master_name"`, `"tls"`}},
		"Sentinel alone":                        {"sentinel://h1:26379", []string{`"master_name"`}},
		"Cluster":                               {"redis+cluster://:s3cret@h1:6379", []string{`"cluster": true`}},
		"Cluster with a dash":                   {"redis-cluster://h1:6379,h2:6379", []string{`"cluster": true`, `"addrs"`}},
		"Cluster with TLS":                      {"rediss+cluster://h1:6379", []string{`"cluster": true`}},
		"the socket scheme of other clients":    {"redis+socket:///run/redis.sock", []string{"unix://"}},
		"the TLS scheme of other clients":       {"redis+tls://h:6379", []string{"rediss://"}},
		"Valkey":                                {"valkey://h:6379", []string{"redis://"}},
		"another protocol":                      {"http://u:s3cret@h", []string{"redis://"}},
		"empty":                                 {"", []string{"empty"}},
		"no scheme":                             {"h:6379", []string{"redis://"}},
		"no slashes":                            {"redis:h:6379", []string{"redis://"}},
		"one slash":                             {"redis:/h:6379", []string{"redis://"}},
		"a space inside":                        {"redis://h:6379/0 redis://i:6379/0", []string{"white space"}},
		"a line break inside":                   {"redis://:s3cret\n@h:6379", []string{"white space"}},
		"a database that is a word":             {"redis://h:6379/main", []string{"database"}},
		"a negative database":                   {"redis://h:6379/-1", []string{"database"}},
		"a negative database parameter":         {"redis://h:6379?db=-1", []string{"db"}},
		"two databases":                         {"redis://h:6379/0/1", []string{"database"}},
		"port 0":                                {"redis://h:0", []string{"port", "1 to 65535"}},
		"a port that is too high":               {"redis://h:65536", []string{"port", "1 to 65535"}},
		"a port that is a word":                 {"redis://h:redis", []string{percent}},
		"a slash in the password":               {"redis://:12/s3cret@h:6379/0", []string{percent}},
		"a hash in the password":                {"redis://:12#s3cret@h:6379/0", []string{percent}},
		"a question mark in the password":       {"redis://:12?s3cret@h:6379/0", []string{percent}},
		"a parameter in the password":           {"redis://:12?s3cret=1@h:6379/0", []string{percent}},
		"a percent in the password":             {"redis://:12%s3cret@h:6379/0", []string{percent}},
		"a path instead of a host":              {"unix://run/redis.sock", []string{"unix:///"}},
		"a socket without a path":               {"unix://", []string{"path"}},
		"retries":                               {"redis://h?max_retries=3", []string{"max_retries", "never retried"}},
		"least time before a retry":             {"redis://h?min_retry_backoff=1s", []string{"min_retry_backoff", "never retried"}},
		"longest time before a retry":           {"redis://h?max_retry_backoff=1s", []string{"max_retry_backoff", "never retried"}},
		"unknown parameter":                     {"redis://h?colour=red", []string{`"colour"`}},
		"a typo":                                {"redis://h?pool_sise=3", []string{`"pool_sise"`}},
		"not a number":                          {"redis://h?db=0&pool_size=many", []string{`"pool_size"`}},
		"not a duration":                        {"redis://h?read_timeout=soon&db=0", []string{`"read_timeout"`}},
		"not a boolean":                         {"redis://h?pool_fifo=perhaps", []string{`"pool_fifo"`}},
		"certificate check without TLS":         {"redis://h?skip_verify=true", []string{`"skip_verify"`}},
		"a repeated parameter":                  {"redis://h?db=1&db=2", []string{`"db"`, "once"}},
		"a parameter without a value":           {"redis://h?client_name=", []string{`"client_name"`, "value"}},
		"semicolons":                            {"redis://h?db=1;pool_size=3", []string{"&"}},
		"a zero dial timeout":                   {"redis://h?dial_timeout=0", []string{`"dial_timeout"`}},
		"a zero pool timeout":                   {"redis://h?pool_timeout=-1s", []string{`"pool_timeout"`}},
		"a negative pool size":                  {"redis://h?pool_size=-1", []string{`"pool_size"`}},
		"a negative number of idle connections": {"redis://h?min_idle_conns=-1", []string{`"min_idle_conns"`}},
		"an unknown protocol":                   {"redis://h?protocol=4", []string{`"protocol"`, "2 or 3"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := redisSettings(map[string]any{"url": test.url})
			require.ErrorContains(t, err, `option "url" of backend "redis"`)
			for _, part := range test.says {
				require.ErrorContains(t, err, part)
			}
			require.NotContains(t, err.Error(), "s3cret")
			require.NotContains(t, err.Error(), ":12")
		})
	}
}

func TestWhiteSpaceAroundAURLIsIgnored(t *testing.T) {
	for _, text := range []string{"redis://u:p@h:1/2\n", " \tredis://u:p@h:1/2\r\n"} {
		settings, _, err := redisSettings(map[string]any{"url": text})
		require.NoError(t, err)
		require.Equal(t, []string{"h:1"}, settings.Addrs)
		require.Equal(t, 2, settings.DB)
	}
}

// Every parameter that go-redis reads from a URL reaches the client or is rejected. The
// test compares the options field by field, so that no field of a later version is missed.
func TestEveryParameterOfAURLReachesTheClient(t *testing.T) {
	parameters := url.Values{
		"db": {"2"}, "client_name": {"limiter"}, "protocol": {"2"},
		"dial_timeout": {"2s"}, "read_timeout": {"3"}, "write_timeout": {"4s"},
		"pool_fifo": {"true"}, "pool_size": {"7"}, "pool_timeout": {"5s"}, "min_idle_conns": {"1"}, "max_idle_conns": {"3"},
		"max_active_conns": {"9"}, "max_concurrent_dials": {"2"}, "pipeline_pool_size": {"-1"}, "pipeline_read_buffer_size": {"65536"},
		"pipeline_write_buffer_size": {"65536"}, "conn_max_idle_time": {"6m"}, "conn_max_lifetime": {"1h"}, "conn_max_lifetime_jitter": {"1m"},
		"skip_verify": {"true"},
	}
	text := "rediss://u:p@h:1?" + parameters.Encode()
	settings, _, err := redisSettings(map[string]any{"url": text})
	require.NoError(t, err)
	parsed, err := redis.ParseURL(text)
	require.NoError(t, err)
	ours := reflect.ValueOf(settings.Simple()).Elem()
	theirs := reflect.ValueOf(parsed).Elem()
	set := 0
	for i := range theirs.NumField() {
		field := theirs.Type().Field(i)
		if !field.IsExported() || theirs.Field(i).IsZero() || field.Name == "Network" { // derived from the address
			continue
		}
		set++
		require.Equal(t, theirs.Field(i).Interface(), ours.FieldByName(field.Name).Interface(), field.Name)
	}
	require.Equal(t, len(parameters)-1+len([]string{"Addr", "Username", "Password", "TLSConfig"}), set, "skip_verify is in TLSConfig")
	require.True(t, settings.TLSConfig.InsecureSkipVerify)
	require.Equal(t, -1, settings.MaxRetries)

	settings, _, err = redisSettings(map[string]any{"url": "redis://h?max_conn_age=1h&idle_timeout=2m"}) // older names
	require.NoError(t, err)
	require.Equal(t, []string{"1h0m0s", "2m0s"}, []string{settings.ConnMaxLifetime.String(), settings.ConnMaxIdleTime.String()})
}

func FuzzURLErrorsContainNoPassword(f *testing.F) {
	for _, seed := range []string{"redis://u:p@h:1/2?db=3", "unix:///s", "redis+sentinel://h", "redis://h1,h2", "redis://[::1]:6379", ":", "?", "redis://h?a=b;c"} {
		f.Add(seed, "s3cret/?#@:%"+seed)
	}
	f.Fuzz(func(t *testing.T, text, password string) {
		_, _, err := redisSettings(map[string]any{"url": text})
		if err != nil {
			require.ErrorContains(t, err, `"url"`)
		}
		_, _, err = redisSettings(map[string]any{"url": "redis://:s3cret" + password + "@h:6379/0"})
		if err != nil {
			require.NotContains(t, err.Error(), "s3cret")
		}
		_, _, err = redisSettings(map[string]any{"url": "redis://:" + password + "s3cret@h:6379/0"})
		if err != nil {
			require.NotContains(t, err.Error(), "s3cret")
		}
	})
}
