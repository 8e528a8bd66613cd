//go:build !ratelimiter_noredis

package backends

import (
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/gin-ratelimiter/ratelimiter/internal/options"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// behaviourOptions are the options of NewRedis that do not concern the connection.
type behaviourOptions struct {
	localDenials bool
	lease        int
}

// behaviourNames are the names of these options, which may be combined with a client.
var behaviourNames = []string{"local_denials", "lease"}

func readBehaviour(read *options.Reader) behaviourOptions {
	return behaviourOptions{
		localDenials: read.Flag("local_denials", true),
		lease:        read.Integer("lease", 0, 0, 1_000_000),
	}
}

// redisClient creates a client from the options of NewRedis, or returns the one in the
// options; owned reports whether it was created. It does not connect.
func redisClient(given map[string]any) (client redis.UniversalClient, owned bool, behaviour behaviourOptions, err error) {
	if _, has := given["client"]; has {
		client, err = applicationClient(given)
		if err != nil {
			return nil, false, behaviour, err
		}
		read := newReader("redis", given)
		read.Value("client")
		behaviour = readBehaviour(read)
		return client, false, behaviour, read.Finish(everyName)
	}
	settings, behaviour, err := redisSettings(given)
	if err != nil {
		return nil, false, behaviour, err
	}
	return openClient(settings), true, behaviour, nil
}

// CheckRedisOptions returns the error that NewRedis would return for its options, without
// connecting to Redis.
func CheckRedisOptions(given map[string]any) error {
	if _, has := given["client"]; has {
		_, _, _, err := redisClient(given)
		return err
	}
	_, _, err := redisSettings(given)
	return err
}

// openClient is redis.NewUniversalClient, except that a Cluster client does not query a
// node for its commands: if the node hangs, that would block past any deadline.
func openClient(settings *redis.UniversalOptions) redis.UniversalClient {
	if settings.MasterName == "" && (settings.IsClusterMode || len(settings.Addrs) > 1) {
		cluster := settings.Cluster()
		cluster.DisableRoutingPolicies = true
		return redis.NewClusterClient(cluster)
	}
	return redis.NewUniversalClient(settings)
}

// countConnectionOptions returns how many options cannot be combined with a client.
func countConnectionOptions(given map[string]any) (others int) {
	for name := range given {
		if name != "client" && !slices.Contains(behaviourNames, name) {
			others++
		}
	}
	return others
}

// applicationClient returns the client in the options. Connection options would have no
// effect, so they are errors.
func applicationClient(given map[string]any) (redis.UniversalClient, error) {
	if others := countConnectionOptions(given); others > 0 {
		return nil, fmt.Errorf(`option "client" of backend "redis" is a connection of the application and cannot be combined with other connection options (%d given); remove them`, others)
	}
	client, ok := given["client"].(redis.UniversalClient)
	if value := reflect.ValueOf(client); !ok || value.Kind() == reflect.Pointer && value.IsNil() {
		return nil, fmt.Errorf(`option "client" of backend "redis" is a %T or nil; it must be a redis.UniversalClient from github.com/redis/go-redis/v9, such as a *redis.Client`, given["client"])
	}
	return client, nil
}

func redisSettings(given map[string]any) (*redis.UniversalOptions, behaviourOptions, error) {
	read := newReader("redis", given)
	behaviour := readBehaviour(read)
	read.Value("client") // registers the name as known
	settings := &redis.UniversalOptions{
		// A decision is never sent twice and never outlives its request.
		MaxRetries:            -1,
		ContextTimeoutEnabled: true,
		// The next request tries to connect again, so this one need not.
		DialerRetries: 1,
		// These features would require additional permissions on the server.
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	readURL(read, settings)
	readAddresses(read, settings)
	settings.DB = read.Integer("db", settings.DB, 0, math.MaxInt32)
	settings.Username = readCredential(read, "username", settings.Username)
	settings.Password = readCredential(read, "password", settings.Password)
	settings.SentinelUsername = readCredential(read, "sentinel_username", "")
	settings.SentinelPassword = readCredential(read, "sentinel_password", "")
	rejectIneffective(read, settings)
	readTLS(read, settings)
	settings.PoolSize = read.Integer("pool_size", settings.PoolSize, 1, 1<<20)
	settings.MinIdleConns = read.Integer("min_idle_conns", settings.MinIdleConns, 0, 1<<20)
	settings.PoolTimeout = read.Duration("pool_timeout", settings.PoolTimeout)
	settings.DialTimeout = read.Duration("dial_timeout", settings.DialTimeout)
	settings.ReadTimeout = read.Duration("read_timeout", settings.ReadTimeout)
	settings.WriteTimeout = read.Duration("write_timeout", settings.WriteTimeout)
	return settings, behaviour, read.Finish(everyName)
}

// readAddresses reads the address of Redis, which must be given in only one way.
func readAddresses(read *options.Reader, settings *redis.UniversalOptions) {
	settings.MasterName = read.Word("master_name", "")
	settings.IsClusterMode = read.Flag("cluster", false)
	if settings.MasterName != "" && settings.IsClusterMode {
		read.Reject(errors.New(`options "master_name" and "cluster" of backend "redis" cannot be combined: Sentinel watches a single master, not a Cluster`))
	}
	defaultPort := 6379
	if settings.MasterName != "" {
		defaultPort = 26379
	}
	host := read.Word("host", "127.0.0.1")
	if strings.Contains(host, "/") {
		read.Fault("host", host, `the name or address of a server; use option "url" for a URL`)
	}
	port := read.Integer("port", defaultPort, 1, 65535)
	addr := read.Word("addr", "")
	if addr != "" {
		checkAddress(read, "addr", addr)
	}
	addrs := read.Texts("addrs")
	for _, each := range addrs {
		checkAddress(read, "addrs", each)
	}
	ways := 0
	for _, given := range []bool{read.Given("url"), addr != "", len(addrs) > 0, read.Given("host") || read.Given("port")} {
		if given {
			ways++
		}
	}
	switch {
	case ways > 1:
		read.Reject(errors.New(`options "url", "addr", "addrs" and "host" with "port" of backend "redis" all set the address of Redis; use only one of them`))
	case read.Given("url"): // readURL has set the address
	case addr != "":
		settings.Addrs = []string{addr}
	case len(addrs) > 0:
		settings.Addrs = addrs
	default:
		settings.Addrs = []string{net.JoinHostPort(host, strconv.Itoa(port))}
	}
}

// rejectIneffective rejects options that the client would silently ignore.
func rejectIneffective(read *options.Reader, settings *redis.UniversalOptions) {
	if settings.DB != 0 && settings.MasterName == "" && (settings.IsClusterMode || len(settings.Addrs) > 1) {
		read.Reject(errors.New(`option "db" of backend "redis", or the database in its URL, has no effect with "cluster" or several "addrs", because a Cluster has only database 0; remove it`))
	}
	for _, name := range []string{"sentinel_username", "sentinel_password"} {
		if read.Given(name) && settings.MasterName == "" {
			read.Reject(fmt.Errorf(`option %q of backend "redis" has no effect without "master_name", because without it the addresses are not those of Sentinels; remove it, or set "master_name"`, name))
		}
	}
}

func checkAddress(read *options.Reader, option, addr string) {
	if strings.HasPrefix(addr, "/") {
		return // the path of a socket
	}
	host, port, _ := net.SplitHostPort(addr) // port is empty after an error
	number, err := strconv.Atoi(port)
	if err != nil || number < 1 || number > 65535 || strings.ContainsFunc(host, unicode.IsSpace) {
		read.Fault(option, addr, `an address with a port from 1 to 65535, such as "redis.example:6379", or the path of a socket`)
	}
}

// readCredential reads a string and removes a trailing line break, as from a file.
func readCredential(read *options.Reader, name, absent string) string {
	return strings.TrimRight(read.Text(name, absent), "\r\n")
}

func readTLS(read *options.Reader, settings *redis.UniversalOptions) {
	value, ok := read.Value("tls")
	if !ok {
		return
	}
	switch value := value.(type) {
	case bool:
		switch {
		case !value && settings.TLSConfig != nil:
			read.Reject(errors.New(`option "tls" of backend "redis" is false, but a rediss:// URL requires TLS; use redis://, or remove "tls"`))
		case value && settings.TLSConfig == nil:
			settings.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		}
	case *tls.Config:
		settings.TLSConfig = value
	default:
		read.Fault("tls", value, "true, false or a *tls.Config")
	}
}
