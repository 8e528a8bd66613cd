package ratelimiter

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/internal/headers"
)

// applicationKey is the public key of the application limits.
const applicationKey = "application"

// configured holds the configured limits that are currently in effect. A rule is nil if
// it has no limits.
type configured struct {
	defaults, application        []Limit // for each route, and for all routes together
	defaultRule, applicationRule *rule
	// first is checked first on a route without a RateLimit. It contains both kinds of
	// limits if their options allow it. Otherwise it contains the application limits,
	// which the default limits follow, or the only kind that exists.
	first *rule
	// retired is true after Update has replaced these limits.
	retired atomic.Bool
}

func newConfigured(defaults, application []Limit, defaultOptions, applicationOptions []Option) (*configured, error) {
	limits := &configured{defaults: defaults, application: application}
	each, failed := configuredRule(ConfigDefaultOptions, defaults, defaultOptions, defaultNamespace, "")
	shared, err := configuredRule(ConfigApplicationOptions, application, applicationOptions, applicationNamespace, "application-")
	limits.defaultRule, limits.applicationRule = each, shared
	switch {
	case each == nil:
		limits.first = shared
	case shared == nil:
		limits.first = each
	case each.hasLimitOptionsOnly() && shared.hasLimitOptionsOnly():
		limits.first = &rule{limits: slices.Concat(shared.limits, each.limits), mixed: true}
	default:
		limits.first = shared
	}
	for _, rule := range []*rule{each, shared, limits.first} {
		if rule != nil {
			rule.configured = limits
		}
	}
	return limits, errors.Join(failed, err)
}

// configuredRule creates the rule of one kind of limits. key is the key of the options,
// which are validated even without limits, because Update may add limits. A panic of an
// option becomes an error.
func configuredRule(key string, limits []Limit, options []Option, of namespace, prefix string) (made *rule, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			made, err = nil, fmt.Errorf("%s: %s", key, strings.TrimPrefix(fmt.Sprint(fault), "ratelimiter: "))
		}
	}()
	r := &rule{}
	for _, l := range limits {
		r.limits = append(r.limits, limitRule{namespace: of, limit: l.Limit, per: l.Per, cost: 1, inList: true, name: prefix + headers.PolicyName(l.Per)})
	}
	if len(limits) == 0 {
		r.limits = []limitRule{{limit: 1, per: time.Minute, cost: 1}}
	}
	r.apply(key, options)
	if r.finish(); len(limits) == 0 {
		return nil, nil
	}
	return r, nil
}

// hasLimitOptionsOnly reports whether all options apply to single limits, so that the
// limits can be combined with others in one rule.
func (r *rule) hasLimitOptionsOnly() bool {
	return len(r.skip) == 0 && r.sendHeaders == nil && r.overLimit == nil && !r.neverReject && r.countIf == nil &&
		r.ban == nil && r.longestWait == 0 && r.limits[0].scope == nil
}

// any reports whether there is at least one limit.
func (limits *configured) any() bool { return limits.first != nil }

// applies reports whether the limits of a binding apply to its route. Some limits are
// bound only to find out that they do not.
func (b *binding) applies() bool {
	switch {
	case !b.isConfigured():
		return !b.replaced
	case b.local || b.handlers.exempt:
		return false
	case b.handlers.rateLimits == 0:
		return true
	}
	return b.position > 0 && b.rule == b.configured.defaultRule // after the last RateLimit
}
