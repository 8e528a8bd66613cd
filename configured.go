package ratelimiter

import (
	"slices"

	"github.com/gin-gonic/gin"
)

// applicationKey is the key of the limits that all routes share.
const applicationKey = "application"

// configuredLimits is the middleware of the limits in the configuration, which
// InitApp puts before all routes of an engine. Both kinds are charged in one
// question to the backend.
func (r *RateLimiter) configuredLimits(s *settings) gin.HandlerFunc {
	shared, own := ruleLimits(s.applicationLimits, "application-"), ruleLimits(s.defaultLimits, "")
	onlyShared := (&rule{limits: shared}).prepare()
	all := (&rule{limits: slices.Concat(shared, own)}).prepare()
	everyRoute := key{applicationKey, s.storedKey(applicationKey)}
	var routes routeCache // of this engine: another may have the same routes with other limits
	return func(c *gin.Context) {
		if !s.enabled {
			return
		}
		route := routes.of(c, s)
		if route.exempt {
			return
		}
		rule := all
		if route.limited {
			rule = onlyShared
		}
		if len(rule.limits) == 0 {
			return
		}
		scope := r.clientAddress(c, s)
		d, values := newDecision(s, rule)
		for i := range rule.limits {
			key := route.key
			if i < len(shared) {
				key = everyRoute
			}
			d.add(c, rule, &rule.limits[i], key, scope)
		}
		d.decide(c, rule, values)
	}
}

func ruleLimits(limits []Limit, prefix string) []ruleLimit {
	list := make([]ruleLimit, len(limits))
	for i, l := range limits {
		list[i] = ruleLimit{limit: l.Limit, per: l.Per, name: prefix + policyName(l.Per)}
	}
	return list
}
