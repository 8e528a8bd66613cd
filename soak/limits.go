package main

import (
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/gin-ratelimiter/ratelimiter/soak/internal/routes"
)

// addRoute registers a route with the limits that the list says.
func (app *application) addRoute(r *routes.Route, settings serverSettings) {
	limiter := app.limiters[r.Limiter]
	var chain []gin.HandlerFunc
	switch {
	case r.Default: // the configuration has its limits
	case r.Plans != nil:
		chain = append(chain, limiter.RateLimits(planOf(r), optionsOf(r, settings)...))
	case r.Slots > 0:
		chain = append(chain, app.limiters[routes.Shared].Exempt()) // from its default limits
		options := []ratelimiter.Option{ratelimiter.WithScope(ratelimiter.ByHeader("X-Group")), ratelimiter.WithLease(r.Lease)}
		if r.Wait > 0 {
			options = append(options, ratelimiter.WithWait(r.Wait))
		}
		chain = append(chain, limiter.Concurrent(r.Slots, options...))
	default:
		first := r.Limits[0]
		chain = append(chain, limiter.RateLimit(first.Units, first.Per, optionsOf(r, settings)...))
	}
	app.engine.Handle(r.Method, r.Path, append(chain, handlerOf(r))...)
}

func optionsOf(r *routes.Route, settings serverSettings) []ratelimiter.Option {
	first := r.Limits[0]
	options := []ratelimiter.Option{ratelimiter.WithAlgorithm(first.Algorithm)}
	if first.Burst > 0 {
		options = append(options, ratelimiter.WithBurst(first.Burst))
	}
	for _, further := range r.Limits[1:] {
		if r.Plans == nil {
			options = append(options, ratelimiter.WithLimit(further.Units, further.Per))
		}
	}
	if r.Midnight > 0 {
		options = append(options, ratelimiter.WithCalendar(r.ZoneIn(settings.Begun, settings.Duration)))
	}
	if r.Limiter != routes.Shared {
		options = append(options, ratelimiter.WithoutApplication())
	}
	if r.Group {
		options = append(options, ratelimiter.WithScope(ratelimiter.ByHeader("X-Group")))
	}
	if r.Wait > 0 {
		options = append(options, ratelimiter.WithWait(r.Wait))
	}
	if r.Ban != nil {
		options = append(options, ratelimiter.WithBan(r.Ban.After, r.Ban.Per, r.Ban.Lengths[0], r.Ban.Lengths[1:]...))
	}
	switch r.Path {
	case "/cost":
		options = append(options, ratelimiter.WithCost(func(c *gin.Context) int { return number(c, "cost") }))
	case "/chat":
		options = append(options, ratelimiter.WithCost(estimate))
	case "/login":
		options = append(options, ratelimiter.WithCountIf(func(c *gin.Context) bool {
			return c.Writer.Status() == http.StatusUnauthorized
		}))
	}
	return options
}

// planOf is the function that chooses between the plans of a route.
func planOf(r *routes.Route) func(*gin.Context) []ratelimiter.Limit {
	lists := make([][]ratelimiter.Limit, len(r.Plans))
	for i, plan := range r.Plans {
		for _, limit := range plan {
			lists[i] = append(lists[i], ratelimiter.Limit{Limit: int64(limit.Units), Per: limit.Per})
		}
	}
	return func(c *gin.Context) []ratelimiter.Limit { return lists[number(c, "plan")] }
}
