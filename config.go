package ratelimiter

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/internal/options"
)

// Config is the configuration: a map, so that it can come from anywhere. It may
// be the application's own map: keys that do not begin with RATELIMITER_ are
// left alone. These are known, with their types and defaults:
//
//	RATELIMITER_ENABLED                   bool; true. false lets every request through
//	RATELIMITER_BACKEND                   string, "memory"; the name of a backend, or a backends.Backend
//	RATELIMITER_BACKEND_OPTIONS           map[string]any, none; see backends.NewMemory and backends.NewRedis.
//	                                      For any other than memory it may also hold fallback_share, a number over
//	                                      0 and up to 1, default 1: the part of each limit that this process
//	                                      limits at while it falls back on its memory, as 0.025 for 40 processes
//	RATELIMITER_KEY_PREFIX                string, "rate_limit"; begins every key. When it is absent and the
//	                                      backend was given the application's own client, CACHE_KEY_PREFIX does
//	RATELIMITER_ALGORITHM                 string, "sliding-window", or an Algorithm
//	RATELIMITER_DEFAULT_LIMITS            string, none; limits of each route that has no RateLimit, as
//	                                      "100/minute; 5/second"
//	RATELIMITER_APPLICATION_LIMITS        string, none; limits of all routes together
//	RATELIMITER_INJECT_X_HEADERS          bool, true; X-RateLimit-Limit, -Remaining and -Reset
//	RATELIMITER_INJECT_RATELIMIT_HEADERS  bool, true; RateLimit-Policy and RateLimit
//	RATELIMITER_PARTITION_SECRET          string, none; 16 bytes or more. With it the RateLimit headers have the
//	                                      parameter pk: an HMAC of key and scope, which tells quotas apart
//	                                      without telling whose they are
//	RATELIMITER_ON_ERROR                  string, "fallback"; what happens when the backend fails: "fallback"
//	                                      limits in the memory of each process, "allow" lets requests through,
//	                                      "deny" answers 503. After five failures in a row that happens at
//	                                      once, until the backend answers a probe; see backends.Breaker
//	RATELIMITER_TIMEOUT                   time.Duration or text, 100ms; the longest wait for a decision
//	RATELIMITER_IPV6_PREFIX               int, 64; how many bits of an IPv6 address make a client, 1 to 128
//	RATELIMITER_OBSERVER                  an Observer or a []Observer, none; told of every decision
type Config map[string]any

const defaultTimeout = 100 * time.Millisecond

// shortestSecret is how many bytes a secret has at least.
const shortestSecret = 16

// probeKey is the key that a breaker charges, as people would write it.
const probeKey = "breaker"

// shareOption stands among the options of a backend, but is for the memory that
// is fallen back on.
const shareOption = "fallback_share"

// errorPolicy is what happens to a request that the backend cannot decide.
type errorPolicy string

const (
	onErrorFallback errorPolicy = "fallback"
	onErrorAllow    errorPolicy = "allow"
	onErrorDeny     errorPolicy = "deny"
)

// settings are a configuration that was checked.
type settings struct {
	enabled          bool
	backend          backends.Backend   // as configured
	breaker          *backends.Breaker  // before it; nil for one in the process, which cannot fail
	decider          backends.Backend   // the same, with what it falls back on
	closers          []backends.Backend // those that were made here
	prefix           string
	algorithm        Algorithm
	given            Config // what all this was read from
	limits           atomic.Pointer[configured]
	xHeaders         bool
	rateLimitHeaders bool
	secret           string // of partition keys; empty for none
	onError          errorPolicy
	timeout          time.Duration
	ipv6Prefix       int
	seen             seen             // for Status
	observers        []Observer       // those of the configuration
	observing        *observing       // all of them; of the RateLimiter
	local            backends.Backend // the memory that is fallen back on, nil for none
	lines            lines            // of those who wait for their turn
	closed           atomic.Bool
}

// check reads the whole configuration and makes the backend. All faults are
// reported at once.
func (config Config) check() (*settings, error) {
	read := &options.Reader{Values: config, Describe: func(name string) string { return name }}
	s := &settings{
		enabled:          read.Flag("RATELIMITER_ENABLED", true),
		algorithm:        readAlgorithm(read, "RATELIMITER_ALGORITHM"),
		xHeaders:         read.Flag("RATELIMITER_INJECT_X_HEADERS", true),
		rateLimitHeaders: read.Flag("RATELIMITER_INJECT_RATELIMIT_HEADERS", true),
		secret:           read.Text("RATELIMITER_PARTITION_SECRET", ""),
		onError:          errorPolicy(read.Text("RATELIMITER_ON_ERROR", string(onErrorFallback))),
		timeout:          read.Duration("RATELIMITER_TIMEOUT", defaultTimeout),
		ipv6Prefix:       read.Integer("RATELIMITER_IPV6_PREFIX", 64, 1, 128),
	}
	if s.secret != "" && len(s.secret) < shortestSecret {
		read.Reject(fmt.Errorf("RATELIMITER_PARTITION_SECRET has %d bytes (not shown here); it must have %d or more", len(s.secret), shortestSecret))
	}
	if s.timeout < time.Millisecond {
		read.Fault("RATELIMITER_TIMEOUT", s.timeout.String(), "1ms or more; a bare number counts nanoseconds")
	}
	if !slices.Contains([]errorPolicy{onErrorFallback, onErrorAllow, onErrorDeny}, s.onError) {
		read.Fault("RATELIMITER_ON_ERROR", string(s.onError), `"fallback", "allow" or "deny"`)
	}
	s.observers = readObservers(read)
	s.given = maps.Clone(config)
	s.limits.Store(newConfigured(readLimits(read, defaultLimitsKey), readLimits(read, applicationLimitsKey)))
	s.prefix = readPrefix(read)
	backend, given := read.Value("RATELIMITER_BACKEND")
	backendOptions := read.Map("RATELIMITER_BACKEND_OPTIONS")
	if _, isNil := config["RATELIMITER_BACKEND"]; !given && isNil {
		read.Reject(fmt.Errorf("RATELIMITER_BACKEND is nil; it must be the name of a backend (%s) or a backends.Backend, or be left out", backendNames()))
	}
	if !given {
		backend = defaultBackend
	}
	if _, ok := backend.(string); !ok && len(backendOptions) > 0 {
		read.Reject(errors.New("RATELIMITER_BACKEND_OPTIONS cannot change a backend that is made already; leave them out, or give RATELIMITER_BACKEND a name"))
	}
	if err := read.Finish(func(name string) bool { return strings.HasPrefix(name, "RATELIMITER_") }); err != nil {
		return nil, fmt.Errorf("the rate limiter's configuration is wrong: %w", err)
	}
	if err := s.open(backend, backendOptions); err != nil {
		return nil, fmt.Errorf("the rate limiter's configuration is wrong: %w", errors.Join(err, s.close()))
	}
	return s, nil
}

// open makes the backend, and what stands before it.
func (s *settings) open(backend any, backendOptions map[string]any) error {
	share := 0.0
	switch backend := backend.(type) {
	case backends.Backend:
		if value := reflect.ValueOf(backend); value.Kind() == reflect.Pointer && value.IsNil() {
			return fmt.Errorf("RATELIMITER_BACKEND is a nil %T; make it first", backend)
		}
		s.backend = backend
	case string:
		factory, err := findBackend(backend)
		if err != nil {
			return err
		}
		if share, backendOptions, err = takeShare(backend, backendOptions); err != nil {
			return fmt.Errorf("RATELIMITER_BACKEND_OPTIONS: %w", err)
		}
		if s.backend, err = factory(backendOptions); err != nil {
			return fmt.Errorf("RATELIMITER_BACKEND_OPTIONS: %w", err)
		}
		if s.backend == nil {
			return fmt.Errorf("the factory of backend %q returned neither a backend nor an error", backend)
		}
		s.closers = append(s.closers, s.backend)
	default:
		return fmt.Errorf("RATELIMITER_BACKEND is a %T; it must be the name of a backend (%s) or a backends.Backend", backend, backendNames())
	}
	return s.guard(share)
}

// guard puts a breaker before a backend that may fail, and memory to fall back
// on behind it. A share of 0 was not given.
func (s *settings) guard(share float64) error {
	s.decider = s.backend
	inProcess := backends.InProcess(s.backend)
	if share > 0 && (inProcess || s.onError != onErrorFallback) {
		return fmt.Errorf(`RATELIMITER_BACKEND_OPTIONS: option %q has no effect where nothing is fallen back on; leave it out, or use a backend such as "redis" and RATELIMITER_ON_ERROR "fallback"`, shareOption)
	}
	if inProcess {
		return nil
	}
	s.breaker = backends.NewBreaker(s.backend, s.timeout, s.storedKey(probeKey))
	s.decider = s.breaker
	if s.onError != onErrorFallback {
		return nil
	}
	local, err := backends.NewMemory(nil)
	if err != nil {
		return err
	}
	s.closers, s.local = append(s.closers, local), local
	if share > 0 {
		local = backends.NewShare(local, share)
	}
	s.decider = backends.NewFallback(s.breaker, local)
	return nil
}

// close closes what open has made, and no backend that was handed in.
func (s *settings) close() error {
	s.closed.Store(true)
	s.lines.close()
	if s.breaker != nil {
		s.breaker.Stop()
	}
	var failed error
	for _, backend := range s.closers {
		failed = errors.Join(failed, backend.Close())
	}
	return failed
}

func readAlgorithm(read *options.Reader, name string) Algorithm {
	value, ok := read.Value(name)
	if !ok {
		return SlidingWindow
	}
	switch value := value.(type) {
	case Algorithm:
		if value.Valid() {
			return value
		}
	case string:
		if algorithm, err := backends.ParseAlgorithm(value); err == nil {
			return algorithm
		}
	}
	read.Fault(name, value, "one of "+backends.AlgorithmNames())
	return SlidingWindow
}

func readLimits(read *options.Reader, name string) []Limit {
	text := read.Text(name, "")
	if text == "" {
		return nil
	}
	limits, err := ParseLimits(text)
	if err != nil {
		read.Reject(fmt.Errorf("%s: %w", name, err))
	}
	return limits
}

// takeShare takes fallback_share, 0 if it is absent, out of a backend's options.
func takeShare(backend string, given map[string]any) (share float64, rest map[string]any, err error) {
	if _, has := given[shareOption]; !has {
		return 0, given, nil
	}
	read := &options.Reader{
		Values:   given,
		Describe: func(name string) string { return fmt.Sprintf("option %q of backend %q", name, backend) },
	}
	share = read.Fraction(shareOption, 0)
	rest = maps.Clone(given)
	delete(rest, shareOption)
	return share, rest, read.Finish(func(string) bool { return false })
}

func readPrefix(read *options.Reader) string {
	const usual = "rate_limit"
	given, _ := read.Values["RATELIMITER_BACKEND_OPTIONS"].(map[string]any)
	if given["client"] != nil && !read.Given("RATELIMITER_KEY_PREFIX") {
		return read.Text("CACHE_KEY_PREFIX", usual)
	}
	return read.Text("RATELIMITER_KEY_PREFIX", usual)
}

// environment tells how each key is written in an environment variable.
var environment = map[string]func(string) (any, error){
	"RATELIMITER_ENABLED":                  parseFlag,
	"RATELIMITER_BACKEND":                  parseText,
	"RATELIMITER_BACKEND_OPTIONS":          parseBackendOptions,
	"RATELIMITER_KEY_PREFIX":               parseText,
	"RATELIMITER_ALGORITHM":                parseText,
	"RATELIMITER_DEFAULT_LIMITS":           parseText,
	"RATELIMITER_APPLICATION_LIMITS":       parseText,
	"RATELIMITER_INJECT_X_HEADERS":         parseFlag,
	"RATELIMITER_INJECT_RATELIMIT_HEADERS": parseFlag,
	"RATELIMITER_PARTITION_SECRET":         parseText,
	"RATELIMITER_ON_ERROR":                 parseText,
	"RATELIMITER_TIMEOUT":                  parseText,
	"RATELIMITER_IPV6_PREFIX":              parseWhole,
}

// ConfigFromEnv reads the configuration from the environment variables of the
// same names. An empty variable counts as absent. RATELIMITER_BACKEND_OPTIONS
// is a JSON object or a redis:// URL.
//
// An unknown RATELIMITER_ variable is an error, but for those that Kubernetes
// makes for a service named ratelimiter (RATELIMITER_PORT..., and
// RATELIMITER_SERVICE_...) and those of tests (RATELIMITER_TEST_...). What the
// values mean is checked by InitApp.
func ConfigFromEnv() (Config, error) {
	config := Config{}
	var faults []error
	for _, variable := range os.Environ() {
		name, text, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, "RATELIMITER_") || foreignVariable(name) || text == "" {
			continue
		}
		parse, known := environment[name]
		if !known {
			faults = append(faults, fmt.Errorf("%s is not known; %s", name, options.Suggest(name, environmentNames())))
			continue
		}
		value, err := parse(text)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s %w", name, err))
			continue
		}
		config[name] = value
	}
	if len(faults) > 0 {
		return nil, fmt.Errorf("the rate limiter's environment is wrong: %w", errors.Join(faults...))
	}
	return config, nil
}

func foreignVariable(name string) bool {
	for _, prefix := range []string{"RATELIMITER_TEST_", "RATELIMITER_PORT", "RATELIMITER_SERVICE_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

func environmentNames() []string {
	names := make([]string, 0, len(environment))
	for name := range environment {
		names = append(names, name)
	}
	return names
}

func parseText(text string) (any, error) { return text, nil }

func parseFlag(text string) (any, error) {
	flag, err := strconv.ParseBool(text)
	if err != nil {
		return nil, fmt.Errorf("is %q; it must be true or false", text)
	}
	return flag, nil
}

func parseWhole(text string) (any, error) {
	number, err := strconv.Atoi(text)
	if err != nil {
		return nil, fmt.Errorf("is %q; it must be a whole number", text)
	}
	return number, nil
}

// parseBackendOptions does not repeat the text in an error: it may hold a password.
func parseBackendOptions(text string) (any, error) {
	for _, scheme := range []string{"redis://", "rediss://", "unix://"} {
		if strings.HasPrefix(text, scheme) {
			return map[string]any{"url": text}, nil
		}
	}
	var given map[string]any
	if err := json.Unmarshal([]byte(text), &given); err != nil || given == nil {
		return nil, errors.New(`must be a JSON object, as {"host": "redis.example", "port": 6379}, or a URL, as redis://redis.example:6379/0 (its value is not shown here)`)
	}
	return given, nil
}
