package ratelimiter

// Queues is how many queues of requests there are that wait for their turn.
func (r *RateLimiter) Queues() int { return r.settings.Load().queues.Len() }
