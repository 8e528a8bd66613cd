package ratelimiter

import (
	"runtime"
	"strings"
)

// routeHandlers describes the handlers of a route that belong to this package.
type routeHandlers struct {
	rateLimits         int  // number of RateLimits
	replaced           int  // number of leading RateLimits that WithoutGroup replaces
	withoutApplication bool // a RateLimit that applies has WithoutApplication
	exempt             bool
	limiters           int // number of RateLimiters with their middleware on the route
}

// isCalledByGin reports whether the running middleware was called by Gin and not by a
// handler.
func isCalledByGin() bool {
	var callers [16]uintptr
	frames := runtime.CallersFrames(callers[:runtime.Callers(2, callers[:])])
	for frame, more := frames.Next(); more; frame, more = frames.Next() {
		if _, method, ours := strings.Cut(frame.Function, packageMethods); ours && isMiddleware(method) {
			caller, _ := frames.Next()
			return strings.HasSuffix(caller.Function, "gin.(*Context).Next")
		}
	}
	return false
}

// packageMethods begins the function names of the methods of RateLimiter.
const packageMethods = "gin-ratelimiter/ratelimiter.(*RateLimiter)."

// isMiddleware reports whether a method returns a middleware.
func isMiddleware(method string) bool {
	return strings.HasPrefix(method, "limiting") || strings.HasPrefix(method, "inProgress.") || strings.HasPrefix(method, "configuredLimits.")
}

// findHandlers finds the middlewares of this package by the names of their functions. The
// methods that return them must not be inlined, because that would change the names.
func findHandlers(handlers []string) (found routeHandlers) {
	for _, name := range handlers {
		_, method, ours := strings.Cut(name, packageMethods)
		if !ours {
			continue
		}
		method, _, _ = strings.Cut(method, ".")
		switch method {
		case "limitingWithoutGroup", "limitingWithoutGroupAndApplication":
			found.replaced = found.rateLimits
			found.rateLimits++
			found.withoutApplication = method == "limitingWithoutGroupAndApplication"
		case "limitingWithoutApplication":
			found.rateLimits++
			found.withoutApplication = true
		case "limiting":
			found.rateLimits++
		case "Exempt":
			found.exempt = true
		case "configuredLimits":
			found.limiters++
		}
	}
	return found
}
