//go:build !ratelimiter_noredis

package backends

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/gin-ratelimiter/ratelimiter/internal/options"
	"github.com/redis/go-redis/v9"
)

// readURL reads the option url, which other options may override. Errors include nothing of
// the URL except for parameter names, because any part of it may be an unescaped password.
func readURL(read *options.Reader, settings *redis.UniversalOptions) {
	text := read.Text("url", "")
	if _, isText := read.Values["url"].(string); !isText {
		return // absent, or already rejected
	}
	parsed, err := parseURL(strings.TrimSpace(text))
	if err != nil {
		read.Reject(fmt.Errorf("%s (not shown here) %w", read.Describe("url"), err))
		return
	}
	settings.Addrs = []string{parsed.Addr}
	settings.DB, settings.Username, settings.Password = parsed.DB, parsed.Username, parsed.Password
	settings.TLSConfig = parsed.TLSConfig
	settings.ClientName, settings.Protocol = parsed.ClientName, parsed.Protocol
	settings.DialTimeout, settings.ReadTimeout, settings.WriteTimeout = parsed.DialTimeout, parsed.ReadTimeout, parsed.WriteTimeout
	settings.PoolSize, settings.PoolTimeout, settings.PoolFIFO = parsed.PoolSize, parsed.PoolTimeout, parsed.PoolFIFO
	settings.MinIdleConns, settings.MaxIdleConns, settings.MaxActiveConns = parsed.MinIdleConns, parsed.MaxIdleConns, parsed.MaxActiveConns
	settings.MaxConcurrentDials = parsed.MaxConcurrentDials
	settings.PipelinePoolSize = parsed.PipelinePoolSize
	settings.PipelineReadBufferSize, settings.PipelineWriteBufferSize = parsed.PipelineReadBufferSize, parsed.PipelineWriteBufferSize
	settings.ConnMaxIdleTime, settings.ConnMaxLifetime = parsed.ConnMaxIdleTime, parsed.ConnMaxLifetime
	settings.ConnMaxLifetimeJitter = parsed.ConnMaxLifetimeJitter
}

// Errors about a URL. They do not include the URL, because an unescaped password may be in
// any part of it.
var (
	errUnreadableURL = errors.New(`cannot be parsed; it must have the form redis://user:password@host:6379/0?pool_size=20, with / ? # @ : % in the user or password written as %2F %3F %23 %40 %3A %25`)
	errURLScheme     = errors.New(`must begin with redis://, rediss:// (for TLS) or unix:// (for a socket), as in redis://user:password@host:6379/0`)
	errSentinelURL   = errors.New(`names Sentinels, which a URL cannot do; list them in option "addrs", with "master_name" and, if needed, "username", "password", "db" and "tls"`)
	errClusterURL    = errors.New(`has the scheme of a Cluster; use redis:// or rediss:// with one node and option "cluster": true, or list the nodes in option "addrs"`)
	errSeveralInURL  = errors.New(`names several servers, which a URL cannot do; list them in option "addrs", with "cluster": true for the nodes of a Cluster or "master_name" for Sentinels`)
)

// parseURL is redis.ParseURL, but also rejects URLs that never work and parameters that
// this backend does not apply.
func parseURL(text string) (*redis.Options, error) {
	switch {
	case text == "":
		return nil, errors.New("is empty; use a URL such as redis://redis.example:6379/0, or remove it")
	case strings.ContainsFunc(text, unicode.IsSpace):
		return nil, errors.New("contains white space; it must be a single URL on one line")
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, errUnreadableURL
	}
	if err := checkLocation(u, text); err != nil {
		return nil, err
	}
	if err := checkParameters(u); err != nil {
		return nil, err
	}
	parsed, err := redis.ParseURL(text)
	if err != nil {
		return nil, errUnreadableURL
	}
	return parsed, checkValues(parsed)
}

// checkLocation checks everything in a URL except for its parameters.
func checkLocation(u *url.URL, text string) error {
	port, _ := strconv.Atoi(u.Port())
	switch {
	case strings.Contains(u.Scheme, "sentinel"):
		return errSentinelURL
	case strings.Contains(u.Scheme, "cluster"):
		return errClusterURL
	case !slices.Contains([]string{"redis", "rediss", "unix"}, u.Scheme), !strings.Contains(text, "://"):
		return errURLScheme
	case strings.Contains(text, "#"):
		return errUnreadableURL
	case u.Scheme == "unix" && (u.Host != "" || u.Path == ""):
		return errors.New("must contain the path of a socket after unix://, as in unix:///run/redis.sock")
	case u.Scheme == "unix":
		return nil
	case strings.Contains(u.Host, ","):
		return errSeveralInURL
	case u.Port() != "" && (port < 1 || port > 65535):
		return errors.New("has a port that is out of range; it must be from 1 to 65535")
	case strings.Contains(u.Path, "@"):
		return errUnreadableURL
	case strings.Trim(strings.Trim(u.Path, "/"), "0123456789") != "":
		return errors.New("must end after the host or with the number of a database, as in redis://redis.example:6379/0")
	}
	return nil
}

// retryParameters would let the client send a decision twice.
var retryParameters = []string{"max_retries", "min_retry_backoff", "max_retry_backoff"}

// checkParameters finds the parameter that is wrong, which redis.ParseURL does not report.
func checkParameters(u *url.URL) error {
	if strings.Contains(u.RawQuery, "@") {
		return errUnreadableURL
	}
	parameters, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return errors.New("has parameters that cannot be parsed; they must have the form ?pool_size=20&read_timeout=1s")
	}
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		values := parameters[name]
		switch {
		case slices.Contains(retryParameters, name):
			return fmt.Errorf("has the parameter %q, but decisions are never retried because they would be charged twice; remove it", name)
		case len(values) != 1 || values[0] == "":
			return fmt.Errorf("must have the parameter %q only once, and with a value", name)
		}
		alone := *u
		alone.RawQuery = url.Values{name: values}.Encode()
		if _, err := redis.ParseURL(alone.String()); err != nil {
			return fmt.Errorf("has the parameter %q, which is unknown or has an invalid value; see redis.ParseURL of github.com/redis/go-redis/v9", name)
		}
	}
	return nil
}

// checkValues rejects values that prevent every connection. go-redis turns a zero duration
// into a negative one.
func checkValues(parsed *redis.Options) error {
	for _, parameter := range []struct {
		name  string
		value int
	}{
		{"db", parsed.DB},
		{"dial_timeout", int(parsed.DialTimeout)},
		{"pool_timeout", int(parsed.PoolTimeout)},
		{"pool_size", parsed.PoolSize},
		{"min_idle_conns", parsed.MinIdleConns},
		{"max_idle_conns", parsed.MaxIdleConns},
		{"max_active_conns", parsed.MaxActiveConns},
		{"max_concurrent_dials", parsed.MaxConcurrentDials},
	} {
		if parameter.value < 0 {
			return fmt.Errorf("has the parameter %q with a value that is too low", parameter.name)
		}
	}
	if !slices.Contains([]int{0, 2, 3}, parsed.Protocol) {
		return errors.New(`has the parameter "protocol", which must be 2 or 3`)
	}
	return nil
}
