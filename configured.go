package ratelimiter

import (
	"github.com/gin-gonic/gin"
)

// applicationKey is the key of the limits that all routes share.
const applicationKey = "application"

// configuredLimits is the middleware of the limits in the configuration, which
// InitApp puts before all routes of an engine. Both kinds are charged in one
// question to the backend.
func (r *RateLimiter) configuredLimits(s *settings) gin.HandlerFunc {
	rule := &rule{}
	own, shared := ruleLimits(s.defaultLimits, ""), ruleLimits(s.applicationLimits, "application-")
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
		scope := r.clientAddress(c, s)
		d := newDecision(s, rule)
		for i := range shared {
			d.add(c, &shared[i], everyRoute, scope)
		}
		if !route.limited {
			for i := range own {
				d.add(c, &own[i], route.key, scope)
			}
		}
		d.decide(c)
		d.free()
	}
}

func ruleLimits(limits []Limit, prefix string) []ruleLimit {
	list := make([]ruleLimit, len(limits))
	for i, l := range limits {
		list[i] = ruleLimit{limit: l.Limit, per: l.Per, name: prefix + policyName(l.Per)}
	}
	return list
}
