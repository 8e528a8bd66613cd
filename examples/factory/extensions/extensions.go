// Package extensions declares what the whole application uses, before any
// configuration is known. Every other package may import it.
package extensions

import "github.com/gin-ratelimiter/ratelimiter"

// Limiter waits for the InitApp in the application's constructor.
var Limiter ratelimiter.RateLimiter
