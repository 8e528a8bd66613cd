package ratelimiter

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/gin-ratelimiter/ratelimiter/internal/options"
)

// Config is the configuration of a RateLimiter, as a map. Its keys are the constants that
// begin with Config, such as ConfigBackend for RATELIMITER_BACKEND; each constant
// documents its type and default. A nil value counts as absent. InitApp checks the whole
// map and reports all mistakes at once.
//
//	config := ratelimiter.Config{
//		"RATELIMITER_BACKEND":         "redis",
//		"RATELIMITER_BACKEND_OPTIONS": map[string]any{"addr": "redis.example:6379"},
//		"RATELIMITER_DEFAULT_LIMITS":  "100/minute; 5/second",
//	}
//
// Keys are not case-sensitive, because many configuration libraries convert them to lower
// case. A key that occurs in two spellings is an error.
//
// The map may contain the application's own keys. Keys that do not begin with
// RATELIMITER_ are ignored, except for two kinds that were probably meant for the rate
// limiter and are reported as errors:
//
//   - a misspelled key, which differs from a known key in at most two characters, such as
//     RATELIMTER_BACKEND or ratelimiter.backend. The prefixes RATELIMIT_ and
//     RATE_LIMITER_ are treated as RATELIMITER_ here; RATE_LIMIT_ is not.
//   - a nested map, such as "ratelimiter" with the key "backend".
//
// Two kinds of keys that begin with RATELIMITER_ are ignored too: the variables that
// Kubernetes sets for a service whose name begins with "ratelimiter"
// (RATELIMITER_REDIS_SERVICE_HOST, RATELIMITER_REDIS_PORT_6379_TCP and so on, and
// RATELIMITER_REDIS_PORT with a value such as tcp://10.0.0.11:6379), and
// RATELIMITER_TEST_..., which the tests of this project use.
type Config map[string]any

// The keys of a Config.
const (
	// ConfigEnabled is a bool; the default is true. If it is false, every request is
	// allowed and nothing is connected to: InitApp neither creates a backend nor uses one
	// that was passed in, and RateLimiter.Backend returns an empty memory backend. The
	// configuration is still checked, except for the options of a backend that was
	// registered with RegisterBackend.
	ConfigEnabled = "RATELIMITER_ENABLED"

	// ConfigBackend is where the counters are kept: the name of a backend ("memory",
	// "redis" or a name given to RegisterBackend) or a backends.Backend. The default is
	// "memory". Close does not close a backends.Backend that was passed in. Unlike for
	// other keys, nil is an error, because it usually is a backend that could not be
	// created.
	ConfigBackend = "RATELIMITER_BACKEND"

	// ConfigBackendOptions is a map[string]any with the options of the named backend; the
	// default is no options. See backends.NewMemory and backends.NewRedis.
	//
	// In addition, every backend except memory accepts fallback_share, a number over 0
	// and at most 1; the default is 1. It is the share of each limit that this process
	// enforces while it counts in its own memory during an outage: 0.025 for one of forty
	// processes, for example.
	ConfigBackendOptions = "RATELIMITER_BACKEND_OPTIONS"

	// ConfigKeyPrefix is a string with which every key in the backend begins. The default
	// is "rate_limit"; it may be empty. Applications that use the same Redis and the same
	// prefix share their counters, so give each application its own prefix. If this key
	// is absent and the Redis backend has the option client, CACHE_KEY_PREFIX from the
	// same map is used instead.
	ConfigKeyPrefix = "RATELIMITER_KEY_PREFIX"

	// ConfigAlgorithm is the algorithm of all limits without WithAlgorithm: an Algorithm
	// or its name ("sliding-window", "fixed-window", "sliding-log" or "token-bucket").
	// The default is SlidingWindow.
	ConfigAlgorithm = "RATELIMITER_ALGORITHM"

	// ConfigDefaultLimits is a string such as "100/minute; 5/second"; see ParseLimits.
	// These limits apply to every route that has no RateLimit of its own, and each route
	// counts separately. The default is "", no limits. Update can change it while the
	// application runs.
	ConfigDefaultLimits = "RATELIMITER_DEFAULT_LIMITS"

	// ConfigApplicationLimits is a string such as "1000/hour"; see ParseLimits. These
	// limits apply to all routes together. The default is "", no limits. Update can
	// change it while the application runs.
	ConfigApplicationLimits = "RATELIMITER_APPLICATION_LIMITS"

	// ConfigDefaultOptions is a []Option that applies to the default limits; the default
	// is no options. It accepts the options of RateLimit except WithKey, WithName,
	// WithBurst, WithLimit, WithDefaults, WithoutDefaults, WithoutApplication and
	// WithoutGroup. An option that does not fit is an error, and so are options that
	// exclude each other.
	ConfigDefaultOptions = "RATELIMITER_DEFAULT_OPTIONS"

	// ConfigApplicationOptions is a []Option that applies to the application limits; the
	// default is no options. It accepts the same options as ConfigDefaultOptions. If
	// either list contains anything but WithCost, WithAlgorithm and WithShadow, default
	// and application limits take two calls to the backend instead of one.
	ConfigApplicationOptions = "RATELIMITER_APPLICATION_OPTIONS"

	// ConfigHeaders selects the response headers: a string with commas or a list of
	// strings. The default is "x, draft-11". WithHeaders overrides it for one RateLimit.
	// Retry-After is always sent with a rejection.
	//
	//	x          X-RateLimit-Limit, X-RateLimit-Remaining, and X-RateLimit-Reset
	//	           in Unix seconds
	//	draft-11   RateLimit-Policy and RateLimit of
	//	           draft-ietf-httpapi-ratelimit-headers-11, one item for each limit
	//	draft-7    RateLimit-Policy, such as 100;w=60, and RateLimit of draft 7, such as
	//	           limit=100, remaining=50, reset=30
	//	draft-6    RateLimit-Policy as in draft-7, RateLimit-Limit,
	//	           RateLimit-Remaining, and RateLimit-Reset in seconds from now
	//	none       no headers
	//
	// draft-7 and draft-11 cannot be combined, because they use the same header names. If
	// draft-6 and draft-11 are combined, RateLimit-Policy has the format of draft-11.
	ConfigHeaders = "RATELIMITER_HEADERS"

	// ConfigInjectXHeaders is a bool; the default is true. It switches the headers "x" of
	// ConfigHeaders on or off. It is an error if it contradicts ConfigHeaders.
	ConfigInjectXHeaders = "RATELIMITER_INJECT_X_HEADERS"

	// ConfigInjectRateLimitHeaders is a bool; the default is true. It switches the
	// headers "draft-11" of ConfigHeaders on or off. If ConfigHeaders is given too, this
	// key has to be true if ConfigHeaders contains a draft, and false if it does not.
	ConfigInjectRateLimitHeaders = "RATELIMITER_INJECT_RATELIMIT_HEADERS"

	// ConfigPartitionSecret is a string of at least 16 bytes; the default is "", no
	// secret. With a secret, the RateLimit headers carry the parameter pk, an HMAC of key
	// and scope. It lets a client distinguish quotas without revealing whose they are.
	ConfigPartitionSecret = "RATELIMITER_PARTITION_SECRET"

	// ConfigOverLimit is a gin.HandlerFunc or a func(*gin.Context) that answers every
	// rejected request, including requests of banned clients and requests that waited
	// first, unless the limit has WithOverLimit. The handler can read the limit with
	// FromContext. The default is a problem document with status 429.
	ConfigOverLimit = "RATELIMITER_OVER_LIMIT"

	// ConfigOnError is a string that says what happens to a request if the backend fails:
	// "fallback" counts in the memory of this process, "allow" allows the request, and
	// "deny" answers 503. The default is "fallback". After five failures in a row the
	// backend is not called again until it answers a probe; see backends.Breaker.
	ConfigOnError = "RATELIMITER_ON_ERROR"

	// ConfigFallbackLimits is a string such as "20/minute"; see ParseLimits. While the
	// backend is unavailable and ConfigOnError is "fallback", these limits apply in
	// addition to all others. The default is "", no limits.
	//
	// Each process counts them in its own memory, separately for each route and each
	// client. A client is an IP address, or what WithScope in ConfigDefaultOptions
	// returns. They do not apply to requests that no other limit could have rejected:
	// skipped requests, and requests that only met limits that never reject (WithShadow,
	// WithObserveOnly). fallback_share does not reduce them. They are an error if
	// ConfigOnError is "allow" or "deny", and have no effect with the backend "memory".
	ConfigFallbackLimits = "RATELIMITER_FALLBACK_LIMITS"

	// ConfigOnUnavailable is a gin.HandlerFunc or a func(*gin.Context) that answers
	// requests that "deny" rejects, and all requests after Close. The error of the
	// backend is in the Errors of the context. The default is a problem document with
	// status 503.
	ConfigOnUnavailable = "RATELIMITER_ON_UNAVAILABLE"

	// ConfigTimeout is the longest wait for a decision of the backend: a time.Duration or
	// a string such as "250ms". The default is 100ms, the minimum 1ms.
	ConfigTimeout = "RATELIMITER_TIMEOUT"

	// ConfigIPv6Prefix is an int from 1 to 128: the number of leading bits of an IPv6
	// address that identify a client. The default is 64.
	ConfigIPv6Prefix = "RATELIMITER_IPV6_PREFIX"

	// ConfigTimeZone is the time zone of calendar limits: a *time.Location or a name such
	// as "Europe/Zurich", "UTC" or "Local". The default is UTC for WithCalendar(nil), and
	// no calendar for all other limits.
	//
	// If it is set, limits per day, week, month and year in a list follow the calendar of
	// this zone, unless WithAlgorithm or WithBurst selects another algorithm for them. A
	// list is the argument of RateLimits or a list of limits in this configuration. If it
	// is not set, a month in a list is 30 days.
	ConfigTimeZone = "RATELIMITER_TIME_ZONE"

	// ConfigObserver is an Observer or a []Observer that receives every decision; the
	// default is none.
	ConfigObserver = "RATELIMITER_OBSERVER"
)

const (
	// keyPrefix begins every key of a Config.
	keyPrefix = "RATELIMITER_"
	// cacheKeyPrefix is the key of Flask-Cache that readPrefix honours.
	cacheKeyPrefix = "CACHE_KEY_PREFIX"
)

// configKeys returns the known keys in sorted order.
func configKeys() []string { return slices.Sorted(maps.Keys(environment)) }

// own returns the entries that belong to the rate limiter, under the names of the
// constants. It returns an error for every key that is misspelled or given twice.
func (config Config) own() (Config, error) {
	if config == nil {
		return nil, nil
	}
	own, spelled := Config{}, map[string]string{}
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(config)) {
		key, value := strings.ToUpper(name), config[name]
		if !strings.HasPrefix(key, keyPrefix) {
			faults = append(faults, misspellings(name, value)...)
			continue
		}
		if isForeign(key, value) {
			continue
		}
		if other, twice := spelled[key]; twice {
			faults = append(faults, fmt.Errorf("%s is given twice, as %q and as %q; keep one of them", key, other, name))
		}
		own[key], spelled[key] = value, name
	}
	return own, errors.Join(faults...)
}

// misspellings reports a key without our prefix that was probably meant to have it, and
// every such key in a nested map.
func misspellings(name string, value any) (faults []error) {
	if key, found := nearestKey(name); found {
		return []error{fmt.Errorf("%s is not known; did you mean %q?", name, key)}
	}
	nested := reflect.ValueOf(value)
	if nested.Kind() != reflect.Map {
		return nil
	}
	for _, inner := range nested.MapKeys() {
		if key, found := nearestKey(fmt.Sprintf("%s.%v", name, inner)); found {
			faults = append(faults, fmt.Errorf("%s has the key %q, but nested maps are not read; write the key as %s in the map itself", name, fmt.Sprint(inner), key))
		}
	}
	return faults
}

// nearestKey finds the known key that differs from a name in at most two characters.
func nearestKey(name string) (key string, found bool) {
	name = strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToUpper(r)
		}
		return '_'
	}, name)
	for _, slip := range []string{"RATELIMIT_", "RATE_LIMITER_"} {
		if rest, has := strings.CutPrefix(name, slip); has {
			name = keyPrefix + rest
		}
	}
	return options.Within(2, name, configKeys())
}

// kubernetesVariable matches the names of the variables that Kubernetes sets for a
// service. NAME_PORT is missing here: only its value distinguishes it from a misspelled
// key.
var kubernetesVariable = regexp.MustCompile(`_SERVICE_HOST$|_SERVICE_PORT(_[A-Z0-9_]+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$`)

// isForeign reports whether a key with our prefix belongs to something else.
func isForeign(key string, value any) bool {
	text, isText := value.(string)
	return isText && (strings.HasPrefix(key, "RATELIMITER_TEST_") || kubernetesVariable.MatchString(key) ||
		strings.HasSuffix(key, "_PORT") && strings.Contains(text, "://"))
}

// cachePrefix returns the value of CACHE_KEY_PREFIX in any spelling, or nil.
func (config Config) cachePrefix() (any, error) {
	var found any
	var spelled []string
	for name, value := range config {
		if strings.ToUpper(name) == cacheKeyPrefix {
			found, spelled = value, append(spelled, name)
		}
	}
	if len(spelled) > 1 {
		slices.Sort(spelled)
		return nil, fmt.Errorf("%s is given more than once, as %s; keep one of them, or give %s", cacheKeyPrefix, strings.Join(spelled, ", "), ConfigKeyPrefix)
	}
	return found, nil
}
