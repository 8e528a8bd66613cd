package ratelimiter

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter/internal/options"
)

// applicationKey is the key of the limits that all routes share.
const applicationKey = "application"

const (
	defaultLimitsKey     = "RATELIMITER_DEFAULT_LIMITS"
	applicationLimitsKey = "RATELIMITER_APPLICATION_LIMITS"
)

// configured are the limits in the configuration, as they are now.
type configured struct {
	routes, application []Limit // of each route by itself, and of all together
	// forAll is the rule of the application limits alone, forMost that of both,
	// those of the application first.
	forAll, forMost *rule
}

func newConfigured(routes, application []Limit) *configured {
	shared := ruleLimits(application, "application-")
	return &configured{
		routes: routes, application: application,
		forAll:  (&rule{limits: shared}).prepare(),
		forMost: (&rule{limits: slices.Concat(shared, ruleLimits(routes, ""))}).prepare(),
	}
}

func ruleLimits(limits []Limit, prefix string) []ruleLimit {
	list := make([]ruleLimit, len(limits))
	for i, l := range limits {
		list[i] = ruleLimit{limit: l.Limit, per: l.Per, name: prefix + policyName(l.Per)}
	}
	return list
}

// any tells whether there is a limit at all.
func (limits *configured) any() bool { return len(limits.forMost.limits) > 0 }

// configuredLimits is the middleware of the limits in the configuration, which
// InitApp puts before all routes of an engine. Both kinds are charged in one
// question to the backend.
func (r *RateLimiter) configuredLimits(s *settings) gin.HandlerFunc {
	everyRoute := key{shown: applicationKey, stored: s.storedKey(applicationKey)}
	var routes routeCache // of this engine: another may have the same routes with other limits
	return func(c *gin.Context) {
		limits := s.limits.Load()
		if !s.enabled || !limits.any() {
			return
		}
		route := routes.of(c, s)
		if route.exempt {
			return
		}
		rule := limits.forMost
		if route.limited {
			rule = limits.forAll
		}
		if len(rule.limits) == 0 {
			return
		}
		scope := r.clientAddress(c, s)
		d, values := newDecision(c, s, rule)
		for i := range rule.limits {
			key := route.key
			if i < len(limits.application) {
				key = everyRoute
			}
			d.add(c, rule, i, key, scope)
		}
		d.decide(c, rule, values)
	}
}

// Update changes RATELIMITER_DEFAULT_LIMITS and RATELIMITER_APPLICATION_LIMITS
// while requests are being served: each is decided by the limits before or by
// those after. What clients have used is not forgotten, as long as the period and
// the algorithm stay.
//
// The configuration is that of InitApp, or these two keys alone. One that is
// absent stays as it is; an empty text removes its limits. Any other key must have
// the value it had. After an error nothing has changed. It fails with
// ErrNotInitialised before InitApp, and where an engine had routes already at its
// InitApp, which new limits would not reach.
func (r *RateLimiter) Update(config Config) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.settings.Load()
	if s == nil {
		return ErrNotInitialised
	}
	read := &options.Reader{Values: config, Describe: func(name string) string { return name }}
	now := s.limits.Load()
	routes, application := now.routes, now.application
	if read.Given(defaultLimitsKey) {
		routes = readLimits(read, defaultLimitsKey)
	}
	if read.Given(applicationLimitsKey) {
		application = readLimits(read, applicationLimitsKey)
	}
	failed := read.Finish(func(string) bool { return false })
	for _, name := range s.changed(config) {
		fault := fmt.Errorf("%s cannot change while the application runs; only %s and %s can", name, defaultLimitsKey, applicationLimitsKey)
		if known := append(environmentNames(), observerKey); !slices.Contains(known, name) {
			fault = fmt.Errorf("%s is not known; %s", name, options.Suggest(name, known))
		}
		failed = errors.Join(failed, fault)
	}
	next := newConfigured(routes, application)
	if failed == nil && next.any() && r.unreached > 0 {
		failed = fmt.Errorf("an engine had %d routes when InitApp was called, which these limits cannot reach; call InitApp before the first route or group", r.unreached)
	}
	if failed != nil {
		return fmt.Errorf("the rate limiter's limits are as before: %w", failed)
	}
	s.limits.Store(next)
	s.seen.forget(now.forMost.limits)
	s.seen.forget(now.forAll.limits)
	return nil
}

// changed lists the keys of ours that are not what they were, and cannot change.
func (s *settings) changed(config Config) (names []string) {
	for name, value := range config {
		limits := name == defaultLimitsKey || name == applicationLimitsKey
		if !limits && strings.HasPrefix(name, "RATELIMITER_") && !same(reflect.ValueOf(value), reflect.ValueOf(s.given[name])) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// same tells whether two values of a configuration are the same. What they point to is
// not looked at: backends and observers change while they work.
func same(a, b reflect.Value) bool {
	if !a.IsValid() || !b.IsValid() {
		return a.IsValid() == b.IsValid()
	}
	if a.Type() != b.Type() {
		return false
	}
	switch a.Kind() {
	case reflect.Pointer, reflect.Func, reflect.Chan:
		return a.Pointer() == b.Pointer()
	case reflect.Interface:
		return same(a.Elem(), b.Elem())
	case reflect.Map:
		return a.Len() == b.Len() && !slices.ContainsFunc(a.MapKeys(), func(key reflect.Value) bool { return !same(a.MapIndex(key), b.MapIndex(key)) })
	case reflect.Slice:
		return a.Len() == b.Len() && all(a.Len(), func(i int) bool { return same(a.Index(i), b.Index(i)) })
	case reflect.Struct:
		return all(a.NumField(), func(i int) bool { return same(a.Field(i), b.Field(i)) })
	}
	return a.Equal(b)
}

func all(n int, holds func(i int) bool) bool {
	for i := range n {
		if !holds(i) {
			return false
		}
	}
	return true
}
