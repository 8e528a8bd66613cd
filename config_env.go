package ratelimiter

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/gin-ratelimiter/ratelimiter/internal/options"
)

// environment contains the parser of each key in the environment. It is nil for values
// that only exist in Go.
var environment = map[string]func(text string) (any, error){
	ConfigEnabled:                parseBool,
	ConfigBackend:                parseString,
	ConfigBackendOptions:         parseBackendOptions,
	ConfigKeyPrefix:              parseString,
	ConfigAlgorithm:              parseString,
	ConfigDefaultLimits:          parseString,
	ConfigApplicationLimits:      parseString,
	ConfigDefaultOptions:         nil,
	ConfigApplicationOptions:     nil,
	ConfigHeaders:                parseString,
	ConfigInjectXHeaders:         parseBool,
	ConfigInjectRateLimitHeaders: parseBool,
	ConfigPartitionSecret:        parseString,
	ConfigOverLimit:              nil,
	ConfigOnError:                parseString,
	ConfigFallbackLimits:         parseString,
	ConfigOnUnavailable:          nil,
	ConfigTimeout:                parseString,
	ConfigIPv6Prefix:             parseInteger,
	ConfigTimeZone:               parseString,
	ConfigObserver:               nil,
}

// ConfigFromEnv reads the configuration from environment variables with the names of the
// keys, such as RATELIMITER_BACKEND. A bool is "true" or "false", and
// RATELIMITER_BACKEND_OPTIONS is a JSON object or a redis:// URL. An empty variable
// counts as absent. InitApp validates the values.
//
// Names are matched as in a Config: they are not case-sensitive, and the variables that
// Kubernetes sets for services are ignored. ConfigFromEnv returns an error for an unknown
// RATELIMITER_ variable, for a misspelled name such as RATELIMIT_BACKEND, and for a key
// that has no text form, such as RATELIMITER_OBSERVER.
func ConfigFromEnv() (Config, error) {
	given := Config{}
	for _, variable := range os.Environ() {
		if name, text, _ := strings.Cut(variable, "="); text != "" {
			given[name] = text
		}
	}
	own, err := given.own()
	faults := []error{err}
	config := Config{}
	for _, name := range slices.Sorted(maps.Keys(own)) {
		value, err := parseVariable(name, own[name].(string))
		if err != nil {
			faults = append(faults, fmt.Errorf("%s %w", name, err))
			continue
		}
		config[name] = value
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("the rate limiter's environment is wrong: %w", err)
	}
	return config, nil
}

func parseVariable(name, text string) (any, error) {
	parse, known := environment[name]
	switch {
	case !known:
		return nil, fmt.Errorf("is not known; %s", options.Suggest(name, configKeys()))
	case parse == nil:
		return nil, errors.New("cannot be set in the environment; set it in the Config that ConfigFromEnv returns")
	}
	return parse(text)
}

func parseString(text string) (any, error) { return text, nil }

func parseBool(text string) (any, error) {
	flag, err := strconv.ParseBool(strings.TrimSpace(text))
	if err != nil {
		return nil, fmt.Errorf("is %q; it must be true or false", text)
	}
	return flag, nil
}

func parseInteger(text string) (any, error) {
	number, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		return nil, fmt.Errorf("is %q; it must be a whole number", text)
	}
	return number, nil
}

// parseBackendOptions does not quote the text in an error, because it may contain a
// password. The backend validates the URL.
func parseBackendOptions(text string) (any, error) {
	text = strings.TrimSpace(text)
	if !strings.HasPrefix(text, "{") && strings.Contains(text, "://") {
		return map[string]any{"url": text}, nil
	}
	var given map[string]any
	if err := json.Unmarshal([]byte(text), &given); err != nil || given == nil {
		return nil, errors.New(`must be a JSON object, such as {"host": "redis.example", "port": 6379}, or a URL, such as redis://redis.example:6379/0 (its value is not shown here)`)
	}
	return given, nil
}
