package ratelimiter

// Queues returns the number of queues in which requests wait for their turn.
func (r *RateLimiter) Queues() int { return r.settings.Load().queues.Len() }

// RateLimitsAmong returns the number of RateLimits among handlers with these function names.
func RateLimitsAmong(handlers ...string) int { return findHandlers(handlers).rateLimits }
