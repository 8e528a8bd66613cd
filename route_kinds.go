package ratelimiter

import (
	"runtime"
	"strings"
)

// kinds is what the handlers of a route are, as far as they are this package's.
type kinds struct {
	limits             int  // how many RateLimits
	leftOut            int  // how many of them, from the first, do not apply; see WithoutGroup
	withoutApplication bool // one that applies leaves out the application limits
	exempt             bool
	configured         int // how many RateLimiters ask the limits of their configuration first
}

// isCalledByGin reports whether Gin called the RateLimit that is being bound, and not a
// handler that has made or kept it.
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

// packageMethods is how the names of the methods of RateLimiter begin.
const packageMethods = "gin-ratelimiter/ratelimiter.(*RateLimiter)."

// isMiddleware reports whether a method returned the function that is running.
func isMiddleware(method string) bool {
	return strings.HasPrefix(method, "limiting") || strings.HasPrefix(method, "inProgress.") || strings.HasPrefix(method, "configuredLimits.")
}

// kindsOf finds the middlewares of this package by the names of their functions.
// The functions that return them are not inlined, which would change the names.
func kindsOf(handlers []string) (found kinds) {
	for _, name := range handlers {
		_, method, ours := strings.Cut(name, packageMethods)
		if !ours {
			continue
		}
		method, _, _ = strings.Cut(method, ".")
		switch method {
		case "limitingWithoutGroup", "limitingWithoutGroupAndApplication":
			found.leftOut = found.limits
			found.limits++
			found.withoutApplication = method == "limitingWithoutGroupAndApplication"
		case "limitingWithoutApplication":
			found.limits++
			found.withoutApplication = true
		case "limiting":
			found.limits++
		case "Exempt":
			found.exempt = true
		case "configuredLimits":
			found.configured++
		}
	}
	return found
}
