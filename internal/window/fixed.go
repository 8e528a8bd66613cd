package window

// Fixed counts in windows aligned to the Unix epoch: [k×per, (k+1)×per). It is the oldest
// rate limiter, known from the INCR pattern of the Redis manual
// (https://redis.io/docs/latest/commands/incr/) and used by Flask-RateLimiter. Windows of a
// week begin on Thursdays, like the epoch; see Calendar for weeks that begin on Mondays.
//
//	allowed  if  Count + cost <= limit
//
// A rolling window of length per overlaps at most two aligned ones, so it admits at most 2
// × limit: the whole limit late in one window and again early in the next.
type Fixed struct {
	Start int64 // start of the window of Count
	Count int64
}

// Take charges c at time now.
func (s Fixed) Take(now int64, c *Charge) (next Fixed, v Verdict) {
	next = s.at(now, c.Per)
	next.Count, v = countIn(next.Start, next.Start+c.Per, next.Count, now, c)
	if c.Cost == 0 || !v.Allowed() {
		return s, v
	}
	return next, v
}

// countIn charges c to the counter of the window [start, end) and returns the new count.
// Fixed and Calendar share it, as they differ only in where windows begin and end.
func countIn(start, end, count, now int64, c *Charge) (after int64, v Verdict) {
	switch {
	case c.Cost < 0:
		if c.Receipt == 0 || c.Receipt == start { // a past window has no units to refund
			count = max(0, count+c.Cost)
		}
	case count+c.Cost <= c.Limit:
		count += c.Cost
	case c.Forced && c.Cost > 0:
		count = min(count+c.Cost, MaxUnits)
	default:
		v.RetryAfter = never
		if c.Cost <= c.Limit {
			v.RetryAfter = end - now
		}
	}
	v.Remaining = max(0, c.Limit-count)
	if count > 0 {
		v.ResetAfter = end - now
	}
	v.Receipt = c.receipt(start)
	return count, v
}

// Expires returns the time from which s is equivalent to the zero value.
func (s Fixed) Expires(per int64) int64 {
	if s.Count > 0 {
		return s.Start + per
	}
	return s.Start
}

// at returns s as seen at time now. If the clock ran backwards past the start of the
// window, the window stays: an earlier one would start empty.
func (s Fixed) at(now, per int64) Fixed {
	if now-s.Start < per {
		return s
	}
	return Fixed{Start: now - now%per}
}
