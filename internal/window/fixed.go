package window

// Fixed counts in windows aligned to the Unix epoch: [k×per, (k+1)×per). It is
// the oldest limiter there is, as in the INCR pattern of the Redis manual
// (https://redis.io/docs/latest/commands/incr/), and what Flask-RateLimiter did. Windows
// of a week begin on Thursdays, as the epoch did. See Calendar for those from Monday.
//
//	allowed  if  Count + cost <= limit
//
// Any rolling window of per meets at most two aligned ones, so it admits at most
// 2 × limit: the limit late in one window and again early in the next.
type Fixed struct {
	Start int64 // of the window that Count belongs to
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
// Fixed and Calendar share it: they differ only in where a window begins and ends.
func countIn(start, end, count, now int64, c *Charge) (after int64, v Verdict) {
	switch {
	case c.Cost < 0:
		if c.Receipt == 0 || c.Receipt == start { // units of a past window are back already
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

// Expires is the time from which s is like the zero value.
func (s Fixed) Expires(per int64) int64 {
	if s.Count > 0 {
		return s.Start + per
	}
	return s.Start
}

// at is s as seen at time now. A clock that ran back to before the window stays
// in it: an earlier window would start empty.
func (s Fixed) at(now, per int64) Fixed {
	if now-s.Start < per {
		return s
	}
	return Fixed{Start: now - now%per}
}
