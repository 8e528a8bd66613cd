package ratelimiter

// Lines is how many lines there are of requests that wait for their turn.
func (r *RateLimiter) Lines() int {
	lines := &r.settings.Load().lines
	lines.mu.Lock()
	defer lines.mu.Unlock()
	return len(lines.known)
}
