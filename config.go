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

// Config is the configuration of a RateLimiter: a map, so that it can come from
// anywhere. Its keys are the constants that begin with Config, such as
// ConfigBackend for RATELIMITER_BACKEND. Each of them says which values it takes
// and what its default is. A nil value counts as absent. InitApp checks all of it
// and reports all faults at once.
//
//	config := ratelimiter.Config{
//		"RATELIMITER_BACKEND":         "redis",
//		"RATELIMITER_BACKEND_OPTIONS": map[string]any{"addr": "redis.example:6379"},
//		"RATELIMITER_DEFAULT_LIMITS":  "100/minute; 5/second",
//	}
//
// Keys are matched without regard to case, because many configuration libraries
// turn them to lower case. The same key in two spellings is an error.
//
// The map may be the application's own. Keys that do not begin with RATELIMITER_
// belong to others and are ignored. Two kinds of them are an error nevertheless,
// because they were probably meant for the rate limiter:
//
//   - a slip: a key that differs from one of these in no more than two characters,
//     such as RATELIMTER_BACKEND or ratelimiter.backend. RATELIMIT_ and
//     RATE_LIMITER_ at its beginning count as RATELIMITER_; RATE_LIMIT_ does not.
//   - a nested map, such as "ratelimiter" with the key "backend".
//
// Of the keys that begin with RATELIMITER_, two kinds are ignored: the variables
// that Kubernetes sets in each container for a service whose name begins with
// "ratelimiter" (RATELIMITER_REDIS_SERVICE_HOST, RATELIMITER_REDIS_PORT_6379_TCP
// and the like, and RATELIMITER_REDIS_PORT with a value such as
// tcp://10.0.0.11:6379), and RATELIMITER_TEST_..., which this project's tests use.
type Config map[string]any

// The keys of a Config.
const (
	// ConfigEnabled is a bool, true by default. If it is false, every request is
	// allowed. The configuration is still checked, but nothing is connected to: no
	// backend is made and none that was handed in is used, and RateLimiter.Backend
	// returns an empty one in memory. Options of a backend that was registered with
	// RegisterBackend are not checked then.
	ConfigEnabled = "RATELIMITER_ENABLED"

	// ConfigBackend says where the counters are kept. It is the name of a backend
	// ("memory", "redis", or one given to RegisterBackend), or a backends.Backend,
	// which Close leaves open. The default is "memory"; nil is an error here, as it
	// is what a backend is that could not be made.
	ConfigBackend = "RATELIMITER_BACKEND"

	// ConfigBackendOptions is a map[string]any with the options of the named
	// backend; none by default. See backends.NewMemory and backends.NewRedis.
	//
	// One option belongs to the limiter and exists for all backends but memory:
	// fallback_share, a number over 0 and up to 1, by default 1. It is the part of
	// each limit that this process enforces while it falls back on its own memory,
	// such as 0.025 for one of forty processes.
	ConfigBackendOptions = "RATELIMITER_BACKEND_OPTIONS"

	// ConfigKeyPrefix is a string, "rate_limit" by default, with which every key in
	// the backend begins. It may be empty. All applications that use one Redis with
	// the same prefix share the counters of equal keys, so each needs a prefix of
	// its own. If it is absent and the option client of backend redis is given, the
	// key CACHE_KEY_PREFIX of the same map takes its place.
	ConfigKeyPrefix = "RATELIMITER_KEY_PREFIX"

	// ConfigAlgorithm is how limits are counted unless WithAlgorithm says
	// otherwise: an Algorithm or its name ("sliding-window", "fixed-window",
	// "sliding-log" or "token-bucket"). The default is SlidingWindow.
	ConfigAlgorithm = "RATELIMITER_ALGORITHM"

	// ConfigDefaultLimits is a string such as "100/minute; 5/second", see
	// ParseLimits: the limits of every route that has no RateLimit of its own. The
	// default is "", none. Update changes it while the application runs.
	ConfigDefaultLimits = "RATELIMITER_DEFAULT_LIMITS"

	// ConfigApplicationLimits is a string of the same form: the limits of all
	// routes together. The default is "", none. Update changes it while the
	// application runs.
	ConfigApplicationLimits = "RATELIMITER_APPLICATION_LIMITS"

	// ConfigDefaultOptions is a []Option that applies to the default limits; none
	// by default. They are options of RateLimit: a scope, a skip, a cost, an algorithm, a
	// shadow, a ban, a wait and so on. WithKey, WithName, WithBurst, WithLimit,
	// WithDefaults and the options that leave something out do not suit, and are an
	// error, as are options that exclude each other.
	ConfigDefaultOptions = "RATELIMITER_DEFAULT_OPTIONS"

	// ConfigApplicationOptions is a []Option that applies to the application
	// limits; none by default. It takes what ConfigDefaultOptions takes. Options other
	// than WithCost, WithAlgorithm and WithShadow, in either key, make the two kinds of
	// limits two questions to the backend in place of one.
	ConfigApplicationOptions = "RATELIMITER_APPLICATION_OPTIONS"

	// ConfigHeaders says which headers responses have beside Retry-After, which is always
	// sent: a list of texts, or one text with commas. The default is "x, draft-11". WithHeaders overrides it.
	//
	//	x          X-RateLimit-Limit, X-RateLimit-Remaining, and X-RateLimit-Reset
	//	           in Unix seconds
	//	draft-11   RateLimit-Policy and RateLimit of
	//	           draft-ietf-httpapi-ratelimit-headers-11, one item for each limit
	//	draft-7    RateLimit-Policy, such as 100;w=60, and RateLimit of draft 7, such as
	//	           limit=100, remaining=50, reset=30
	//	draft-6    RateLimit-Policy as in draft-7, RateLimit-Limit,
	//	           RateLimit-Remaining, and RateLimit-Reset in seconds from now
	//	none       none of them
	//
	// Draft-7 and draft-11 exclude each other, as they write different things into the same
	// headers. With draft-6 and draft-11, RateLimit-Policy is that of draft-11.
	ConfigHeaders = "RATELIMITER_HEADERS"

	// ConfigInjectXHeaders is a bool: whether ConfigHeaders has x. It must not contradict
	// ConfigHeaders where both are given.
	ConfigInjectXHeaders = "RATELIMITER_INJECT_X_HEADERS"

	// ConfigInjectRateLimitHeaders is a bool: whether ConfigHeaders has draft-11, or with
	// ConfigHeaders any draft. It must not contradict ConfigHeaders where both are given.
	ConfigInjectRateLimitHeaders = "RATELIMITER_INJECT_RATELIMIT_HEADERS"

	// ConfigPartitionSecret is a string of 16 bytes or more; none by default. With
	// it the RateLimit headers have the parameter pk, an HMAC of key and scope: it
	// tells quotas apart without telling whose they are.
	ConfigPartitionSecret = "RATELIMITER_PARTITION_SECRET"

	// ConfigOverLimit is a gin.HandlerFunc or a func(*gin.Context) that answers
	// requests over any limit that has no WithOverLimit, also default and application
	// limits, who is banned and who has waited in vain. FromContext tells it about the limit. The
	// default is a problem document with status 429.
	ConfigOverLimit = "RATELIMITER_OVER_LIMIT"

	// ConfigOnError says what happens to a request that the backend does not
	// decide: "fallback" (the default) limits it in the memory of this process,
	// "allow" allows it, and "deny" answers 503. After five failures in a row the
	// backend is no longer asked, until it answers a probe; see backends.Breaker.
	ConfigOnError = "RATELIMITER_ON_ERROR"

	// ConfigFallbackLimits is a string such as "20/minute", see ParseLimits: limits that apply
	// beside all others while the backend is away and "fallback" decides, so that the
	// stricter counts. The default is "", none. Each client has them on each route, in the
	// memory of each process; who the client is, is as for the default limits: the
	// address, or what WithScope in ConfigDefaultOptions says. They reject no request that
	// would not have been rejected otherwise: one that is skipped, or met nothing but shadows
	// and limits that only observe. fallback_share does not divide them. They are an error
	// with ConfigOnError "allow" or "deny", and have no effect with the backend "memory".
	ConfigFallbackLimits = "RATELIMITER_FALLBACK_LIMITS"

	// ConfigOnUnavailable is a gin.HandlerFunc or a func(*gin.Context) that answers
	// requests which "deny" rejects, and all requests after Close. What the backend
	// failed with is in the Errors of the context. The default is a problem document with
	// status 503.
	ConfigOnUnavailable = "RATELIMITER_ON_UNAVAILABLE"

	// ConfigTimeout is the longest wait for a decision: a time.Duration or a string
	// such as "250ms", 1ms or more. The default is 100ms.
	ConfigTimeout = "RATELIMITER_TIMEOUT"

	// ConfigIPv6Prefix is an int from 1 to 128, by default 64: how many bits of an
	// IPv6 address identify a client.
	ConfigIPv6Prefix = "RATELIMITER_IPV6_PREFIX"

	// ConfigTimeZone is the time zone of calendar limits: a *time.Location, or a name such
	// as "Europe/Zurich", "UTC" or "Local". Where it is set, limits per day, week, month and
	// year in a list follow the calendar of the zone, such as the "10000/month" of RateLimits
	// and of the limits in the configuration, unless WithAlgorithm or WithBurst chose another
	// algorithm for them. Where it is not set, these limits count a month as 30 days, and
	// WithCalendar(nil) follows UTC.
	ConfigTimeZone = "RATELIMITER_TIME_ZONE"

	// ConfigObserver is an Observer or a []Observer, none by default, which are told
	// of every decision.
	ConfigObserver = "RATELIMITER_OBSERVER"
)

const (
	// keyPrefix is how all keys of a Config begin.
	keyPrefix = "RATELIMITER_"
	// cacheKeyPrefix is the key of another extension's prefix.
	cacheKeyPrefix = "CACHE_KEY_PREFIX"
)

// configKeys are all keys.
func configKeys() []string { return slices.Sorted(maps.Keys(environment)) }

// own returns what is meant for the rate limiter, by the constants above, and an
// error for every key that is misspelled or given twice.
func (config Config) own() (Config, error) {
	if config == nil {
		return nil, nil
	}
	own, spelled := Config{}, map[string]string{}
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(config)) {
		key, value := strings.ToUpper(name), config[name]
		if !strings.HasPrefix(key, keyPrefix) {
			faults = append(faults, slips(name, value)...)
			continue
		}
		if foreign(key, value) {
			continue
		}
		if other, twice := spelled[key]; twice {
			faults = append(faults, fmt.Errorf("%s is given twice, as %q and as %q; keep one of them", key, other, name))
		}
		own[key], spelled[key] = value, name
	}
	return own, errors.Join(faults...)
}

// slips returns an error if a key without our prefix was probably meant to have it,
// and one for each such key of a nested map.
func slips(name string, value any) (faults []error) {
	if key, found := nearlyKey(name); found {
		return []error{fmt.Errorf("%s is not known; did you mean %q?", name, key)}
	}
	nested := reflect.ValueOf(value)
	if nested.Kind() != reflect.Map {
		return nil
	}
	for _, inner := range nested.MapKeys() {
		if key, found := nearlyKey(fmt.Sprintf("%s.%v", name, inner)); found {
			faults = append(faults, fmt.Errorf("%s has the key %q, but nested maps are not read; write the key as %s in the map itself", name, fmt.Sprint(inner), key))
		}
	}
	return faults
}

// nearlyKey finds the key that differs from a name in two characters at most.
func nearlyKey(name string) (key string, found bool) {
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
// service, except NAME_PORT, which only its value tells from a slip.
var kubernetesVariable = regexp.MustCompile(`_SERVICE_HOST$|_SERVICE_PORT(_[A-Z0-9_]+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$`)

// foreign reports whether a key with our prefix is not meant for us.
func foreign(key string, value any) bool {
	text, isText := value.(string)
	return isText && (strings.HasPrefix(key, "RATELIMITER_TEST_") || kubernetesVariable.MatchString(key) ||
		strings.HasSuffix(key, "_PORT") && strings.Contains(text, "://"))
}

// cachePrefix returns the value of CACHE_KEY_PREFIX, in whatever case, or nil.
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
