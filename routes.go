package ratelimiter

import (
	"slices"

	"github.com/gin-gonic/gin"
)

// Routes lists the routes of an engine, sorted, as "GET /users/:id": the default
// keys of its limits. One a line, they are what the command ratelimiter reads
// with plan --routes. It may be called before InitApp.
func (*RateLimiter) Routes(engine *gin.Engine) []string {
	var routes []string
	for _, route := range engine.Routes() {
		routes = append(routes, route.Method+" "+route.Path)
	}
	slices.Sort(routes)
	return routes
}
