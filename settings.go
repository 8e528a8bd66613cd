package ratelimiter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/internal/inprogress"
	"github.com/gin-ratelimiter/ratelimiter/internal/options"
	"github.com/gin-ratelimiter/ratelimiter/internal/queue"
)

const (
	defaultTimeout = 100 * time.Millisecond
	// startTimeout is how long InitApp waits for a backend that does not answer.
	startTimeout = time.Second
	// minSecret is the minimum length of ConfigPartitionSecret in bytes.
	minSecret = 16
	// probeKey is the key that the circuit breaker charges, without the prefix.
	probeKey = "breaker"
)

// errorPolicy is the value of ConfigOnError.
type errorPolicy string

const (
	onErrorFallback errorPolicy = "fallback"
	onErrorAllow    errorPolicy = "allow"
	onErrorDeny     errorPolicy = "deny"
)

// settings holds a checked configuration and the resources that were opened for it.
type settings struct {
	enabled            bool
	backend            backends.Backend   // as configured; an empty memory backend if not enabled
	breaker            *backends.Breaker  // wraps backend; nil for memory, which cannot fail
	decider            backends.Backend   // used by requests: the breaker or backend, with its fallback
	local              backends.Backend   // the memory used during an outage; nil without fallback
	closers            []backends.Backend // backends that were created here and not passed in
	prefix             string
	algorithm          Algorithm
	given              Config // the given entries, by their constants
	limits             atomic.Pointer[configured]
	defaultOptions     []Option        // for the default limits
	applicationOptions []Option        // for the application limits
	sent               headerSet       // headers of every response
	switchedOn         headerSet       // headers of a RateLimit with WithHeaders(true)
	secret             string          // for partition keys; "" for none
	overLimit          gin.HandlerFunc // nil for the problem document
	onError            errorPolicy
	fallbackLimits     []Limit         // additional limits during an outage
	fallbackRule       *rule           // the rule of fallbackLimits; nil for none
	onUnavailable      gin.HandlerFunc // nil for the problem document
	timeout            time.Duration
	ipv6Prefix         int
	timeZone           *time.Location
	timeZoneGiven      bool
	observers          []Observer          // from the configuration
	memory             *backends.Memory    // the backend if it is a memory backend, else nil
	queues             queue.Queues        // requests that wait for their turn
	slots              inprogress.Counters // requests in progress
	bans               bansByHand
	closed             atomic.Bool
}

// check validates the configuration and opens the backend. It reports all mistakes at
// once.
func (config Config) check() (*settings, error) {
	own, err := config.own()
	read := &options.Reader{Values: own, Describe: func(name string) string { return name }}
	if err != nil {
		read.Reject(err)
	}
	s := &settings{
		enabled:            read.Flag(ConfigEnabled, true),
		prefix:             readPrefix(read, config),
		algorithm:          readAlgorithm(read),
		given:              own,
		defaultOptions:     readOptions(read, ConfigDefaultOptions),
		applicationOptions: readOptions(read, ConfigApplicationOptions),
		secret:             readSecret(read),
		overLimit:          readHandler(read, ConfigOverLimit),
		onError:            readErrorPolicy(read),
		fallbackLimits:     readLimits(read, ConfigFallbackLimits),
		onUnavailable:      readHandler(read, ConfigOnUnavailable),
		timeout:            readTimeout(read),
		ipv6Prefix:         read.Integer(ConfigIPv6Prefix, 64, 1, 128),
		timeZone:           readTimeZone(read),
		timeZoneGiven:      read.Given(ConfigTimeZone),
		observers:          readObservers(read),
	}
	s.sent, s.switchedOn = readHeaders(read)
	limits, err := newConfigured(readLimits(read, ConfigDefaultLimits), readLimits(read, ConfigApplicationLimits), s.defaultOptions, s.applicationOptions)
	if err != nil {
		read.Reject(err)
	}
	s.limits.Store(limits)
	if err == nil {
		s.fallbackRule = newFallbackRule(s.fallbackLimits, s.defaultOptions)
	}
	chosen := readBackend(read)
	err = read.Finish(func(string) bool { return true })
	if err == nil {
		err = s.open(chosen)
	}
	if err != nil {
		return nil, fmt.Errorf("the rate limiter's configuration is wrong: %w", errors.Join(err, s.close()))
	}
	return s, nil
}

// open opens the backend with its breaker and its fallback.
func (s *settings) open(chosen backendChoice) error {
	if !s.enabled {
		return s.openNothing(chosen)
	}
	started := time.Now()
	var err error
	if s.backend, err = chosen.open(); err != nil {
		return err
	}
	if chosen.made == nil {
		s.closers = append(s.closers, s.backend)
	}
	ctx, cancel := context.WithDeadline(context.Background(), started.Add(startTimeout))
	defer cancel()
	if err := backends.CheckAccess(ctx, s.backend, s.prefixed(probeKey)); err != nil {
		return fmt.Errorf("%s, for keys that begin with %q: %w", ConfigBackend, s.prefixed(""), err)
	}
	s.begin(ctx)
	return s.guard(chosen)
}

// openNothing is open for a limiter that is not enabled. It checks the options of the
// backend and uses an empty memory backend instead, so that Reset, Status and similar
// calls need no special case.
func (s *settings) openNothing(chosen backendChoice) (err error) {
	if err = errors.Join(chosen.check(), s.checkFallback(chosen, chosen.name == defaultBackend)); err != nil {
		return err
	}
	if s.backend, err = backends.NewMemory(nil); err != nil {
		return err
	}
	s.closers = []backends.Backend{s.backend}
	s.decider = s.backend
	return nil
}

// checkFallback rejects settings that only make sense with a fallback if there is none.
// Fallback limits are accepted for a memory backend, which cannot fail, so that another
// backend can be selected by changing a single key.
func (s *settings) checkFallback(chosen backendChoice, inProcess bool) error {
	if s.fallbackRule != nil && s.onError != onErrorFallback {
		return fmt.Errorf(`%s has no effect with %s %q; remove it, or set %[2]s to "fallback"`, ConfigFallbackLimits, ConfigOnError, s.onError)
	}
	if chosen.share > 0 && (inProcess || s.onError != onErrorFallback) {
		return chosen.fault(fmt.Errorf(`option %q has no effect without a fallback; remove it, or use a backend such as "redis" with %s "fallback"`, shareOption, ConfigOnError))
	}
	return nil
}

// guard wraps a backend that may fail in a circuit breaker and adds the fallback.
func (s *settings) guard(chosen backendChoice) error {
	s.decider = s.backend
	s.memory, _ = s.backend.(*backends.Memory)
	inProcess := s.memory != nil
	if err := s.checkFallback(chosen, inProcess); err != nil || inProcess {
		return err
	}
	s.breaker = backends.NewBreaker(s.backend, s.timeout, s.prefixed(probeKey))
	s.decider = s.breaker
	if s.onError != onErrorFallback {
		s.slots.Share(s.breaker, nil)
		return nil
	}
	s.slots.Share(s.breaker, chosen.localLimit)
	local, err := backends.NewMemory(nil)
	if err != nil {
		return err
	}
	s.closers, s.local = append(s.closers, local), local
	if chosen.share > 0 {
		local = backends.NewScaled(local, chosen.share)
	}
	s.decider = backends.NewFallback(s.breaker, local)
	return nil
}

// close closes the backends that open created, after the last request in progress has
// freed its slot. A backend that was passed in stays open.
func (s *settings) close() error {
	s.closed.Store(true)
	s.queues.Close()
	return s.slots.Close(s.closeBackends)
}

func (s *settings) closeBackends() error {
	if s.breaker != nil {
		s.breaker.Stop()
	}
	var failed error
	for _, backend := range s.closers {
		failed = errors.Join(failed, backend.Close())
	}
	return failed
}

func readPrefix(read *options.Reader, config Config) string {
	const usual = "rate_limit"
	backendOptions, _ := read.Values[ConfigBackendOptions].(map[string]any)
	if backendOptions["client"] == nil || read.Given(ConfigKeyPrefix) {
		return read.Text(ConfigKeyPrefix, usual)
	}
	prefix, err := config.cachePrefix()
	if err != nil {
		read.Reject(err)
	}
	if prefix == nil {
		return usual
	}
	text, isText := prefix.(string)
	if !isText {
		read.Fault(cacheKeyPrefix, prefix, "a text")
	}
	return text
}

func readAlgorithm(read *options.Reader) Algorithm {
	value, given := read.Value(ConfigAlgorithm)
	if !given {
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
	read.Fault(ConfigAlgorithm, value, "one of "+backends.AlgorithmNames())
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

func readOptions(read *options.Reader, name string) []Option {
	value, given := read.Value(name)
	if !given {
		return nil
	}
	list, isList := value.([]Option)
	if !isList {
		read.Fault(name, value, "a []ratelimiter.Option")
	}
	if slices.ContainsFunc(list, func(option Option) bool { return option == nil }) {
		read.Reject(fmt.Errorf("%s contains a nil Option; remove it", name))
	}
	return list
}

func readHandler(read *options.Reader, name string) (handler gin.HandlerFunc) {
	value, given := read.Value(name)
	switch value := value.(type) {
	case gin.HandlerFunc:
		handler = value
	case func(*gin.Context):
		handler = value
	}
	if given && handler == nil {
		read.Fault(name, value, "a gin.HandlerFunc or a func(*gin.Context), or absent")
	}
	return handler
}

func readSecret(read *options.Reader) string {
	secret := read.Text(ConfigPartitionSecret, "")
	if secret != "" && len(secret) < minSecret {
		read.Reject(fmt.Errorf("%s has %d bytes (not shown here); it must have %d or more", ConfigPartitionSecret, len(secret), minSecret))
	}
	return secret
}

func readErrorPolicy(read *options.Reader) errorPolicy {
	policy := errorPolicy(read.Text(ConfigOnError, string(onErrorFallback)))
	if !slices.Contains([]errorPolicy{onErrorFallback, onErrorAllow, onErrorDeny}, policy) {
		read.Fault(ConfigOnError, string(policy), `"fallback", "allow" or "deny"`)
	}
	return policy
}

func readTimeout(read *options.Reader) time.Duration {
	timeout := read.Duration(ConfigTimeout, defaultTimeout)
	if timeout < time.Millisecond {
		read.Fault(ConfigTimeout, timeout, "1ms or more; a bare number is in nanoseconds")
	}
	return timeout
}

func readTimeZone(read *options.Reader) *time.Location {
	value, given := read.Value(ConfigTimeZone)
	if !given {
		return time.UTC
	}
	switch value := value.(type) {
	case *time.Location:
		if value != nil {
			return value
		}
	case string:
		if zone, err := time.LoadLocation(value); err == nil && value != "" {
			return zone
		}
	}
	read.Fault(ConfigTimeZone, value, `the name of a time zone, such as "Europe/Zurich" or "UTC", or a *time.Location; on a machine without a time zone database, import time/tzdata`)
	return time.UTC
}
