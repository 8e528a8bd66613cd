package ratelimiter

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/internal/options"
)

// configuredLimits returns the middleware of the configured limits, which InitApp
// registers on an engine before all routes. It applies the default limits on routes
// without a RateLimit. On other routes the last RateLimit applies them, because only then
// is it known whether any RateLimit can reject the request.
//
//go:noinline
func (r *RateLimiter) configuredLimits() gin.HandlerFunc {
	return func(c *gin.Context) {
		s := r.settings.Load()
		if s == nil || !s.enabled {
			return
		}
		limits := s.limits.Load()
		if !limits.any() {
			return
		}
		earlier := lastRequest(c)
		b := r.bindingFor(c, s, limits.first, earlier.boundTo())
		if b.handlers.exempt || isExempt(c) {
			return
		}
		if b.handlers.rateLimits > 0 || earlier.anyCanReject() || earlier.hasDefaults(r) {
			if b.handlers.limiters > 1 && limits.defaultRule != nil {
				c.Set(postponedKey{}, append(postponed(c), r))
			}
			if limits.applicationRule == nil || b.handlers.withoutApplication {
				return
			}
			b = r.bindingFor(c, s, limits.applicationRule, earlier.boundTo())
		}
		r.take(c, b, earlier)
	}
}

// takeDefaults applies the default limits after the last RateLimit of a route, if no
// RateLimit can reject this request or one has WithDefaults, or after the application
// limits. It returns false if they reject the request.
func (b *binding) takeDefaults(c *gin.Context, q *request) (proceed bool) {
	if !b.defaults || isExempt(c) || b.defaultsChoice != defaultsAlways && q.anyCanReject() {
		return true
	}
	limits := b.configured
	if limits == nil {
		limits = b.settings.limits.Load()
	}
	proceed = b.limiter.takeDefaults(c, b.settings, limits)
	for _, other := range postponed(c) {
		s := other.settings.Load()
		proceed = proceed && other.takeDefaults(c, s, s.limits.Load())
	}
	return proceed
}

// takeDefaults applies the default limits of one RateLimiter, unless it already has.
func (r *RateLimiter) takeDefaults(c *gin.Context, s *settings, limits *configured) (proceed bool) {
	last := lastRequest(c)
	if limits.defaultRule == nil || last.hasDefaults(r) {
		return true
	}
	return r.take(c, r.bindingFor(c, s, limits.defaultRule, last.boundTo()), last)
}

// postponedKey is the context key of the other RateLimiters whose default limits the last
// RateLimit of the route has to apply.
type postponedKey struct{}

func postponed(c *gin.Context) []*RateLimiter {
	value, _ := c.Get(postponedKey{})
	list, _ := value.([]*RateLimiter)
	return list
}

// anyCanReject reports whether this RateLimit or an earlier one can reject the request.
func (q *request) anyCanReject() bool {
	for ; q != nil; q = q.earlier {
		if !q.isConfigured() && !q.isConcurrent() && q.canReject() {
			return true
		}
	}
	return false
}

// hasDefaults reports whether the default limits have already been applied, for example
// before a RateLimit that a handler calls directly.
func (q *request) hasDefaults(r *RateLimiter) bool {
	for ; q != nil; q = q.earlier {
		if q.isConfigured() && q.limiter == r && q.limits[len(q.limits)-1].namespace == defaultNamespace {
			return true
		}
	}
	return false
}

// exemptKey is set in the context of a request for which Exempt was called.
type exemptKey struct{}

func isExempt(c *gin.Context) bool {
	if c.Keys == nil {
		return false
	}
	_, exempt := c.Get(exemptKey{})
	return exempt
}

// Update changes RATELIMITER_DEFAULT_LIMITS and RATELIMITER_APPLICATION_LIMITS while
// requests are being served. Each request is decided by either the old or the new limits.
// Limits whose period and algorithm stay the same keep their counters. A raised limit
// applies at once, except in a token bucket, which refills at the new rate.
//
// config is the complete configuration of InitApp or contains just these two keys. A key
// that is absent keeps its value, and an empty string removes its limits. Any other key
// must have the same value as before.
//
// Update returns an error, and changes nothing, if config is invalid, or if an engine
// already had routes when InitApp was called, because new limits could not apply to them.
// It returns ErrNotInitialised before InitApp and backends.ErrClosed after Close.
func (r *RateLimiter) Update(config Config) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.settings.Load()
	switch {
	case s == nil:
		return ErrNotInitialised
	case s.closed.Load():
		return backends.ErrClosed
	}
	own, failed := config.own()
	read := &options.Reader{Values: own, Describe: func(name string) string { return name }}
	now := s.limits.Load()
	defaults, application := now.defaults, now.application
	if read.Given(ConfigDefaultLimits) {
		defaults = readLimits(read, ConfigDefaultLimits)
	}
	if read.Given(ConfigApplicationLimits) {
		application = readLimits(read, ConfigApplicationLimits)
	}
	failed = errors.Join(failed, read.Finish(func(string) bool { return false }))
	for _, name := range s.changed(own) {
		fault := fmt.Errorf("%s cannot change while the application runs; only %s and %s can", name, ConfigDefaultLimits, ConfigApplicationLimits)
		if known := configKeys(); !slices.Contains(known, name) {
			fault = fmt.Errorf("%s is not known; %s", name, options.Suggest(name, known))
		}
		failed = errors.Join(failed, fault)
	}
	next, fault := newConfigured(defaults, application, s.defaultOptions, s.applicationOptions)
	failed = errors.Join(failed, fault)
	if failed == nil && next.any() && r.earlyRoutes > 0 {
		failed = fmt.Errorf("an engine had %d routes when InitApp was called, to which these limits cannot apply; call InitApp before the first route or group", r.earlyRoutes)
	}
	if failed != nil {
		return fmt.Errorf("the limits of the rate limiter are unchanged: %w", failed)
	}
	s.limits.Store(next)
	r.known.replaceConfigured(s, now, next)
	return nil
}

// changed returns the keys, other than those of the limits, whose values differ from the
// current configuration.
func (s *settings) changed(own Config) (names []string) {
	for name, value := range own {
		limits := name == ConfigDefaultLimits || name == ConfigApplicationLimits
		if !limits && !same(reflect.ValueOf(value), reflect.ValueOf(s.given[name])) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// sameConfig reports whether a configuration equals one that was checked. A nil
// configuration and one without keys are different.
func sameConfig(config Config, given Config) bool {
	own, err := config.own()
	return err == nil && (own == nil) == (given == nil) && same(reflect.ValueOf(own), reflect.ValueOf(given))
}

// same reports whether two configuration values are the same. It compares pointers and
// not what they point to, because backends and observers change while they work.
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
