package window

// Sliding is the sliding window counter: two aligned windows, the older one
// weighted by how much of it a window ending now would still cover. See "How we
// built rate limiting capable of scaling to millions of domains",
// https://blog.cloudflare.com/counting-things-a-lot-of-different-things/.
// With e the time elapsed in the current window:
//
//	used     =   ceil(Previous × (per-e) / per) + Current
//	allowed  if  used + cost <= limit
//
// A rolling window of per meets the end of one aligned window and the beginning
// of the next, up to some e < per. The first holds P <= limit units. The last
// charge in the second was made while at least ceil(P/per) >= 1 of them still
// weighed (if P > 0), so the second holds at most limit-1: together no more
// than 2 × limit - 1, and never more than limit in one burst.
type Sliding struct {
	Start    int64 // of the current window
	Previous int64 // units charged in the window before
	Current  int64 // units charged in this one
}

// Take charges c at time now.
func (s Sliding) Take(now int64, c Charge) (Sliding, Verdict) {
	next, elapsed := s.at(now, c.Per)
	used := next.used(elapsed, c.Per)
	v := Verdict{Allowed: true, Receipt: c.receipt(next.Start)}
	switch {
	case c.Cost < 0:
		next = next.refund(c)
		used = next.used(elapsed, c.Per)
	case used+c.Cost <= c.Limit:
		next.Current += c.Cost
		used += c.Cost
	case c.Forced && c.Cost > 0:
		charged := min(c.Cost, MaxUnits-next.Current)
		next.Current += charged
		used += charged
	default:
		v.Allowed = false
		v.RetryAfter = next.retryAfter(now, c)
	}
	v.Remaining = max(0, c.Limit-used)
	if used > 0 {
		v.ResetAfter = next.Expires(c.Per) - now
	}
	if c.Cost == 0 || !v.Allowed {
		return s, v
	}
	return next, v
}

// Expires is the time from which s is like the zero value.
func (s Sliding) Expires(per int64) int64 {
	switch {
	case s.Current > 0:
		return s.Start + 2*per
	case s.Previous > 0:
		return s.Start + per
	}
	return s.Start
}

// at is s as seen at time now, and the time elapsed in its current window. A
// clock that ran back to before the window counts as its first microsecond, when
// Previous weighs most.
func (s Sliding) at(now, per int64) (Sliding, int64) {
	elapsed := now - s.Start
	switch {
	case elapsed < per:
		return s, max(0, elapsed)
	case elapsed < 2*per:
		return Sliding{Start: s.Start + per, Previous: s.Current}, elapsed - per
	}
	elapsed = now % per
	return Sliding{Start: now - elapsed}, elapsed
}

// used rounds up, so that what is left of an old unit is a whole unit.
func (s Sliding) used(elapsed, per int64) int64 {
	if s.Previous == 0 {
		return s.Current
	}
	return mulDivCeil(s.Previous, per-elapsed, per) + s.Current
}

// refund takes from the window that the receipt names, and without one from
// Current first: those units are the newest.
func (s Sliding) refund(c Charge) Sliding {
	units := -c.Cost
	if c.Receipt == 0 || c.Receipt == s.Start {
		current := min(units, s.Current)
		s.Current -= current
		units -= current
	}
	if c.Receipt == 0 || c.Receipt == s.Start-c.Per {
		s.Previous -= min(units, s.Previous)
	}
	return s
}

// retryAfter is for a charge that was denied. Only Previous fades within the
// window, so with room = limit-Current-cost it is a matter of the smallest e with
//
//	Previous × (per-e) / per <= room, that is e = per - floor(room × per / Previous).
//
// If room is negative nothing helps before the next window, where Current has
// become Previous and the same formula applies. Both divisors are more than
// room, or it would not have been denied, so e is at least 1.
func (s Sliding) retryAfter(now int64, c Charge) int64 {
	if c.Cost > c.Limit {
		return never
	}
	start, fading := s.Start, s.Previous
	room := c.Limit - s.Current - c.Cost
	if room < 0 {
		start, fading = s.Start+c.Per, s.Current
		room = c.Limit - c.Cost
	}
	return start + c.Per - mulDivFloor(room, c.Per, fading) - now
}
