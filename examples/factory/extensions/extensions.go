// Package extensions declares objects for the whole application before any configuration is
// known. Every other package may import it.
package extensions

import "github.com/gin-ratelimiter/ratelimiter"

// Limiter is configured by InitApp in the constructor of the application.
var Limiter ratelimiter.RateLimiter
